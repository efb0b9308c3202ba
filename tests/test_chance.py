"""How unlikely an idle control is: against the controls themselves, drawn often."""

import functools
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
BOTH_LAWS = ("reinit", "reinit_signed", "constant")


@functools.cache
def draws(control, one_size):
    """`frequency(theta, mask)`, how often the control is its ticket.

    Networks have one size in each layer and signs by coins, or a normal law.
    """
    law = jax.random.rademacher if one_size else jax.random.normal
    some = helpers.make_context()  # cached: not while a program is traced

    def init(key):
        a, b = jax.random.split(key)
        return {"a": law(a, (4,), jnp.float32), "b": 2 * law(b, (3,), jnp.float32)}, {}

    def is_ticket(key, theta, mask):
        context = some._replace(
            key=key, model=types.SimpleNamespace(init=init),
            prunable={"a": True, "b": True}, init=init(jax.random.key(3))[0],
            rewind_point=theta, start=theta, final=theta, mask=mask, old_mask=mask,
            lane=helpers.make_lane(theta, mask),
        )  # fmt: skip
        lane = CONTROLS[control](context)
        same = jax.tree.map(
            lambda x, y: jnp.all(x == y), (lane.params, lane.mask), (theta, mask)
        )
        return jnp.all(jnp.array(jax.tree.leaves(same)))

    keys = jax.random.split(jax.random.key(1), DRAWS)
    return jax.jit(
        lambda theta, mask: jnp.mean(
            jax.vmap(is_ticket, (0, None, None))(keys, theta, mask)
        )
    )


def how_often(control, theta, kept, one_size=True):
    """(bits, part of the draws in which the control is its ticket)."""
    theta = {name: np.array(x, np.float32) for name, x in THETA[theta].items()}
    mask = {name: np.array(x, bool) for name, x in KEPT[kept].items()}
    found = float(draws(control, one_size)(theta, mask))
    if control in OF_THE_MASK:
        counts = [(leaf.size, int(leaf.sum())) for leaf in mask.values()]
        return chance.of_mask(control, counts), found
    leaves = [theta[name][mask[name]] for name in theta]
    return chance.of_weights(control, leaves), found


@pytest.mark.parametrize("control", [*OF_THE_MASK, *REINITS])
def test_a_control_is_its_ticket_no_more_often_than_its_bits_say(control):
    for one_size in (True, False)[: 1 + (control in BOTH_LAWS)]:
        for theta in THETA:
            for kept in KEPT:
                bits, found = how_often(control, theta, kept, one_size)
                most = 2.0**-bits
                width = 4 * math.sqrt(most * (1 - most) / DRAWS)
                assert found <= most + width, (theta, kept, one_size)


@pytest.mark.parametrize(
    ("control", "theta", "kept"),
    [
        ("random", "unlike", "some"),  # 4 * 3 masks
        ("shuffle", "unlike", "lone"),
        ("reshuffle", "unlike", "some"),  # 3! * 2!
        ("reshuffle", "ties", "all"),
        ("reshuffle_signed", "unlike", "some"),
        ("reshuffle_signed", "one_size", "all"),
        ("permute", "alike", "all"),
        ("permute_signed", "ties", "all"),
        ("resample", "alike", "some"),
        ("resample_signed", "one_size", "all"),
        ("reinit", "one_size", "all"),  # seven coins
        ("reinit_signed", "one_size", "all"),
        ("jitter", "unlike", "none"),
    ],
)
def test_bits_are_exact_where_nothing_else_is_drawn(control, theta, kept):
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
    signs = np.array([1, -1, -1, 1, 1.0])
    for control, bits_of_kept, bits_of_signs in [
        ("reshuffle", math.log2(60), math.log2(10)),
        ("resample", math.log2(60), math.log2(10)),
        ("permute_signed", math.log2(60), 0),
        ("resample_signed", math.log2(60), 0),
        ("constant", math.inf, 5),
        ("constant_signed", math.inf, 0),
        ("reinit", math.inf, 5),
        ("reinit_signed", math.inf, 0),
        ("noise_1", math.inf, math.inf),
    ]:
        found = [chance.of_weights(control, [x, x, x[:1]]) for x in (kept, signs)]
        lone = 1 if control == "constant" else 0
        expected = [2 * bits_of_kept + lone, 2 * bits_of_signs + lone]
        np.testing.assert_allclose(found, expected, rtol=1e-9)
