"""Profiles of layers: anchors of the papers, exact sums, ladders that shrink."""

import math

import numpy as np
import pytest

from lottery_jax import experiment
from lottery_jax.errors import ConfigError
from lottery_jax.reporting.results import load_masks
from lottery_jax.tickets import ALLOCATIONS, schedules
from tests import helpers

LENET = {"dense_0": (784, 300), "dense_1": (300, 100), "output": (100, 10)}
CONV_2 = {
    "conv_0": (3, 3, 3, 64), "conv_1": (3, 3, 64, 64), "dense_0": (16384, 256),
    "dense_1": (256, 256), "output": (256, 10),
}  # fmt: skip


def sizes(shapes):
    return {name: math.prod(shape) for name, shape in shapes.items()}


@pytest.mark.parametrize("name", ALLOCATIONS)
@pytest.mark.parametrize("shapes", [LENET, CONV_2])
@pytest.mark.parametrize("sparsity", [0.0, 0.1, 0.5, 0.9, 0.98, 0.999])
def test_counts_add_up_and_fit(name, shapes, sparsity):
    total = sum(sizes(shapes).values())
    num = total - round(sparsity * total)
    counts = ALLOCATIONS[name](shapes, num)
    assert list(counts) == list(shapes)
    assert sum(counts.values()) == num
    assert all(0 <= counts[n] <= sizes(shapes)[n] for n in shapes)


@pytest.mark.parametrize(
    ("shapes", "sparsity", "expected"),
    [
        (LENET, 0.9, (24_741, 1577, 300)),
        (LENET, 0.95, (12_230, 779, 300)),
        (LENET, 0.98, (4722, 301, 300)),
        (CONV_2, 0.9, (432, 6144, 419_477, 3277, 768)),
        (CONV_2, 0.98, (85, 1220, 83_294, 650, 768)),
    ],
)
def test_smart_ratios_are_su_et_als(shapes, sparsity, expected):
    """Up to the weight per layer that their floors lose."""
    num = int(sum(sizes(shapes).values()) * (1 - sparsity))
    counts = ALLOCATIONS["smart_ratio"](shapes, num)
    np.testing.assert_allclose(list(counts.values()), expected, atol=1)


def test_smart_ratios_are_never_negative():
    """0.3 of the output layer is more than all there is to keep."""
    digits = {"dense_0": (64, 32), "dense_1": (32, 32), "output": (32, 10)}
    counts = ALLOCATIONS["smart_ratio"](digits, 67)
    assert counts == {"dense_0": 49, "dense_1": 12, "output": 6}


@pytest.mark.parametrize("name", ["erdos_renyi", "erdos_renyi_kernel"])
def test_densities_are_proportional_where_a_layer_is_not_full(name):
    """Against bisection of epsilon in min(1, epsilon r)."""
    ratios = {
        "erdos_renyi": lambda s: (s[-2] + s[-1]) / (s[-2] * s[-1]),
        "erdos_renyi_kernel": lambda s: sum(s) / np.prod(s),
    }[name]
    whole, num = sizes(CONV_2), 430_099
    r = {layer: ratios(shape) for layer, shape in CONV_2.items()}
    low, high = 0.0, 1e6
    for _ in range(200):
        epsilon = (low + high) / 2
        kept = sum(min(1, epsilon * r[layer]) * whole[layer] for layer in r)
        low, high = (epsilon, high) if kept < num else (low, epsilon)
    counts = ALLOCATIONS[name](CONV_2, num)
    assert counts["output"] == whole["output"]  # full
    for layer in CONV_2:
        assert abs(counts[layer] - min(1, low * r[layer]) * whole[layer]) <= 1


@pytest.mark.parametrize("name", ALLOCATIONS)
def test_no_layer_of_a_ladder_grows(name):
    ladder = schedules.allocated(CONV_2, ALLOCATIONS[name], 0.2, 20)
    for before, after in zip(ladder, ladder[1:], strict=False):
        assert all(after[layer] <= before[layer] for layer in CONV_2)
        drop = sum(before.values()) - sum(after.values())
        assert abs(drop / sum(before.values()) - 0.2) < 0.01
    with pytest.raises(ConfigError, match="would empty"):
        schedules.allocated(CONV_2, ALLOCATIONS[name], 0.9, 8)


def test_a_run_keeps_what_is_allotted(tmp_path):
    config = helpers.tiny_config(
        algorithm__allocation="erdos_renyi", algorithm__score="random",
        algorithm__pretrain=False, algorithm__rounds=2,
    )  # fmt: skip
    _, algorithm, roots = helpers.tiny_algorithm(config)
    state = algorithm.init(roots)
    for number in range(3):
        state, info = algorithm.step(state)
        kernel = info.lanes.mask["output"]["kernel"]
        assert (kernel.sum((1, 2)) == algorithm.ladder[number]["output/kernel"]).all()
    layerwise = helpers.tiny_algorithm(helpers.tiny_config())[1].ladder
    assert algorithm.ladder[2] != layerwise[2]


def test_densities_are_learned_from_another_run(tmp_path):
    """A random ticket with the profile that global magnitudes found."""
    found = tmp_path / "found"
    changes = {"algorithm__rounds": 2, "algorithm__prune_fraction": 0.6}
    config = helpers.tiny_config(algorithm__scope="global", **changes)
    experiment.run(config, found)
    kept = {name: leaf.mean() for name, leaf in load_masks(found, 2).items()}
    config = helpers.tiny_config(
        algorithm__allocation=str(found), algorithm__score="random", **changes
    )
    ladder = helpers.tiny_algorithm(config)[1].ladder
    whole = ladder[0]
    assert [sum(rung.values()) for rung in ladder] == [1184, 474, 190]
    for name in kept:
        assert abs(ladder[2][name] - kept[name] * whole[name]) <= 1
    other = helpers.tiny_config(
        algorithm__allocation=str(found), model__hidden=(8, 8), **changes
    )
    with pytest.raises(ConfigError, match="algorithm.allocation: densities of"):
        helpers.tiny_algorithm(other)


def test_fewer_weights_than_layers_are_refused():
    config = helpers.tiny_config(
        algorithm__scope="global", algorithm__prune_fraction=0.999, algorithm__rounds=1
    )
    with pytest.raises(ConfigError, match="1 weights of 2 layers: one would be empty"):
        helpers.tiny_algorithm(config)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"algorithm__allocation": "erk"}, "algorithm.allocation: no 'erk'"),
        ({"algorithm__scope": "global"}, "algorithm.scope: global: with an allocation"),
        ({"algorithm__ladder": "linear"}, "algorithm.ladder: linear"),
        ({"algorithm__output_prune_fraction": 0.1}, "algorithm.output_prune_fraction"),
    ],
)
def test_what_does_not_go_together_is_refused(changes, message, tmp_path):
    changes = {"algorithm__allocation": "uniform"} | changes
    with pytest.raises(ConfigError, match=message):
        experiment.run(helpers.tiny_config(**changes), tmp_path / "run")
    assert not (tmp_path / "run").exists()
