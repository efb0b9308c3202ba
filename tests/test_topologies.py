"""Sparse topologies: supports, initial weights, cascades, training, reconstruction."""

import itertools

import jax
import jax.numpy as jnp
import numpy as np
import pandas as pd
import pytest

from lottery_jax import config as configs
from lottery_jax import experiment
from lottery_jax.algorithms.topologies import path_counts
from lottery_jax.analysis.certificates import certify
from lottery_jax.analysis.reconstruction import (
    low_rank_error,
    random_targets,
    reconstruction_error,
)
from lottery_jax.errors import CertificateError, ConfigError
from lottery_jax.models import MODELS
from lottery_jax.models.cascade import layout, with_stages
from lottery_jax.reporting import figures, topology_figures
from lottery_jax.reporting import results as stored
from lottery_jax.tickets import LAWS, TOPOLOGIES, masks
from lottery_jax.tickets.topology import count_paths, draw, sparse_xavier
from tests import helpers
from tests.test_config import load


def make(name, nodes=16, stages=4, degree=2, seed=0):
    numbers = np.random.default_rng(seed)
    return TOPOLOGIES[name].supports(nodes, stages, degree, numbers)


# --- supports


def differ_in_digit(i, j, place, base):
    digits = [[x // base**k % base for k in range(8)] for x in (i, j)]
    others = [a == b for k, (a, b) in enumerate(zip(*digits, strict=True)) if k - place]
    return all(others)


def around(i, j, side):
    """Steps from i to j on a ring."""
    return min((i - j) % side, (j - i) % side)


# Name, nodes, degree -> whether stage k leads from i to j, as a sentence would say it.
RULES = {
    ("butterfly", 16, 2): lambda k, i, j: differ_in_digit(i, j, k % 4, 2),
    ("butterfly", 27, 3): lambda k, i, j: differ_in_digit(i, j, k % 3, 3),
    ("butterfly", 16, 4): lambda k, i, j: differ_in_digit(i, j, k % 2, 4),
    ("hypercube", 16, 5): lambda k, i, j: bin(i ^ j).count("1") < 2,
    ("hypercube", 16, 6): lambda k, i, j: bin(i ^ j).count("1") < 2 or i + j == 15,
    ("torus", 25, 5): lambda k, i, j: (
        around(i // 5, j // 5, 5) + around(i % 5, j % 5, 5) < 2
    ),
    ("de_bruijn", 12, 3): lambda k, i, j: j in [(3 * i + t) % 12 for t in range(3)],
    ("kautz", 12, 3): lambda k, i, j: j in [(-3 * i - t) % 12 for t in (1, 2, 3)],
}


@pytest.mark.parametrize("case", RULES)
def test_supports_are_what_a_double_loop_finds(case):
    name, nodes, degree = case
    (found,) = make(name, nodes, 5, degree)
    for k, i, j in np.ndindex(found.shape):
        assert found[k, i, j] == RULES[case](k, i, j), (k, i, j)


@pytest.mark.parametrize("name", TOPOLOGIES)
def test_all_of_one_degree_have_as_many_places(name):
    for nodes in (16, 64):
        degrees = TOPOLOGIES[name].degrees(nodes, 3)
        for degree in degrees[:5]:
            found = make(name, nodes, 3, degree)
            assert found.dtype == bool and found.shape[1:] == (3, nodes, nodes)
            np.testing.assert_array_equal(found.sum((0, 2, 3)), nodes * degree)
            if name != "random":
                np.testing.assert_array_equal(found.sum((0, 2)), degree)
                np.testing.assert_array_equal(found.sum((0, 3)), degree)


@pytest.mark.parametrize("name", ["random", "random_regular"])
def test_random_topologies_are_drawn_for_every_stage_and_seed(name):
    one, again, other = (make(name, degree=3, seed=seed) for seed in (0, 0, 1))
    np.testing.assert_array_equal(one, again)
    assert (one != other).any() and (one[0, 0] != one[0, 1]).any()
    # Every place is as likely: 3 / 16, in 400 stages.
    often = make(name, stages=400, degree=3).mean((0, 1))
    assert np.abs(often - 3 / 16).max() < 5 * np.sqrt(3 / 16 * 13 / 16 / 400)


def test_paths_are_those_one_can_walk():
    supports = make("random", 6, 3, 2)
    expected = np.zeros((6, 6))
    for walk in itertools.product(range(6), repeat=4):
        steps = zip(walk, walk[1:], strict=False)
        expected[walk[0], walk[3]] += all(
            supports[0, k, i, j] for k, (i, j) in enumerate(steps)
        )
    np.testing.assert_array_equal(count_paths(supports), expected)


@pytest.mark.parametrize(
    ("name", "stages", "degree", "paths"),
    [
        ("butterfly", 6, 2, 1),
        ("butterfly", 3, 4, 1),
        ("butterfly", 2, 8, 1),
        ("butterfly", 12, 2, 64),
        ("parallel_butterfly", 6, 6, 3),
        ("de_bruijn", 6, 2, 1),
        ("kautz", 6, 2, 1),
    ],
)
def test_as_many_paths_between_all_nodes(name, stages, degree, paths):
    np.testing.assert_array_equal(count_paths(make(name, 64, stages, degree)), paths)


def test_least_and_most_paths_of_a_network():
    few, many = make("butterfly", 16, 3, 2), make("butterfly", 16, 3, 4)
    networks = np.stack([np.stack([few, many]), np.stack([many, many])])[:, None]
    least, most = path_counts(networks)
    np.testing.assert_array_equal(least, [0, 4])
    np.testing.assert_array_equal(most, [4, 4])


# --- initial weights


@pytest.mark.parametrize("name", LAWS)
def test_the_variance_is_counted_on_the_mask(name):
    mask = make("random", 8, 1, 3)[0, 0]
    keys = jax.random.split(jax.random.key(0), 20_000)
    drawn = jax.vmap(LAWS[name], (0, None))(keys, mask)
    assert (np.asarray(drawn)[:, ~mask] == 0).all()
    found = drawn.var(0)
    for i, j in np.argwhere(mask):
        fan_in, fan_out = mask[:, j].sum(), mask[i].sum()
        fans = fan_in if name == "sparse_he" else fan_in + fan_out
        assert abs(found[i, j] * fans / 2 - 1) < 0.06, (i, j)


@pytest.mark.parametrize("backward", [False, True])
def test_a_deep_sparse_stack_keeps_its_signal(backward):
    """And loses it by density^depth under the law of dense stages."""
    nodes, depth, degree = 128, 20, 8
    supports = jnp.asarray(make("random_regular", nodes, depth, degree))
    x = jax.random.normal(jax.random.key(1), (nodes, nodes))

    def power(weights):
        signal = x
        for stage in weights[0, ::-1] if backward else weights[0]:
            signal = signal @ (stage.T if backward else stage)
        return jnp.mean(signal**2)

    def dense_law(key, mask):
        return jnp.where(mask, sparse_xavier(key, jnp.ones_like(mask)), 0)

    keys = jax.random.split(jax.random.key(2), 8)
    aware, dense = (
        jax.lax.map(lambda key, law=law: power(draw(key, supports, law)), keys)
        for law in (sparse_xavier, dense_law)
    )
    assert 0.7 < aware.mean() < 1.4
    expected = (degree / nodes) ** depth
    assert 0.5 * expected < dense.mean() < 2 * expected


def test_parallel_branches_share_the_signal():
    """Fans of the first and last stage are those of all branches together."""
    supports = jnp.asarray(make("parallel_butterfly", 64, 6, 8))
    keys = jax.random.split(jax.random.key(0), 200)

    def products(key):
        weights = draw(key, supports, sparse_xavier)
        total = weights[:, 0]
        for stage in range(1, 6):
            total = total @ weights[:, stage]
        return weights, total.sum(0)

    weights, product = jax.vmap(products)(keys)
    kept = weights.var(0).sum((2, 3)) / supports.sum((2, 3))
    np.testing.assert_allclose(kept[:, 0], 2 / (2 + 8), rtol=0.1)
    np.testing.assert_allclose(kept[:, 3], 2 / (2 + 2), rtol=0.1)
    np.testing.assert_allclose(kept[:, 5], 2 / (8 + 2), rtol=0.1)
    # 4 paths of gain 2/10 * (1/2)^4 * 2/10 to each of 64 nodes.
    assert abs(jnp.mean(jnp.sum(product**2, 2)) / (64 * 4 * 0.04 / 16) - 1) < 0.1


# --- the network


def test_a_cascade_is_products_and_relu():
    model = MODELS["cascade"]((3, 2), 4, hidden=(8, 8), stages=3, branches=2)
    params, _ = model.init(jax.random.key(0))
    sizes = layout(params)
    assert sizes == (2, 2, 3, 8)
    kernels = jax.random.normal(jax.random.key(1), (*sizes, 8))
    params = with_stages(params, kernels)
    params["cascade_1"]["bias"] = jnp.arange(8.0)
    x = jax.random.normal(jax.random.key(2), (5, 3, 2))
    found, _ = model.apply(params, {}, x, train=True)
    y = np.pad(np.asarray(x).reshape(5, 6), ((0, 0), (0, 2)))
    for layer, bias in enumerate((0, np.arange(8.0))):
        chains = [y @ a @ b @ c for a, b, c in np.asarray(kernels[layer])]
        y = np.maximum(sum(chains) + bias, 0)
    np.testing.assert_allclose(found, y @ params["output"]["kernel"], rtol=1e-4)
    assert len(model.dense) == 13 and "cascade_1/branch_1_stage_2/kernel" in model.dense


@pytest.mark.parametrize(
    ("hidden", "message"),
    [((8, 9), "equally wide"), ((5, 5), "less than the 6 inputs")],
)
def test_widths_that_a_cascade_cannot_have(hidden, message):
    with pytest.raises(ConfigError, match=message):
        MODELS["cascade"]((6,), 2, hidden=hidden)


# --- training them


def tiny_config(**changes):
    config = configs.default("topologies")
    config.data.validation_size = config.data.test_size = 100
    config.model.name, config.model.stages = "cascade", 2
    config.train.steps, config.train.eval_every = 20, 10
    config.algorithm.degrees = (2, 4)
    config.lanes.plan = "map"
    config.replicates = 2
    config.update_from_flattened_dict(
        {name.replace("__", "."): value for name, value in changes.items()}
    )
    return config


@pytest.fixture(scope="module")
def rounds():
    """(algorithm, state before it, info) of every round."""
    config = tiny_config(
        algorithm__topologies=("random_regular", "parallel_butterfly"),
        model__branches=2,
    )
    _, algorithm, roots = helpers.tiny_algorithm(config)
    state, found = algorithm.init(roots), []
    for _ in algorithm.ladder:
        before = state
        state, info = algorithm.step(state)
        certify(info)
        found.append((algorithm, before, info))
    return found


@pytest.fixture(scope="module")
def infos(rounds):
    return [info for _, _, info in rounds]


def test_the_work_of_a_round_is_that_of_its_lanes(rounds, infos):
    algorithm = rounds[0][0]
    assert algorithm.work == [len(info.labels) // 2 for info in infos]


def test_rounds_have_the_topologies_of_their_degree(infos):
    names = [list(dict.fromkeys(label.lane for label in info.labels)) for info in infos]
    assert names == [
        ["dense"],
        ["random_regular", "random_regular/dense_init"],
        [f"{name}{kind}" for kind in ("", "/dense_init")
         for name in ("random_regular", "parallel_butterfly")],
    ]  # fmt: skip
    whole = 2 * 2 * 2 * 64**2 + 640
    assert [round(info.density * whole) for info in infos] == [
        whole, 2 * 2 * 128 + 640, 2 * 2 * 256 + 640
    ]  # fmt: skip
    assert set(infos[2].trained.summary["most_paths"].tolist()) <= {1, 2, 3, 4, 5}
    assert infos[0].trained.summary["least_paths"].tolist() == [128, 128]


def test_masks_are_the_topologies(infos):
    info = infos[2]
    leaves = masks.named_leaves(info.lanes.mask)
    butterfly = make("butterfly", 64, 2, 2)[0]
    for lane, label in enumerate(info.labels):
        for layer, branch, stage in np.ndindex(2, 2, 2):
            name = f"cascade_{layer}/branch_{branch}_stage_{stage}/kernel"
            found = np.asarray(leaves[name][lane])
            if label.lane.startswith("parallel"):
                np.testing.assert_array_equal(found, butterfly[stage])
            else:
                assert (found.sum(0) == 4 * (branch == 0)).all()
    regular = leaves["cascade_0/branch_0_stage_0/kernel"]
    other = leaves["cascade_1/branch_0_stage_0/kernel"]
    assert (regular[0] != regular[1]).any() and (regular[0] != other[0]).any()
    # Layers and branches that have one mask have weights of their own.
    weights = masks.named_leaves(info.lanes.params)
    parallel = [label.lane for label in info.labels].index("parallel_butterfly")
    drawn = [
        np.asarray(weights[f"cascade_{layer}/branch_{branch}_stage_1/kernel"][parallel])
        for layer, branch in np.ndindex(2, 2)
    ]
    for one, another in itertools.combinations(drawn, 2):
        assert (one[butterfly[1]] != another[butterfly[1]]).all()


def test_dense_init_differs_in_its_weights_alone(infos):
    for info in infos[1:]:
        tickets = info.num_tickets
        one, other = (
            jax.tree.map(lambda leaf, own=own: leaf[own], info.lanes)
            for own in (slice(tickets), slice(tickets, None))
        )
        helpers.assert_trees_equal(one.mask, other.mask)
        for layer in ("cascade_0", "output"):
            name = "branch_0_stage_1" if layer != "output" else "output"
            own, dense = (
                np.asarray((x.params[layer] if layer == "output" else
                            x.params[layer][name])["kernel"])
                for x in (one, other)
            )  # fmt: skip
            assert (own == dense).all() == (layer == "output")
        kernel = other.params["cascade_0"]["branch_0_stage_1"]["kernel"]
        np.testing.assert_allclose(kernel.var(), 2 / 128, rtol=0.05)


def test_a_wrong_count_is_caught(infos):
    info = infos[1]
    mask = jax.tree.map(jnp.array, info.lanes.mask)
    kernel = mask["cascade_0"]["branch_0_stage_0"]["kernel"]
    place = np.argwhere(~np.asarray(kernel[0]))[0]
    mask["cascade_0"]["branch_0_stage_0"]["kernel"] = kernel.at[0, *place].set(True)
    with pytest.raises(CertificateError, match="cascade_0/stage_0 keeps 128 .* 129"):
        certify(info._replace(lanes=info.lanes._replace(mask=mask)))


def test_the_smoke_form_runs_and_draws(tmp_path, drawn):
    found = experiment.run(load("topologies.py:smoke"), tmp_path)
    by_round = found.summary.groupby("round").lane.unique()
    lanes = ["random_regular", "torus"]
    assert list(by_round[0]) == ["dense"]
    assert list(by_round[1]) == [*lanes, *(f"{lane}/dense_init" for lane in lanes)]
    assert not found.summary.diverged.any()
    rows = found.summary[found.summary["round"] == 1]
    assert (rows.kept == 2 * 2 * 64 * 5 + 640).all()
    kernels = stored.load_masks(tmp_path, 1)
    assert kernels["cascade_0/branch_0_stage_1/kernel"].shape == (4, 64, 64)
    assert (tmp_path / "figures" / "topologies.png").is_file()
    assert "| torus | " in (tmp_path / "sanity.md").read_text()
    axes = topology_figures.topologies(found).axes
    names = [tick.get_text() for tick in axes[0].get_yticklabels()]
    assert names == lanes[::-1]
    for suffix, panel in zip(("", "/dense_init"), axes, strict=True):
        assert "degree 5" in panel.get_title()
        assert ("dense init" in panel.get_title()) == bool(suffix)
        means = 100 * rows.groupby("lane").early_stop_test_accuracy.mean()
        points = [container.lines[0].get_xydata()[0] for container in panel.containers]
        expected = [[means[name + suffix], place] for place, name in enumerate(names)]
        np.testing.assert_allclose(points, expected)


def test_accuracy_against_reconstruction_at_equal_weights():
    names = ["lane", "weights", "stages", "error", "mean", "low", "high"]
    rows = [
        ("butterfly", 768, 6, 0.7, 93.0, 92.0, 94.0),
        ("kautz", 768, 3, 0.6, 95.0, 94.0, 97.0),
        ("kautz", 960, 3, 0.5, 96.0, 95.0, 97.0),
        ("torus", 960, 3, 0.6, 95.0, 94.0, 96.0),
    ]
    table = pd.DataFrame(rows, columns=names)
    # Only where there are several numbers of stages.
    (axes,) = topology_figures.against_reconstruction(table).axes
    assert axes.get_title() == "768 weights a cascade"
    points = [tuple(x.lines[0].get_xydata()[0]) for x in axes.containers]
    assert points == [(0.7, 93.0), (0.6, 95.0)]
    ends = [x.lines[2][0].get_segments()[0][:, 1].tolist() for x in axes.containers]
    assert ends == [[92.0, 94.0], [94.0, 97.0]]
    assert [text.get_text() for text in axes.texts] == ["6", "3"]


def test_many_lanes_stand_in_rows_of_panels():
    curves = pd.DataFrame(
        [
            (number, f"m{lane}", replicate, step, 2.0 - number - 0.1 * step)
            for number, lane, replicate, step in np.ndindex(2, 8, 2, 3)
            if (lane > 0) == number
        ],
        columns=["round", "lane", "replicate", "step", "validation_loss"],
    )
    summary = curves[["round", "lane"]].drop_duplicates()
    summary = summary.assign(density=summary["round"].map({0: 1.0, 1: 0.25}))
    config = tiny_config().to_dict()
    none = pd.DataFrame({"round": []})
    run = stored.Results(None, config, {}, [], summary, curves, [], None, none)
    axes = figures.validation_curves(run).axes
    assert [panel.axison for panel in axes] == [True] * 8 + [False] * 4
    assert [panel.get_title() for panel in axes[:8]] == [f"m{i}" for i in range(8)]
    # In a place that is free.
    legend = [text.get_text() for text in axes[11].get_legend().get_texts()]
    assert legend == ["100 %", "25 %"]
    # Steps stand below the lowest panel of every column.
    numbers = [panel.xaxis.get_tick_params()["labelbottom"] for panel in axes[:8]]
    assert numbers == [False] * 2 + [True] * 6


def test_a_round_is_the_same_from_its_state(rounds):
    algorithm, state, info = rounds[1]
    _, again = algorithm.step(state)
    helpers.assert_trees_equal(again.lanes.mask, info.lanes.mask)
    helpers.assert_trees_equal(again.trained.final, info.trained.final)


def test_sparse_execution_agrees():
    """With a branch that has no weights at all in some lanes."""
    ends = []
    for execution in ("dense", "sparse"):
        config = tiny_config(
            train__execution=execution, model__branches=2, algorithm__degrees=(4,),
            algorithm__topologies=("butterfly", "parallel_butterfly"),
            algorithm__dense_init=False, model__hidden=(64,), model__stages=1,
        )  # fmt: skip
        _, algorithm, roots = helpers.tiny_algorithm(config)
        state = algorithm.init(roots)._replace(round=jnp.int32(1))
        _, info = algorithm.step(state)
        ends.append(info.trained.summary["test_loss"])
    np.testing.assert_allclose(*ends, rtol=1e-4)


REFUSED = {
    "a torus without a square": (
        {"model__hidden": (128, 128), "algorithm__topologies": ("torus",)},
        "config.model.hidden: 128: a torus has a square of nodes, such as 121",
    ),
    "a hypercube of 100": (
        {"model__hidden": (100, 100), "algorithm__topologies": ("hypercube",)},
        "config.model.hidden: 100: a hypercube has 2\\^n nodes, .* such as 128",
    ),
    "a butterfly of a prime": (
        {"model__hidden": (67, 67)},
        "config.model.hidden: 67: a butterfly has b\\^s nodes",
    ),
    "a degree that a butterfly lacks": (
        {"algorithm__degrees": (3,)},
        "config.algorithm.topologies: butterfly of 64 .* has degrees 2, 4, 8; and",
    ),
    "no branches": (
        {"algorithm__topologies": ("parallel_butterfly",)},
        "config.algorithm.topologies: parallel_butterfly .*branches=1 has degrees none",
    ),
    "a degree that nobody has": (
        {"algorithm__degrees": (2, 65)},
        "config.algorithm.degrees: 65: none of butterfly, random_regular, random",
    ),
    "a misspelt topology": (
        {"algorithm__topologies": ("hypercub",)},
        "config.algorithm.topologies: .*did you mean 'hypercube'",
    ),
    "the same twice": ({"algorithm__degrees": (2, 2)}, "is there twice"),
    "none": ({"algorithm__topologies": ()}, "expected at least one"),
    "a misspelt law": ({"algorithm__law": "xavier"}, "did you mean 'sparse_xavier'"),
    "a control": ({"controls__reinit": 1}, "controls.reinit: nothing is pruned here"),
    "another network": (
        {"model__name": "mlp", "model__stages": None},
        "config.model.name: topologies are those of the network cascade",
    ),
    "stages of another network": ({"model__name": "mlp"}, "config.model.stages: 2: is"),
    "no stage": ({"model__stages": 0}, "config.model.stages: 0: expected at least 1"),
    "a claim about a topology that is not there": (
        {"claims": (dict(id="a", statement="b", quantity="test_loss", lane="kautz",
                         round=1, versus_lane="dense", expected=1.0),)},
        "config.claims.a.lane",
    ),
}  # fmt: skip


@pytest.mark.parametrize("case", REFUSED)
def test_wrong_values_are_refused(case, tmp_path):
    changes, message = REFUSED[case]
    with pytest.raises(ConfigError, match=message):
        experiment.run(tiny_config(**changes), tmp_path / "run")
    assert not (tmp_path / "run").exists()


# --- reconstruction


def test_one_stage_leaves_what_is_off_its_support():
    support = make("random", 8, 1, 3)
    targets = random_targets(jax.random.key(0), 3, 8)
    found = reconstruction_error(jax.random.key(1), support, targets, steps=300)
    squares = np.asarray(targets) ** 2
    expected = (squares * ~support[0, 0]).sum((1, 2)) / squares.sum((1, 2))
    np.testing.assert_allclose(found, expected, atol=1e-4)


def test_a_butterfly_reconstructs_butterflies_and_no_other_matrix():
    supports = jnp.asarray(make("butterfly", 8, 3, 2))
    keys = jax.random.split(jax.random.key(0), 2)
    own = jnp.stack([jnp.linalg.multi_dot(list(draw(key, supports, sparse_xavier)[0]))
                     for key in keys])  # fmt: skip
    others = random_targets(jax.random.key(1), 2, 8)
    errors = reconstruction_error(
        jax.random.key(2), supports, jnp.concatenate([own, others])
    )
    assert errors[:2].max() < 0.02 and errors[2:].min() > 0.1


def test_low_rank_is_the_best_there_is():
    target = np.asarray(random_targets(jax.random.key(0), 1, 9)[0])
    u, s, v = np.linalg.svd(target)
    rest = target - (u[:, :4] * s[:4]) @ v[:4]
    np.testing.assert_allclose(
        low_rank_error(target, 4), (rest**2).sum() / (target**2).sum(), rtol=1e-5
    )
    assert low_rank_error(target, 9) == 0
