"""Hand-made networks, planted: golden tensors, sizes, exactness, and an oracle."""

import functools
import shutil
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import pandas as pd
import pytest

from lottery_jax import assembly, data, experiment, rng
from lottery_jax.analysis import recovery
from lottery_jax.errors import ConfigError
from lottery_jax.fields import FIELDS
from lottery_jax.models import MODELS
from lottery_jax.reporting import progress
from lottery_jax.tickets import masks, planting, targets
from lottery_jax.training import losses
from tests import helpers

ENDS = {"circle": (2, 4), "helix": (1, 3), "relu": (1, 1)}


def network(name, depth, width=100):
    inputs, outputs = ENDS[name]
    hidden = (width,) * (depth - 2)
    return MODELS["mlp"](
        (inputs,), outputs, hidden=hidden, initializer="kaiming_normal"
    )


@functools.cache
def task(name):
    dataset = data.load(
        name, key=jax.random.key(0), validation_size=1000, standardize="none"
    )
    return losses.make_task(dataset, network(name, 5))


def test_golden_tensors():
    layers = targets.make_target("circle", 5)
    signs = [1, -1, 1, -1, 1, -1, 1, -1, 1, 1]
    np.testing.assert_array_equal(layers[2].kernel[0], signs + 10 * [0])
    np.testing.assert_allclose(
        layers[2].bias[:10], -np.array(signs) * np.linspace(0, 1, 10)
    )
    np.testing.assert_allclose(layers[3].kernel[0], (5, 10, 20, 40))
    last = (1.1111, 2.2222, 4.4444, 8.8889)
    np.testing.assert_allclose(layers[3].kernel[-1], last, atol=1e-4)
    bias = (-3.950617, -8.901235, -21.802469, -51.604938)
    np.testing.assert_allclose(layers[3].bias, bias, atol=1e-6)
    layers = targets.make_target("circle", 6)
    turn = np.array([[1, 1, -1], [1, -1, 1]]) * np.sqrt(0.5)
    np.testing.assert_allclose(layers[2].kernel, turn)
    bias = (-5.90483, -12.809661, -29.619322, -67.238643)
    np.testing.assert_allclose(layers[-1].bias, bias, atol=1e-5)
    layers = targets.make_target("helix", 5)
    np.testing.assert_allclose(layers[2].bias, (7.429759, -7.242398, 1.25), atol=1e-6)
    rows = [(-3.516316, 5.31564, 0.375), (-1.573308, -0.625863, 0)]
    np.testing.assert_allclose(layers[2].kernel[:2], rows, atol=1e-6)


# Weights and biases that are not zero, and the error where there is no noise.
SIZES = {
    ("relu", 3): (2, 0, 0.0), ("relu", 10): (9, 0, 0.0),
    ("circle", 3): (100, 24, 0.038), ("circle", 4): (124, 22, 0.010),
    ("circle", 5): (108, 22, 0.010), ("circle", 6): (119, 22, 0.012),
    ("circle", 8): (135, 22, 0.005), ("circle", 10): (153, 22, 0.002),
    ("helix", 3): (91, 33, 2.17e-4), ("helix", 5): (95, 36, 2.17e-4),
    ("helix", 6): (98, 36, 2.17e-4), ("helix", 10): (110, 36, 2.17e-4),
}  # fmt: skip


@pytest.mark.parametrize(("name", "depth"), SIZES)
def test_targets_have_the_papers_sizes_and_solve_their_task(name, depth):
    target = targets.make_target(name, depth)
    weights, biases, error = SIZES[name, depth]
    counts = [sum(np.count_nonzero(leaf) for leaf in x) for x in zip(*target)]  # noqa: B905
    assert counts == [weights, biases]
    inputs, outputs = ENDS[name]
    units = (inputs, *(depth - 2) * [100], outputs)
    total = sum(np.size(leaf) for leaf in jax.tree.leaves(shapes_of(name, depth)))
    assert targets.density(target, units) == (weights + biases) / total
    x = np.random.default_rng(0).uniform(-1, 1, (20_000, inputs))
    found = targets.apply(target, x)
    if name == "circle":
        classes = np.digitize(np.square(x).sum(1), (0.2, 0.5, 0.7))
        assert abs(np.mean(found.argmax(1) != classes) - error) < 0.003
    else:
        curve = np.maximum(x, 0) if name == "relu" else targets.helix_curve(x[:, 0])
        np.testing.assert_allclose(np.mean((found - curve) ** 2), error, rtol=0.05)


def shapes_of(name, depth):
    return jax.tree.map(
        lambda leaf: np.empty(leaf.shape),
        jax.eval_shape(network(name, depth).init, jax.random.key(0))[0],
    )


def test_data_of_the_tasks():
    circle = task("circle").dataset
    assert len(circle.train.x) == 9000 and len(circle.test.x) == 10_000
    frequencies = np.bincount(circle.test.y) / 10_000
    np.testing.assert_allclose(frequencies, (0.157, 0.236, 0.158, 0.449), atol=0.015)
    radius = np.square(circle.test.x).sum(1)
    wrong = circle.test.y != np.digitize(radius, (0.2, 0.5, 0.7))
    assert 0.006 < wrong.mean() < 0.014
    for name, constant in {"relu": 0.1043, "helix": 0.1612}.items():
        test = task(name).dataset.test
        assert abs(np.var(test.y, axis=0).mean() - constant) < 0.004
        clean = np.maximum(test.x, 0)
        if name == "helix":
            clean = targets.helix_curve(test.x[:, 0])
        assert abs(np.std(test.y - clean) - 0.01) < 3e-4
    assert not np.array_equal(circle.train.x[:10], circle.test.x[:10])


@pytest.mark.parametrize("mode", planting.MODES)
@pytest.mark.parametrize("name", targets.TARGETS)
def test_the_masked_network_is_the_target(name, mode):
    """Twenty networks of every kind, on fresh inputs, in float64."""
    with jax.enable_x64(True):
        # All depths: docs/results/plant_and_seek/run.py.
        for depth in (3, 6) if mode == "matched" else (5,):
            target, model = targets.make_target(name, depth), network(name, depth)

            def one(key, target=target, model=model):
                params = model.init(key)[0]
                params = jax.tree.map(lambda leaf: leaf.astype(jnp.float64), params)
                params = planting._draw_biases(key, params)
                planted = planting.plant(params, target, mode, common=name == "circle")
                shape = (50, ENDS[name][0])
                x = jax.random.uniform(key, shape, jnp.float64, -1, 1)
                ticket = masks.apply(planted.params, planted.truth.mask)
                outputs = model.apply(ticket, {}, x, train=False)[0]
                return x, outputs / planted.truth.scale[None], planted.truth

            keys = jax.random.split(jax.random.key(depth), 20)
            x, outputs, truth = jax.jit(jax.vmap(one))(keys)
            expected = np.stack([targets.apply(target, np.asarray(each)) for each in x])
            assert np.abs(outputs - expected).max() < 1e-9 * np.abs(expected).max()
            own = sum(np.count_nonzero(leaf) for layer in target for leaf in layer)
            counts = sum(
                np.sum(leaf, tuple(range(1, leaf.ndim)))
                for leaf in jax.tree.leaves(truth.mask)
            )
            assert set(counts.tolist()) == {own}
            assert (truth.scale > 0).all()
            if mode == "matched" and name == "circle":
                np.testing.assert_array_equal(
                    truth.scale, truth.scale[:, :1] + 0 * truth.scale
                )


def plant_by_hand(kernels, biases, target):
    """The published procedure, unit by unit."""
    where, scale = np.arange(len(kernels[0])), np.ones(len(kernels[0]))
    for kernel, bias, layer in zip(kernels, biases, target, strict=True):
        before, bias_before = kernel.copy(), bias.copy()
        used, places, factors = {0}, [], []
        for i in range(len(layer.bias)):
            (rows,) = np.nonzero(layer.kernel[:, i])
            v = np.append(layer.bias[i], layer.kernel[rows, i] / scale[rows])
            best, least, factor = None, 1000.0, None
            for k in range(kernel.shape[1]):
                u = np.append(bias_before[k], before[where[rows], k])
                ratio = v @ u / (v @ v)
                signs = np.sign(u[v != 0]) == np.sign(v[v != 0])
                error = np.abs(u - ratio * v).sum()
                if ratio > 0 and signs.all() and error < least:
                    best, least, factor = k, error, ratio
            place = i if best is None else best
            if place in used:
                free = [k for k in range(kernel.shape[1]) if k not in used]
                place = free[0] if free else 0
                best = None
            if best is None:
                factor = abs(before[where[rows[0]], place] / v[1])
            used.add(place)
            places.append(place)
            factors.append(factor)
            kernel[where[rows], place] = factor * v[1:]
            bias[place] = factor * v[0]
        where, scale = np.array(places), np.array(factors)
    return where, scale


@pytest.mark.parametrize(("name", "depth"), [("circle", 5), ("helix", 4)])
def test_faithful_planting_is_the_published_procedure(name, depth):
    target = targets.make_target(name, depth)
    with jax.enable_x64(True):
        params = network(name, depth).init(jax.random.key(3))[0]
        params = jax.tree.map(lambda leaf: leaf.astype(jnp.float64), params)
        params = planting._draw_biases(jax.random.key(4), params)
        planted = planting.plant(params, target, "faithful")
        names = planting.layer_names(depth - 1)
        kernels = [np.array(params[layer]["kernel"]) for layer in names]
        biases = [np.array(params[layer]["bias"]) for layer in names]
        order, scale = plant_by_hand(kernels, biases, target)
        np.testing.assert_allclose(planted.truth.scale, scale, rtol=1e-9)
        for layer, kernel, bias in zip(names, kernels, biases, strict=True):
            columns = order if layer == "output" else slice(None)
            found = planted.params[layer]
            np.testing.assert_allclose(found["kernel"], kernel[:, columns], rtol=1e-9)
            np.testing.assert_allclose(found["bias"], bias[columns], rtol=1e-9)


@functools.cache
def planted(name, depth, mode, num=10):
    """Networks with the task's target in them, and what is true of them [num, ...]."""
    model = planting.planted_model(
        network(name, depth), targets.make_target(name, depth),
        mode=mode, common=name == "circle",
    )  # fmt: skip
    keys = jax.random.split(jax.random.key(0), num)
    both = jax.jit(jax.vmap(lambda key: (model.init(key)[0], model.truth(key))))
    return model, *both(keys)


def sizes_of_planted(mode):
    """Median |planted weight| in standard deviations, per layer (circle)."""
    _, params, truth = planted("circle", 5, mode)
    return [
        np.median(np.abs(params[name]["kernel"][truth.mask[name]["kernel"]]))
        / np.sqrt(2 / params[name]["kernel"].shape[1])
        for name in planting.layer_names(4)
    ]


def test_matched_planting_hides_what_faithful_gives_away():
    faithful, matched = sizes_of_planted("faithful"), sizes_of_planted("matched")
    assert faithful[-1] < 0.2  # far below the 0.67 of the weights around it
    assert all(0.4 < size < 1.1 for size in matched)


@pytest.mark.parametrize("depth", [4, 5])
def test_a_matched_ticket_needs_no_rescaling_and_no_training(depth):
    """Factors per class change an argmax, which the published metric forgot."""
    test, accuracies = task("circle").dataset.test, {}
    for mode in planting.MODES:
        model, params, truth = planted("circle", depth, mode)
        tickets = masks.apply(params, truth.mask)
        outputs = jax.vmap(
            lambda one, own=model: own.apply(one, {}, test.x, train=False)
        )(tickets)[0]
        divided = outputs / truth.scale[:, None]
        raw, rescaled = (
            [float(losses.accuracy(x, test.y)) for x in each]
            for each in (outputs, divided)
        )
        assert min(rescaled) > 0.975
        accuracies[mode] = raw
    assert min(accuracies["matched"]) > 0.975
    assert max(accuracies["faithful"]) < 0.8


def test_biases_scale_with_the_network():
    """N(0, product over layers of 2 / fan-in), so that layers may be scaled alike."""
    params = network("circle", 5).init(jax.random.key(0))[0]
    keys = jax.random.split(jax.random.key(1), 50)
    drawn = jax.vmap(lambda key: planting._draw_biases(key, params))(keys)
    expected = 1.0
    for name, inputs in zip(planting.layer_names(4), (2, 100, 100, 100), strict=True):
        expected *= np.sqrt(2 / inputs)
        assert np.std(drawn[name]["bias"]) == pytest.approx(expected, rel=0.12)


@pytest.mark.parametrize(("name", "equal"), [("circle", True), ("helix", False)])
def test_a_config_plants_as_it_says(name, equal):
    """One factor for all classes; as loud as asked for."""
    scales = {}
    for loudness in (1.0, 2.0):
        config = planted_config(
            data__name=name, planting__target=name, planting__loudness=loudness,
            model__hidden=(40, 40, 40), data__train_size=None,
        )  # fmt: skip
        made = assembly.make_task(config, rng.roots(0))
        scales[loudness] = np.asarray(made.model.truth(jax.random.key(0)).scale)
    assert (np.ptp(scales[1.0]) == 0) == equal
    np.testing.assert_allclose(scales[2.0], 16 * scales[1.0], rtol=1e-4)


def test_loudness_is_the_size_of_planted_weights():
    target = targets.make_target("relu", 3)
    params = network("relu", 3).init(jax.random.key(0))[0]
    quiet = planting.plant(params, target, loudness=1.0).truth.scale
    loud = planting.plant(params, target, loudness=3.0).truth.scale
    np.testing.assert_allclose(loud, 9 * quiet, rtol=1e-6)


def test_recovery_by_hand():
    def tree(*rows):
        return {
            "a": {"kernel": np.array(rows[0], bool)},
            "b": {"bias": np.array(rows[1], bool)},
        }

    mask, truth = tree([1, 1, 0, 0], [1, 0]), tree([1, 0, 1, 0], [0, 0])
    prunable = {"a": {"kernel": True}, "b": {"bias": True}}
    found = recovery.recovery(mask, truth, prunable)
    expected = {
        "recall": 1 / 2, "precision": 1 / 3, "jaccard": 1 / 4, "recall_chance": 1 / 2,
        "recall/a/kernel": 1 / 2, "recall/b/bias": 0,
    }  # fmt: skip
    assert {name: float(value) for name, value in found.items()} == pytest.approx(
        expected
    )
    # All that is true stands in a leaf that is half kept; the other is kept whole.
    chance = recovery.recovery(tree([1, 1, 0, 0], [1, 1]), truth, prunable)
    assert float(chance["recall_chance"]) == 1 / 2
    prunable["b"]["bias"] = False
    found = recovery.recovery(mask, truth, prunable)
    assert float(found["precision"]) == 1 / 2 and "recall/b/bias" not in found


def test_the_best_factors_are_those_of_least_squares():
    numbers = np.random.default_rng(0)
    outputs = numbers.normal(size=(30, 3)) * (1e-6, 1, 0)
    y = numbers.normal(size=(30, 3))
    found = recovery.best_factors(jnp.float32(outputs), jnp.float32(y))
    for j in range(2):
        (best,) = np.linalg.lstsq(outputs[:, j : j + 1], y[:, j], rcond=None)[0]
        np.testing.assert_allclose(found[j], best, rtol=1e-4)
    assert found[2] == 1


def test_the_truth_untrained_is_as_good_as_the_target():
    """Regression: 1.4e-4 after the best factors, far worse raw."""
    own = task("helix")
    model, params, truth = planted("helix", 5, "faithful", 1)
    params, truth = jax.tree.map(lambda leaf: leaf[0], (params, truth))
    ticket = masks.apply(params, truth.mask)
    found = recovery.quality(own._replace(model=model), ticket, ticket, truth.scale)
    assert abs(found["untrained_rescaled_test_loss"] - 1.42e-4) < 1e-5
    assert found["untrained_test_loss"] > 0.1


BAD = {
    "model.hidden": [
        {"model__hidden": (30, 30, 15)},
        {"model__hidden": (100, 100)} | {"planting__target": "RUN"},
    ],
    "planting.loudness": [
        {"planting__loudness": 0.0},
        {"planting__loudness": -1.0},
        {"planting__loudness": 2.0, "planting__mode": "faithful"},
    ],
    "data.standardize": [{"data__standardize": "mean_std"}],
    "algorithm.name": [{"algorithm": "supermask"}],
    "planting.mode": [{"planting__mode": "hidden"}],
    "planting.target": [{"planting__target": "nowhere"}, {"planting__target": ""}],
    "data.name": [
        {"planting__target": "helix"},
        {"data__name": "digits", "data__standardize": "mean_std"},
    ],
    "model.name": [{"model__name": "lenet_300_100", "model__hidden": None}],
}


@pytest.fixture(scope="module")
def found(tmp_path_factory):
    """A run of two rounds."""
    workdir = tmp_path_factory.mktemp("found") / "run"
    experiment.run(helpers.tiny_config(algorithm__rounds=2), workdir)
    return workdir


def planted_config(**changes):
    base = {
        "data__name": "circle", "data__train_size": 100, "planting__target": "circle",
        "data__standardize": "none",
        "model__hidden": (30, 30, 30), "model__initializer": "kaiming_normal",
    }  # fmt: skip
    return helpers.tiny_config(**(base | changes))


@pytest.mark.parametrize(
    ("field", "changes"),
    [(field, each) for field, many in BAD.items() for each in many],
)
def test_what_cannot_be_planted_is_refused(field, changes, found, tmp_path):
    if changes.get("planting__target") == "RUN":
        changes = changes | {"planting__target": str(found), "data__name": "digits"}
    changes = dict(changes)
    other = changes.pop("algorithm", None)
    config = planted_config(**changes)
    if other:
        config.algorithm = FIELDS[other].make()
    with pytest.raises(ConfigError, match=rf"config\.{field}: "):
        experiment.run(config, tmp_path / "run")
    assert not (tmp_path / "run").exists()


def test_the_dense_round_trains_a_planted_ticket_too():
    config = planted_config()
    config.algorithm = FIELDS["compare"].make()
    config.algorithm.methods, config.algorithm.densities = ("imp",), (0.5,)
    config.controls.random = 1
    _, algorithm, roots = helpers.tiny_algorithm(config)
    _, info = algorithm.step(algorithm.init(roots))
    assert {label.lane for label in info.labels} == {"dense", "planted"}
    steps = config.train.steps
    assert algorithm.work == [2 * steps, 3 * steps]  # imp and its controls


def test_a_planted_ticket_is_named_with_its_density(capsys):
    """It stands in round 0, beside the dense network."""
    names = ["round", "lane", "sample", "replicate", "density", "early_stop_test_loss"]
    rows = [
        (number, lane, 0, replicate, density, 0.5)
        for number, lane, density in (
            (0, "dense", 1.0), (0, "planted", 0.0062), (1, "imp", 0.5)
        )
        for replicate in range(2)
    ]  # fmt: skip
    summary = pd.DataFrame(rows, columns=names).assign(seconds=1.0, diverged=False)
    first = summary[summary["round"] == 0]
    progress.show_round(first, 1, steps=0, seconds_left=1, compiled=False)
    progress.show_end(summary, [], Path("run"))
    said = capsys.readouterr().out
    assert said.startswith(
        "round  0/1  density 100.00%  dense 0.5  planted (0.62 %) 0.5  1s left\n"
    )
    assert said.count("planted (0.62 %)") == 2 and said.count("planted") == 2


def check_what_is_measured(config, workdir, summary):
    """Recall and masks untrained of both replicates, from what is on disk."""
    roots = rng.roots(config.seed.root)
    made = assembly.make_task(config, roots)
    stored, test = experiment.results.load_masks(workdir, 1), made.dataset.test
    rows = summary[(summary.lane == "ticket") & (summary["round"] == 1)]
    for replicate, (recall, accuracy) in enumerate(
        zip(rows.recall, rows.untrained_test_accuracy, strict=True)
    ):
        key = rng.stream(roots, "init", replicate)
        params, truth = made.model.init(key)[0], made.model.truth(key)
        true = masks.named_leaves(truth.mask)
        both = sum((stored[name][replicate] & true[name]).sum() for name in stored)
        assert recall == pytest.approx(both / sum(true[name].sum() for name in stored))
        kept = masks.map_named(
            lambda name, leaf, i=replicate: (
                leaf * stored[name][i] if name in stored else leaf
            ),
            params,
        )
        outputs = made.model.apply(kept, {}, test.x, train=False)[0]
        expected = losses.accuracy(outputs, test.y)
        assert accuracy == pytest.approx(float(expected), abs=1e-6)


def test_a_ticket_that_imp_found_is_planted(found, tmp_path):
    (first, last) = assembly.last_ticket(found, replicate=1)
    kept = [np.count_nonzero(layer.kernel) for layer in (first, last)]
    stored = experiment.results.load_masks(found, 2)
    assert kept == [
        stored[name][1].sum() for name in ("dense_0/kernel", "output/kernel")
    ]
    config = helpers.tiny_config(
        planting__target=str(found), planting__replicate=1, model__hidden=(40,),
        model__initializer="kaiming_normal", algorithm__rounds=1,
    )  # fmt: skip
    summary = experiment.run(config, tmp_path / "seek").summary
    check_what_is_measured(config, tmp_path / "seek", summary)
    tickets = summary[(summary.lane == "ticket") & (summary["round"] == 1)]
    assert tickets.recall.between(0.01, 0.99).all()
    assert (summary[summary["round"] == 0].recall == 1).all()
    with pytest.raises(ConfigError, match="replicates 0 to 1"):
        assembly.last_ticket(found, replicate=2)


def test_only_tickets_that_are_done_are_planted(found, tmp_path):
    """A dense network, an untrained one or an older round is not what was asked for."""
    for changes in ({"one_shot": True}, {"pretrain": False, "one_shot": True}):
        config = helpers.tiny_config(
            algorithm__rounds=1, **{f"algorithm__{k}": v for k, v in changes.items()}
        )
        workdir = tmp_path / "_".join(changes)
        experiment.run(config, workdir)
        with pytest.raises(ConfigError, match="planting.target: .* no trained ticket"):
            assembly.last_ticket(workdir)
    shutil.copytree(found, tmp_path / "part")
    shutil.rmtree(tmp_path / "part/rounds/0002")
    with pytest.raises(ConfigError, match="2 of 3 rounds: finish it first"):
        assembly.last_ticket(tmp_path / "part")
    config = helpers.tiny_config(algorithm__allocation=str(tmp_path / "part"))
    with pytest.raises(ConfigError, match="algorithm.allocation: .*finish it first"):
        helpers.tiny_algorithm(config)
