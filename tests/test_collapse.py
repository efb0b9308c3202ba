"""Layer collapse: what survives which compression, and the condition for it."""

import functools

import jax
import numpy as np
import pytest

from lottery_jax import data
from lottery_jax.analysis import collapse
from lottery_jax.analysis.collapse import Method, Pruned
from lottery_jax.models import MODELS
from lottery_jax.tickets import SCORES
from lottery_jax.training import losses

REPLICATES = 2
FIRST, SECOND, OUTPUT = LAYERS = ("dense_0/kernel", "dense_1/kernel", "output/kernel")


@functools.cache
def digits():
    """(prune, sizes): 64-300-100-10, as in Tanaka et al.'s experiments on collapse."""
    dataset = data.load("digits", "", key=jax.random.key(0), validation_size=100,
                        test_size=100)  # fmt: skip
    model = MODELS["mlp"]((64,), 10, hidden=(300, 100), initializer="kaiming_normal")
    flat = dataset.train._replace(x=dataset.train.x.reshape(-1, 64))
    task = losses.make_task(dataset._replace(train=flat), model)
    keys = jax.random.split(jax.random.key(0), REPLICATES)
    return collapse.make_prune(task, keys), collapse.layer_sizes(model)


def test_the_maximal_compression_leaves_a_weight_per_layer():
    _, sizes = digits()
    assert sizes == {FIRST: 19_200, SECOND: 30_000, OUTPUT: 1000}
    assert collapse.maximal_compression(sizes) == 50_200 / 3


def test_synflow_in_100_iterations_reaches_the_maximal_compression():
    """With what is left at 10^4: two, one and two weights or so."""
    prune, sizes = digits()
    method = Method("synflow", 100)
    pruned = prune(method, [5] * REPLICATES)
    assert not pruned.empty.any() and (pruned.ratio < 1).all()
    np.testing.assert_array_equal(sum(pruned.kept.values()), 5)
    for layer in LAYERS:
        assert set(pruned.kept[layer]) <= {1, 2}
    least = prune(method, [3] * REPLICATES)
    assert all((least.kept[layer] == 1).all() for layer in LAYERS)


@pytest.mark.parametrize("score", ["synflow", "magnitude"])
def test_one_pruning_empties_layers(score):
    """SynFlow at 10^2 already: only the small output layer is left."""
    prune, _ = digits()
    num = {"synflow": 502, "magnitude": 16}[score]
    pruned = prune(Method(score), [num] * REPLICATES)
    assert (pruned.empty > 0).all()
    if score == "synflow":
        assert (pruned.kept[FIRST] == 0).all() and (pruned.kept[SECOND] == 0).all()
        assert (pruned.kept[OUTPUT] == 502).all()


def test_a_flow_ratio_below_one_empties_no_layer():
    prune, sizes = digits()
    methods = [Method("synflow"), *(Method("synflow", 40, path)
                                    for path in ("exponential", "linear"))]  # fmt: skip
    exponents = [0.0, 1.0, 2.0, 4.0]
    table = collapse.curves(prune, methods, exponents, sizes, REPLICATES)
    assert len(table) == 3 * 4 * REPLICATES
    np.testing.assert_array_equal(table[list(LAYERS)].sum(axis=1), table.num_keep)
    np.testing.assert_array_equal(
        (table[list(LAYERS)] == 0).sum(axis=1), table["empty"]
    )
    below = table.flow_ratio < 1
    assert (table["empty"][below] == 0).all()
    assert (table["empty"] > 0).any() and (below & (table.exponent > 0)).any()
    assert (table.flow_ratio[table.exponent == 0] == 0).all()
    # More iterations prune less flow in each; a linear path prunes most at the end.
    largest = table.groupby(["iterations", "path", "exponent"]).flow_ratio.mean()
    assert largest[1, "exponential", 2] > largest[40, "linear", 2]
    assert largest[40, "linear", 2] > largest[40, "exponential", 2]


def test_the_flow_ratio_by_hand():
    scores = {"a": np.array([1.0, 2, 3]), "b": np.array([4.0, 5, 100])}
    before = {"a": np.array([1, 1, 1], bool), "b": np.array([1, 1, 0], bool)}
    after = {"a": np.array([0, 1, 1], bool), "b": np.array([0, 1, 0], bool)}
    ratio = collapse._flow_ratio(scores, before, after, ["a", "b"])
    np.testing.assert_allclose(ratio, (1 + 4) / 6)
    nothing = {"a": before["a"] & False, "b": before["b"]}
    assert collapse._flow_ratio(scores, nothing, nothing, ["a", "b"]) == 0


def test_bisection_finds_the_critical_compression():
    """Of replicates that lose a layer below 3, 77 and 1000 of their 1000 weights."""
    needed, asked = np.array([3, 77, 1000]), []

    def prune(method, num_keep):
        asked.append(num_keep)
        left = np.where(np.array(num_keep) >= needed, 1, 0)
        return Pruned({"a": left, "b": left}, np.zeros((3, 1)))

    sizes = {"a": 400, "b": 500, "c": 100}
    found = collapse.critical_compression(prune, Method("random"), sizes, 3)
    np.testing.assert_allclose(found, 1000 / needed)
    assert len(asked) < 15 and np.min(asked) >= 3


def test_methods_before_training_are_scores():
    assert set(collapse.BEFORE_TRAINING) <= set(SCORES)
