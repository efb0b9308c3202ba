"""Genetic operators against closed forms, over thousands of draws."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from lottery_jax import stacks
from lottery_jax.tickets import genetics, masks

FITNESS = jnp.array([2.27, 2.30, 2.50, 2.80, 3.30])
DRAWS = 20_000
PRUNABLE = {"a": {"kernel": True, "bias": False}, "b": {"kernel": True}}


def sizes_to(make):
    """A population of 50 candidates: leaves of 40 x 30, 30 and 20 x 10."""
    shapes = {"a": {"kernel": (40, 30), "bias": (30,)}, "b": {"kernel": (20, 10)}}
    return jax.tree.map(
        lambda shape: make((50, *shape)), shapes, is_leaf=lambda x: isinstance(x, tuple)
    )


def kernels(tree):
    return np.concatenate(
        [np.asarray(tree[layer]["kernel"]).reshape(50, -1) for layer in ("a", "b")], 1
    )


def frequencies(name, fitness, size=2):
    select = jax.jit(genetics.SELECTIONS[name], static_argnums=(2, 3))
    found = select(jax.random.key(3), jnp.asarray(fitness, jnp.float32), DRAWS, size)
    return np.bincount(np.asarray(found), minlength=len(fitness)) / DRAWS


def expected_tournament(num, size):
    worse = np.arange(num, -1, -1) / num
    return worse[:-1] ** size - worse[1:] ** size


@pytest.mark.parametrize(
    ("name", "size", "expected"),
    [
        ("roulette_inverted", 2, [0, 0.0165, 0.1264, 0.2912, 0.5659]),
        ("roulette", 2, np.array([1.03, 1.00, 0.80, 0.50, 0]) / 3.33),
        ("rank", 2, np.arange(5, 0, -1) / 15),
        ("tournament", 2, expected_tournament(5, 2)),
        ("tournament", 3, expected_tournament(5, 3)),
        ("truncation", 2, [0.5, 0.5, 0, 0, 0]),
    ],
)
def test_parents_are_selected_as_often_as_they_should(name, size, expected):
    found = frequencies(name, FITNESS, size)
    tolerance = 4 * np.sqrt(0.25 / DRAWS)
    np.testing.assert_allclose(found, expected, atol=tolerance)
    assert (found[np.asarray(expected) == 0] == 0).all()


@pytest.mark.parametrize("name", genetics.SELECTIONS)
@pytest.mark.parametrize("fitness", [1.0, np.nan, np.inf])
def test_equal_fitness_gives_equal_chances(name, fitness):
    found = frequencies(name, np.full(4, fitness), size=4)
    np.testing.assert_allclose(found, 0.25, atol=4 * np.sqrt(0.19 / DRAWS))


@pytest.mark.parametrize("name", ["rank", "roulette", "tournament", "truncation"])
def test_nan_is_the_worst_there_is(name):
    found = frequencies(name, [np.nan, 1.0, np.inf, 2.0], size=2)
    assert found[1] > found[3] >= max(found[0], found[2])


def test_the_best_come_first_and_others_decide_between_equals():
    fitness = jnp.array([2.0, np.nan, 1.0, 1.0, 1.0])
    zeros = jnp.array([0, 0, 5, 3, 5])
    assert genetics.best(5, fitness, zeros).tolist() == [3, 2, 4, 0, 1]
    assert genetics.best(2, fitness).tolist() == [2, 3]


@pytest.mark.parametrize("coupled", [True, False])
def test_genes_are_mixed_only_where_they_are_not_coupled(coupled):
    one = sizes_to(jnp.zeros), sizes_to(lambda shape: jnp.zeros(shape, bool))
    other = sizes_to(jnp.ones), sizes_to(lambda shape: jnp.ones(shape, bool))
    child = genetics.crossover(jax.random.key(0), one, other, 0.3, coupled=coupled)
    weights, mask = map(kernels, child)
    assert abs(weights.mean() - 0.7) < 0.01 and abs(mask.mean() - 0.7) < 0.01
    wanted = 0 if coupled else 2 * 0.3 * 0.7
    assert abs((weights != mask).mean() - wanted) < 0.01


def test_noise_has_its_rate_and_its_size():
    weights = sizes_to(jnp.ones)
    noisy = genetics.noise(jax.random.key(0), weights, PRUNABLE, 0.3, 0.01)
    moved = kernels(noisy) - 1
    assert abs((moved != 0).mean() - 0.3) < 0.01
    assert abs(moved[moved != 0].std() - 0.01) < 2e-4
    assert (noisy["a"]["bias"] == 1).all()


def test_resampling_replaces_a_part():
    old, fresh = sizes_to(jnp.zeros), sizes_to(jnp.ones)
    for number in range(10):
        key = jax.random.fold_in(jax.random.key(1), number)
        old = genetics.resample(key, old, PRUNABLE, 0.1, fresh)
    assert abs(kernels(old).mean() - (1 - 0.9**10)) < 0.01
    assert (old["a"]["bias"] == 0).all()


def test_disabling_follows_its_ladder():
    mask = sizes_to(lambda shape: jnp.ones(shape, bool))
    for number in range(1, 9):
        mask = genetics.disable(jax.random.key(number), mask, PRUNABLE, 0.2)
        assert abs(kernels(mask).mean() - 0.8**number) < 0.012
    assert mask["a"]["bias"].all()


def test_enabling_and_flipping():
    none = sizes_to(lambda shape: jnp.zeros(shape, bool))
    key = jax.random.key(2)
    grown = genetics.enable(key, none, PRUNABLE, 0.2)
    np.testing.assert_array_equal(
        kernels(grown), kernels(genetics.flip(key, none, PRUNABLE, 0.2))
    )
    assert abs(kernels(grown).mean() - 0.2) < 0.01
    assert not grown["a"]["bias"].any()
    whole = genetics.flip(key, jax.tree.map(jnp.logical_not, none), PRUNABLE, 0.2)
    assert abs(kernels(whole).mean() - 0.8) < 0.01


def test_exactly_one_bit_is_flipped_and_any():
    mask = {"a": jnp.ones((DRAWS, 3), bool), "b": jnp.zeros((DRAWS, 1, 2), bool)}
    prunable = {"a": True, "b": True}
    found = genetics.flip_one(jax.random.key(0), mask, prunable)
    changed = np.concatenate([~found["a"], found["b"].reshape(-1, 2)], 1)
    assert (changed.sum(1) == 1).all()
    np.testing.assert_allclose(changed.mean(0), 0.2, atol=4 * np.sqrt(0.16 / DRAWS))
    apart = genetics.flip_one(jax.random.key(0), mask, {"a": False, "b": True})
    assert apart["a"].all() and (apart["b"].sum((1, 2)) == 1).all()


@pytest.mark.parametrize("num", [0, 3, 10_000])
def test_swapping_keeps_the_density(num):
    mask = sizes_to(lambda shape: jnp.arange(np.prod(shape)).reshape(shape) % 4 == 0)
    one = stacks.take(mask, 7)
    found = genetics.swap(jax.random.key(1), one, PRUNABLE, num)
    before, after = (
        np.concatenate([tree["a"]["kernel"].ravel(), tree["b"]["kernel"].ravel()])
        for tree in (one, found)
    )
    assert after.sum() == before.sum()
    moved = min(num, before.sum(), (~before).sum())
    assert (before & ~after).sum() == moved == (after & ~before).sum()
    np.testing.assert_array_equal(found["a"]["bias"], one["a"]["bias"])


@pytest.mark.parametrize("shared", [True, False])
def test_first_masks_have_their_density(shared):
    shapes = stacks.take(sizes_to(jnp.zeros), 0)
    found = genetics.random_masks(
        jax.random.key(0), shapes, PRUNABLE, 50, 0.3, shared=shared
    )
    assert abs(kernels(found).mean() - 0.3) < (0.05 if shared else 0.01)
    assert (kernels(found) == kernels(found)[:1]).all() == shared
    assert found["a"]["bias"].all()


def test_densities_of_all_weights_and_of_layers():
    """LeNet-300-100 with layers of 0.1, 0.5 and 1."""
    shapes = {"a": (784, 300), "b": (300, 100), "c": (100, 10)}
    parts = {"a": 0.1, "b": 0.5, "c": 1.0}
    mask = {
        name: (jnp.arange(np.prod(shape)) < parts[name] * np.prod(shape))[None]
        for name, shape in shapes.items()
    }
    prunable = dict.fromkeys(mask, True)
    np.testing.assert_allclose(masks.density(mask, prunable), 0.1485, atol=1e-4)
    np.testing.assert_allclose(masks.layer_mean_density(mask, prunable), 0.5333, 1e-3)
