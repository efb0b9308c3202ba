"""Methods side by side: the same as one at a time, checks, corrupted data, verdicts."""

import jax
import numpy as np
import pandas as pd
import pytest

from lottery_jax import config as configs
from lottery_jax import experiment
from lottery_jax.algorithms.methods import lane_names
from lottery_jax.analysis import sanity
from lottery_jax.analysis.certificates import certify
from lottery_jax.data.corruption import CORRUPTIONS
from lottery_jax.errors import CertificateError, ConfigError
from lottery_jax.reporting import figures, results
from lottery_jax.tickets import masks, schedules
from lottery_jax.types import Dataset, Split
from tests import helpers


def tiny(**changes):
    """Two methods at two densities, on digits."""
    config = configs.default("compare")
    config.data.validation_size = 100
    config.data.test_size = 100
    config.model.hidden = (16,)
    config.train.steps = 30
    config.train.eval_every = 10
    config.lanes.plan = "map"
    config.replicates = 2
    config.algorithm.methods = ("snip", "imp")
    config.algorithm.densities = (0.5, 0.25)
    config.algorithm.iterations = 3
    for name, value in changes.items():
        config.update_from_flattened_dict({name.replace("__", "."): value})
    return config


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    config = tiny(
        algorithm__methods=("snip", "imp", "synflow", "one_shot", "smart_ratio"),
        algorithm__checks=("hybrid", "inverted", "random_labels", "half_data"),
        controls__shuffle=2, controls__reinit=1,
    )  # fmt: skip
    return experiment.run(config, tmp_path_factory.mktemp("compare") / "run")


# A method and the config of the algorithm that has it alone.
ALONE = {
    "imp": {"score": "magnitude"},
    "one_shot": {"score": "magnitude", "one_shot": True},
    "snip": {"score": "snip", "one_shot": True, "pretrain": False},
    "synflow": {
        "score": "synflow", "one_shot": True, "pretrain": False, "iterations": 3,
    },
}  # fmt: skip


@pytest.mark.parametrize("method", ALONE)
def test_a_method_beside_others_is_the_method_alone(method, run, tmp_path):
    changes = {f"algorithm__{name}": value for name, value in ALONE[method].items()}
    config = helpers.tiny_config(
        algorithm__scope="global", algorithm__prune_fraction=0.5,
        algorithm__rounds=2, controls__random=0, controls__reinit=0, **changes,
    )  # fmt: skip
    alone = experiment.run(config, tmp_path)
    assert [sum(rung.values()) for rung in alone.ladder] == [1184, 592, 296]
    assert [rung["all"] for rung in run.ladder] == [1184, 592, 296]
    place = ["snip", "imp", "synflow", "one_shot", "smart_ratio"].index(method)
    for number in (1, 2):
        beside = results.load_masks(run.workdir, number)
        for name, mask in results.load_masks(tmp_path, number).items():
            np.testing.assert_array_equal(
                mask, beside[name][2 * place : 2 * place + 2], err_msg=name
            )
        rows = run.summary.query(f"round == {number} and lane == '{method}'")
        expected = alone.summary.query(f"round == {number}")
        for column in ("test_accuracy", "early_stop_step", "train_loss"):
            np.testing.assert_allclose(rows[column], expected[column], rtol=1e-4)


def test_lanes_are_those_that_the_config_names(run):
    algorithm = run.config["algorithm"]
    controls = run.config["controls"]
    expected = lane_names(algorithm["methods"], algorithm["checks"], controls)
    later = run.summary[run.summary["round"] > 0]
    assert set(later.lane) == set(expected)
    assert set(run.summary.lane[run.summary["round"] == 0]) == {"dense"}
    # Labels and halves of the data change nothing that synflow sees.
    assert not any(name.startswith("synflow/random_labels") for name in expected)
    assert "smart_ratio/inverted" not in expected
    assert (later[later.lane == "snip/shuffle"].groupby("round").size() == 4).all()
    assert (later.kept == later["round"].map({1: 592, 2: 296})).all()
    assert not run.summary.diverged.any()


def test_every_check_changes_masks_alone(run):
    """So say the certificates; and what is reported of a check is not the method's."""
    for certificate in run.certificates[1:]:
        differs = certificate["controls_differ_in"]
        assert len(differs) == 2 * (5 * 3 + 4 + 4 + 3 + 3)
        for name, respects in differs.items():
            assert respects == (["params"] if "/reinit/" in name else ["mask"]), name
    text = (run.workdir / "sanity.md").read_text()
    assert "| synflow |" in text and "## 25 % of the weights" in text


def test_what_is_drawn_of_it(run, drawn):
    stems = {path.stem for path in figures.draw(run)}
    assert "checks" in stems and "recovery" not in stems


def test_inverted_scores_keep_what_is_scored_lowest():
    _, algorithm, roots = helpers.tiny_algorithm(
        tiny(algorithm__methods=("magnitude",), algorithm__checks=("inverted",),
             algorithm__densities=(0.5,))
    )  # fmt: skip
    state, _ = algorithm.step(algorithm.init(roots))
    _, info = algorithm.step(state)
    names = masks.prunable_names(info.prunable)
    kept = masks.named_leaves(info.lanes.mask)
    for name in names:  # a half each, and nothing in common
        assert not (kept[name][:2] & kept[name][2:]).any()
        assert (kept[name][:2] | kept[name][2:]).all()


def test_trained_methods_start_from_the_trained_network_and_find_on_other_data():
    names = ("learning_rate", "imp")
    config = tiny(
        algorithm__methods=names, algorithm__checks=("random_labels",),
        controls__reshuffle=1,
    )  # fmt: skip
    _, algorithm, roots = helpers.tiny_algorithm(config)
    state, dense = algorithm.step(algorithm.init(roots))
    trained = dense.trained.final
    helpers.assert_trees_equal(state.dense["clean"], trained)
    assert helpers.trees_differ(state.dense["random_labels"], trained)
    state, info = algorithm.step(state)
    # Trained on both kinds of labels; then each method, its check and its control, and
    # the check of imp on its own labels.
    assert algorithm.work == [30 * 2] + [30 * 7] * (len(algorithm.ladder) - 1)
    at = {label.lane: i for i, label in enumerate(info.labels) if not label.replicate}

    def start(lane):
        return jax.tree.map(lambda leaf: leaf[at[lane]], info.lanes.params)

    first = jax.tree.map(lambda leaf: leaf[0], trained)
    helpers.assert_trees_equal(start("learning_rate"), first)
    helpers.assert_trees_equal(start("learning_rate/random_labels"), first)
    helpers.assert_trees_equal(
        start("imp"), jax.tree.map(lambda leaf: leaf[0], state.init)
    )
    # Kept values change places, and are those of the ticket.
    kept = info.lanes.mask["dense_0"]["kernel"][at["learning_rate"]]
    values = [
        np.sort(start(lane)["dense_0"]["kernel"][kept])
        for lane in ("learning_rate", "learning_rate/reshuffle")
    ]
    np.testing.assert_array_equal(*values)
    # What imp goes on from was trained on the data that its masks are found on.
    place = slice(at["imp/random_labels"], at["imp/random_labels"] + 2)
    clean = jax.tree.map(lambda leaf: leaf[place], info.trained.final)
    assert helpers.trees_differ(state.tickets["imp/random_labels"][0], clean)
    own = slice(at["imp"], at["imp"] + 2)
    helpers.assert_trees_equal(
        state.tickets["imp"][0],
        jax.tree.map(lambda leaf: leaf[own], info.trained.final),
    )


def test_masks_of_a_check_go_on_from_their_own_and_the_path_is_walked():
    masks_of = {}
    for path in ("exponential", "linear"):
        config = tiny(
            algorithm__methods=("imp", "synflow"), algorithm__checks=("hybrid",),
            algorithm__path=path,
        )  # fmt: skip
        _, algorithm, roots = helpers.tiny_algorithm(config)
        state, _ = algorithm.step(algorithm.init(roots))
        state, first = algorithm.step(state)
        before = state.tickets["imp/hybrid"][1]
        _, info = algorithm.step(state)
        place = [label.lane for label in info.labels].index("imp/hybrid")
        own = jax.tree.map(lambda leaf, at=place: leaf[at : at + 2], info.lanes.mask)
        for new, old in zip(*map(jax.tree.leaves, (own, before)), strict=True):
            assert not (new & ~old).any()
        place = [label.lane for label in first.labels].index("synflow")
        masks_of[path] = jax.tree.map(lambda leaf, at=place: leaf[at], first.lanes.mask)
    assert helpers.trees_differ(*masks_of.values())


def test_random_masks_of_two_methods_differ():
    config = tiny(algorithm__methods=("random", "uniform"))
    _, algorithm, roots = helpers.tiny_algorithm(config)
    state, _ = algorithm.step(algorithm.init(roots))
    _, info = algorithm.step(state)
    mask = np.asarray(info.lanes.mask["dense_0"]["kernel"])
    assert abs((mask[0] & mask[2]).mean() - 0.25) < 0.05


def test_a_control_that_changes_nothing_is_caught_and_a_check_is_told():
    """Scores may be all alike, and then the lowest are the highest."""
    _, algorithm, roots = helpers.tiny_algorithm(
        tiny(algorithm__checks=("inverted",), controls__shuffle=1)
    )
    state, _ = algorithm.step(algorithm.init(roots))
    _, info = algorithm.step(state)
    assert certify(info)["idle_controls"] == []
    with pytest.raises(CertificateError, match="nothing .* in lane snip/shuffle 0"):
        certify(helpers.with_idle(info, "snip/shuffle"))
    told = certify(helpers.with_idle(info, "snip/inverted"))
    assert told["idle_controls"] == ["snip/inverted"]


def test_nested_counts_never_grow_and_add_up():
    numbers = np.random.default_rng(0)
    for _ in range(50):
        before = {str(i): int(n) for i, n in enumerate(numbers.integers(1, 50, 4))}
        total = int(numbers.integers(4, sum(before.values()) + 1))
        cuts = np.sort(numbers.integers(0, total + 1, 3))
        wanted = dict(zip(before, np.diff([0, *cuts, total]).tolist(), strict=True))
        found = schedules.nested(before, wanted)
        assert sum(found.values()) == total
        assert all(found[name] <= before[name] for name in before)
    assert schedules.nested({"a": 9, "b": 9}, {"a": 2, "b": 3}) == {"a": 2, "b": 3}


def small_dataset(classes=3):
    x = np.arange(40, dtype=np.float32).reshape(10, 2, 2)
    y = np.arange(10, dtype=np.int32) % 3
    split = Split(x, y if classes else y.astype(np.float32))
    return Dataset(split, split, split, classes, "small")


@pytest.mark.parametrize("classes", [3, None])
def test_corruptions_leave_what_they_do_not_corrupt(classes):
    dataset = small_dataset(classes)
    found = {
        name: corrupt(dataset, jax.random.key(1))
        for name, corrupt in CORRUPTIONS.items()
    }
    for name, corrupt in found.items():
        helpers.assert_trees_equal(corrupt[1:3], dataset[1:3])
        again = CORRUPTIONS[name](dataset, jax.random.key(1))
        helpers.assert_trees_equal(corrupt.train, again.train)
        assert corrupt.train.y.dtype == dataset.train.y.dtype
        assert name == "half_data" or (corrupt.train.y != dataset.train.y).any(), name
    labels = found["random_labels"].train
    np.testing.assert_array_equal(labels.x, dataset.train.x)
    assert (labels.y != dataset.train.y).any()
    if classes is None:
        assert sorted(labels.y) == sorted(dataset.train.y)
    pixels = found["shuffled_pixels"].train
    np.testing.assert_array_equal(
        np.sort(pixels.x.reshape(10, -1)), dataset.train.x.reshape(10, -1)
    )
    orders = np.argsort(pixels.x.reshape(10, -1), axis=1)
    assert len(np.unique(orders, axis=0)) > 3  # each example has its own
    half = found["half_data"].train
    assert (half.x[:, 0, 0] != dataset.train.x[:5, 0, 0]).any()
    assert len(half.x) == len(half.y) == 5
    for x, y in zip(half.x, half.y, strict=True):
        place = int(x.ravel()[0]) // 4
        assert (dataset.train.x[place] == x).all() and dataset.train.y[place] == y


def test_random_labels_are_uniform():
    y = np.zeros(6000, np.int32)
    split = Split(np.zeros((6000, 1), np.float32), y)
    dataset = Dataset(split, split, split, 10, "zeros")
    drawn = CORRUPTIONS["random_labels"](dataset, jax.random.key(0)).train.y
    counts = np.bincount(drawn, minlength=10)
    assert np.abs(counts - 600).max() < 4 * np.sqrt(600 * 0.9)


def summary_of(method, **checks):
    lanes = {"snip": method} | {f"snip/{name}": v for name, v in checks.items()}
    return pd.DataFrame(
        {"round": 1, "lane": lane, "replicate": i, "density": 0.1,
         "test_accuracy": value, "early_stop_test_accuracy": value}
        for lane, values in lanes.items()
        for i, value in enumerate(values)
    )  # fmt: skip


def test_verdicts_on_what_a_method_depends_on():
    rows = sanity.table(
        summary_of(
            [0.900, 0.910, 0.905, 0.895],
            shuffle=[0.902, 0.909, 0.904, 0.896],
            reinit=[0.850, 0.861, 0.853, 0.847],
            inverted=[0.50, 0.95, 0.99, 0.90],
            order=[0.890, 0.900, 0.895, 0.885],
            reshuffle=[np.nan, 0.9, 0.9, 0.9],
            hybrid=[0.910, 0.921, 0.914, 0.905],
        )
    ).set_index("check")
    assert rows.verdict.to_dict() == {
        "shuffle": sanity.INDEPENDENT,
        "reinit": sanity.DEPENDS,
        "inverted": sanity.UNDERPOWERED,
        "order": sanity.UNDERPOWERED,  # no width: four equal differences
        "reshuffle": sanity.UNDERPOWERED,
        "hybrid": sanity.BETTER,
    }
    # Zero within what does not matter; certain, but less than that.
    assert sanity.verdict(0.28, 0.145, 0.415, 0.5) == sanity.INDEPENDENT
    assert sanity.verdict(-1.6, -2.9, -0.4, 0.5) == sanity.BETTER
    assert sanity.verdict(-0.3, -0.4, -0.2, 0.5) == sanity.INDEPENDENT
    assert rows.difference["reinit"] == pytest.approx(4.975)
    assert rows.difference["reinit"] > rows.low["reinit"] > 4.5
    text = sanity.to_markdown(rows.reset_index())
    assert "| **4.97 [" in text and "| (6.75 [" in text and "| -0.025 [" in text
    assert "| *-1 [" in text
    assert sanity.to_markdown(sanity.table(summary_of([0.5, 0.6]))) == ""


def test_losses_count_the_other_way_round():
    rows = summary_of([0.10, 0.11, 0.12], shuffle=[0.20, 0.22, 0.21])
    losses = rows.rename(columns=lambda name: name.replace("accuracy", "loss"))
    found = sanity.table(losses).iloc[0]
    assert found.verdict == sanity.DEPENDS and found.difference == pytest.approx(0.1)
    # What does not matter is half a percent of the loss, 0.00055.
    for apart, expected in [(1e-3, sanity.UNDERPOWERED), (1e-4, sanity.INDEPENDENT)]:
        rows = summary_of(
            [0.10, 0.11, 0.12], shuffle=[0.10 + apart, 0.11, 0.12 - apart]
        )
        losses = rows.rename(columns=lambda name: name.replace("accuracy", "loss"))
        assert sanity.table(losses).iloc[0].verdict == expected


def test_draws_of_a_control_are_averaged_and_rounding_is_no_difference():
    rows = summary_of([0.9, 0.9, 0.9], shuffle=[0.8, 0.8, 0.8])
    more = rows[rows.lane == "snip/shuffle"].assign(early_stop_test_accuracy=0.6)
    found = sanity.table(pd.concat([rows, more])).iloc[0]
    assert found.difference == pytest.approx(20)
    noisy = summary_of(
        np.float32([0.992, 0.994, 0.996]), shuffle=np.float32([0.990, 0.992, 0.994])
    )
    assert sanity.table(noisy).iloc[0].verdict == sanity.UNDERPOWERED


BAD = {
    "algorithm.methods": [("snipp",), (), ("snip", "snip")],
    "algorithm.checks": [("invert",)],
    "algorithm.densities": [(), (0.5, 0.5), (0.2, 0.4), (1.5,), (0.001,), (0.002,)],
    "train.batch_size": [900],
    "algorithm.score_examples": [5000],
    "model.prune_biases": [True],
    "controls.dense": [1],
}


@pytest.mark.parametrize(
    ("field", "value"), [(field, v) for field, many in BAD.items() for v in many]
)
def test_wrong_comparisons_are_refused(field, value, tmp_path):
    config = tiny(
        algorithm__methods=("snip", "uniform"), algorithm__checks=("half_data",)
    )
    config.update_from_flattened_dict({field: value})
    with pytest.raises(ConfigError, match=rf"config\.{field}: "):
        experiment.run(config, tmp_path / "run")
    assert not (tmp_path / "run").exists()
