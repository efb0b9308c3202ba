"""Reinitialised weights, and what pruned weights are frozen at, against their law."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from lottery_jax.models import MODELS
from lottery_jax.tickets import FREEZES, REINITS
from tests import helpers

NOISE = {"jitter": 0.1, "noise_half": 0.5, "noise_1": 1, "noise_2": 2, "noise_3": 3}
DRAWN = [name for name in REINITS if not name.endswith("_signed")]


@functools.cache
def wide_context(density=0.5):
    """Kernels of unlike scale with enough weights to measure laws by."""
    model = MODELS["mlp"]((300,), 3, hidden=(200, 50))
    init, _ = model.init(jax.random.key(0))
    theta = jax.tree.map(lambda leaf: leaf + 0.01 * jnp.sign(leaf), init)
    mask = helpers.random_mask(init, 1, density)
    return helpers.make_context()._replace(
        model=model, init=init, rewind_point=theta, start=theta, mask=mask,
        final=model.init(jax.random.key(5))[0], prunable=model.prunable(init),
        jitter=0.1, old_mask=jax.tree.map(
            lambda kept, other: kept | other, mask, helpers.random_mask(init, 2, 0.8)
        ),
    )  # fmt: skip


def kernels(context, params, layer="dense_0"):
    """(new values, theta, mask, sigma) of a layer, flat."""
    leaves = (params, context.rewind_point, context.mask)
    new, theta, kept = (np.asarray(tree[layer]["kernel"]).ravel() for tree in leaves)
    return new, theta, kept, np.std(context.init[layer]["kernel"])


@pytest.mark.parametrize("name", REINITS)
def test_draws_are_keyed_finite_and_leave_biases(name):
    context = helpers.make_context()
    params = REINITS[name](context)
    helpers.assert_trees_equal(params, REINITS[name](context))
    other = REINITS[name](context._replace(key=jax.random.key(7)))
    is_still = name == "constant_signed"  # nothing left to chance
    assert helpers.trees_differ(params, other) != is_still
    assert all(np.isfinite(leaf).all() for leaf in jax.tree.leaves(params))
    np.testing.assert_array_equal(
        params["dense_0"]["bias"], context.rewind_point["dense_0"]["bias"]
    )


@pytest.mark.parametrize("name", REINITS)
def test_signs_are_kept_exactly_where_it_says(name):
    new, theta, kept, _ = kernels(wide_context(), drawn(name))
    agree = (np.sign(new) == np.sign(theta))[kept].mean()
    if name.endswith("_signed"):
        assert agree == 1
    elif name in NOISE:
        assert 0.5 < agree < 1
    else:
        assert abs(agree - 0.5) < 0.02


@functools.cache
def drawn(name):
    return REINITS[name](wide_context())


@pytest.mark.parametrize("layer", ["dense_0", "dense_1", "output"])
@pytest.mark.parametrize("name", DRAWN)
def test_values_follow_their_law(name, layer):
    new, theta, kept, sigma = kernels(wide_context(), drawn(name), layer)
    close = 0.02 if layer == "dense_0" else 0.2
    if name == "constant":
        np.testing.assert_allclose(np.abs(new), sigma, rtol=1e-5)
        assert abs((new > 0).mean() - 0.5) < 3 * close
    elif name in NOISE:
        assert abs((new - theta).std() / (NOISE[name] * sigma) - 1) < close
        assert abs((new - theta).mean()) < close * NOISE[name] * sigma
    elif name == "permute":
        np.testing.assert_array_equal(np.sort(new), np.sort(theta))
    elif name == "reshuffle":
        np.testing.assert_array_equal(np.sort(new[kept]), np.sort(theta[kept]))
        np.testing.assert_array_equal(new[~kept], theta[~kept])
    elif name == "resample":
        assert set(new) <= set(theta[kept]) and len(set(new[kept])) < kept.sum()
        assert abs(new.std() / theta[kept].std() - 1) < close
    else:
        assert name == "reinit"
        assert abs(new.std() / sigma - 1) < close
    if name not in NOISE and layer == "dense_0":
        assert abs(np.corrcoef(new[kept], theta[kept])[0, 1]) < 0.02


def test_reshuffling_within_signs_keeps_the_kept_values():
    context = wide_context()
    new, theta, kept, _ = kernels(context, REINITS["reshuffle_signed"](context))
    np.testing.assert_array_equal(np.sort(new[kept]), np.sort(theta[kept]))
    np.testing.assert_array_equal(new[~kept], theta[~kept])
    assert (new[kept] != theta[kept]).mean() > 0.99


def test_reshuffling_is_uniform():
    """Each of the 3! orders of three kept values is equally likely."""
    theta = {"w": jnp.array([5.0, 1.0, 2.0, 3.0, 6.0])}
    mask = {"w": jnp.array([False, True, True, True, False])}
    context = helpers.make_context()._replace(
        rewind_point=theta, init=theta, mask=mask, prunable={"w": True}
    )

    def draw(key):
        return REINITS["reshuffle"](context._replace(key=key))["w"]

    drawn = jax.vmap(draw)(jax.random.split(jax.random.key(0), 6000))
    found, counts = np.unique(np.asarray(drawn), axis=0, return_counts=True)
    assert len(found) == 6 and np.abs(counts - 1000).max() < 150
    assert (drawn[:, 0] == 5).all() and (drawn[:, 4] == 6).all()


def test_zero_has_a_sign_and_breaks_nothing():
    """A kept initial weight of 0 crashes the Keras LTH API's reshuffle."""
    theta = {"w": jnp.array([0.0, 0.0, -1.0, 2.0])}
    context = helpers.make_context()._replace(
        rewind_point=theta, init=theta, mask={"w": jnp.ones(4, bool)},
        prunable={"w": True},
    )  # fmt: skip
    new = np.asarray(REINITS["reshuffle_signed"](context)["w"])
    assert sorted(new) == [-1, 0, 0, 2] and new[2] == -1
    signed = np.asarray(REINITS["constant_signed"](context)["w"])
    np.testing.assert_array_equal(np.sign(signed), [1, 1, -1, 1])


def test_an_empty_layer_can_be_resampled():
    context = wide_context()
    empty = jax.tree.map(jnp.zeros_like, context.mask)
    params = REINITS["resample"](context._replace(mask=empty))
    assert all(np.isfinite(leaf).all() for leaf in jax.tree.leaves(params))


# --- what pruned weights are frozen at


@pytest.mark.parametrize("name", FREEZES)
def test_frozen_values_weight_by_weight(name):
    context = wide_context()
    i, f, kept, new = (
        np.asarray(tree["dense_0"]["kernel"]).ravel()
        for tree in (
            context.start, context.final, context.mask, FREEZES[name](context)
        )
    )  # fmt: skip
    shrunk, grown = np.abs(i) > np.abs(f), np.abs(i) < np.abs(f)
    expected = {
        "zero": 0 * i,
        "init": i,
        "final": f,
        "zero_if_shrunk": np.where(shrunk, 0, i),
        "zero_if_grown": np.where(grown, 0, i),
    }
    if name in expected:
        np.testing.assert_array_equal(new, expected[name])
        return
    assert name == "zero_at_random"
    old = np.asarray(context.old_mask["dense_0"]["kernel"]).ravel()
    pruned, zero = old & ~kept, new == 0
    assert zero.sum() == (shrunk & pruned).sum() and not zero[~pruned].any()
    np.testing.assert_array_equal(new[~zero], i[~zero])
    overlap = (zero & shrunk).sum() / zero.sum()
    assert abs(overlap - shrunk[pruned].mean()) < 0.02
