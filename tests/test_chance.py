"""How unlikely an idle control is: against the controls themselves, drawn often."""

import itertools
import math
import types

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from lottery_jax.analysis import chance
from lottery_jax.tickets import CONTROLS, REINITS
from lottery_jax.tickets.controls import OF_THE_MASK
from tests import helpers

DRAWS = 4000

THETA = {
    "one_size": {"a": [1.0, -1, 1, 1], "b": [-2.0, 2, 2]},
    "alike": {"a": [1.0, 1, 1, 1], "b": [2.0, 2, 2]},
    "ties": {"a": [1.0, 1, 2, -1], "b": [-0.5, 0.5, 0.5]},
    "unlike": {"a": [1.0, 2, -3, 4], "b": [5.0, 6, -7]},
}
KEPT = {
    "all": {"a": [1, 1, 1, 1], "b": [1, 1, 1]},
    "some": {"a": [1, 1, 0, 1], "b": [0, 1, 1]},
    "lone": {"a": [0, 1, 0, 0], "b": [0, 0, 1]},
    "none": {"a": [0, 0, 0, 0], "b": [0, 0, 0]},
}


def how_often(control, theta, kept, coins=True):
    """(bits, part of the draws in which the control is its ticket)."""
    theta = {name: jnp.array(x, jnp.float32) for name, x in THETA[theta].items()}
    mask = {name: jnp.array(x, bool) for name, x in KEPT[kept].items()}

    def init(key):
        """One size a layer with signs by coins; or a normal law."""
        keys = dict(zip(theta, jax.random.split(key), strict=True))
        law = jax.random.rademacher if coins else jax.random.normal
        return {name: x[0] * law(keys[name], x.shape) for name, x in theta.items()}, {}

    context = helpers.make_context()._replace(
        model=types.SimpleNamespace(init=init), prunable={"a": True, "b": True},
        init=theta, rewind_point=theta, start=theta, final=theta, mask=mask,
        old_mask=mask, lane=helpers.make_lane(theta, mask),
    )  # fmt: skip

    def is_ticket(key):
        lane = CONTROLS[control](context._replace(key=key))
        same = jax.tree.map(
            lambda x, y: jnp.all(x == y),
            (lane.params, lane.mask), (theta, mask),
        )  # fmt: skip
        return jnp.all(jnp.array(jax.tree.leaves(same)))

    keys = jax.random.split(jax.random.key(1), DRAWS)
    found = float(jnp.mean(jax.jit(jax.vmap(is_ticket))(keys)))
    if control in OF_THE_MASK:
        counts = [(leaf.size, int(leaf.sum())) for leaf in mask.values()]
        return chance.of_mask(control, counts), found
    leaves = [np.asarray(theta[name])[np.asarray(mask[name])] for name in theta]
    return chance.of_weights(control, leaves), found


@pytest.mark.parametrize("kept", KEPT)
@pytest.mark.parametrize("control", [*OF_THE_MASK, *REINITS])
def test_a_control_is_its_ticket_no_more_often_than_its_bits_say(control, kept):
    for theta, coins in itertools.product(THETA, (True, False)):
        bits, found = how_often(control, theta, kept, coins)
        most = 2.0**-bits
        assert found <= most + 4 * math.sqrt(most * (1 - most) / DRAWS), theta


@pytest.mark.parametrize(
    ("control", "theta", "kept"),
    [
        ("random", "unlike", "some"),  # 4 * 3 masks
        ("shuffle", "unlike", "lone"),
        ("reshuffle", "unlike", "some"),  # 3! * 2!
        ("reshuffle", "ties", "all"),
        ("reshuffle_signed", "unlike", "some"),
        ("permute_signed", "ties", "all"),
        ("reinit", "one_size", "all"),  # seven coins
        ("permute", "alike", "all"),
        ("reshuffle_signed", "one_size", "all"),
        ("reinit_signed", "one_size", "all"),
        ("jitter", "unlike", "none"),
    ],
)
def test_and_just_as_often_where_they_are_exact(control, theta, kept):
    bits, found = how_often(control, theta, kept)
    expected = 2.0**-bits
    width = 4 * math.sqrt(expected * (1 - expected) / DRAWS)
    assert expected > 1 / 200
    np.testing.assert_allclose(found, expected, atol=width)


def test_counts_of_masks_and_of_orders_are_those_of_the_textbook():
    counts = [(1000, 30), (7, 7)]
    expected = math.log2(math.comb(1000, 30))
    np.testing.assert_allclose(chance.of_mask("random", counts), expected, rtol=1e-9)
    assert chance.of_mask("dense", counts) == math.inf
    assert chance.of_mask("dense", [(7, 7), (5, 5)]) == 0
    kept = np.array([1, 1, 1, 2, 2, 3.0])
    found = chance.of_weights("reshuffle", [kept, -kept, kept[:1]])
    np.testing.assert_allclose(found, 2 * math.log2(60), rtol=1e-9)
    assert chance.of_weights("noise_1", [kept, kept[:1]]) == math.inf
