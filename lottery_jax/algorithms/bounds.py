"""Bounds on the accuracy of new candidates of a genetic search (arXiv:2411.04658).

A candidate that does not reach the bound is drawn again. The published adaptive bound
is softened after U = floor(4 / t) tries and given up after M = floor(5 / t), where a
try takes t seconds; here U and M are numbers of tries, so that a run has the same bits
on any machine.
"""

from collections.abc import Callable
from typing import NamedTuple

import jax
import jax.numpy as jnp

from lottery_jax.types import Key

BOUNDS = ("none", "static", "adaptive")

LAST_POWER = 6
"""Steps of 0.1 to such a power no longer change a bound."""


class Bound(NamedTuple):
    """A rule.

    Attributes:
      kind: in `BOUNDS`.
      start: accuracy at first.
      floor: below which it is not softened.
      patience: U, tries more than which soften it.
      tries: M, after which it is given up.
    """

    kind: str
    start: float
    floor: float
    patience: int
    tries: int


class Admitted(NamedTuple):
    """New candidates.

    Attributes:
      bits: [S, n].
      scores: name -> [S], `accuracy` among them.
      bound: as it is afterwards.
      evaluated: candidates that were evaluated, int32 scalar.
      unmet: of them, that never reached the bound.
    """

    bits: jax.Array
    scores: dict[str, jax.Array]
    bound: jax.Array
    evaluated: jax.Array
    unmet: jax.Array


def admit(
    key: Key,
    draw: Callable[[Key], jax.Array],
    evaluate: Callable[[jax.Array], dict],
    there: jax.Array,
    rule: Bound,
    bound: jax.Array,
) -> Admitted:
    """Draws candidates until all reach the bound, or for the last time.

    Of one that never does, the most accurate try stays.

    Args:
      key: of the draws.
      draw: key -> strings [S, n], each independent of the others.
      evaluate: strings -> scores.
      there: whether each counts [S].
      rule: of the bound.
      bound: as it is now.
    """
    bits = draw(jax.random.fold_in(key, 0))
    found = evaluate(bits)
    num = len(there)
    if rule.kind == "none":
        none = jnp.int32(0)
        return Admitted(bits, found, bound, jnp.sum(there), none)

    def failing(found):
        return there & ~(found["accuracy"] >= bound)

    def again(carry):
        number, bits, found, taken, evaluated = carry
        wanted = failing(found)
        new = draw(jax.random.fold_in(key, number))
        other = evaluate(new)
        # NaN is no accuracy: what is compared is how many are right.
        better = wanted & (other["accuracy"] > found["accuracy"])
        bits = jnp.where(better[:, None], new, bits)
        found = {
            name: jnp.where(better, other[name], values)
            for name, values in found.items()
        }
        taken = jnp.where(wanted, number + 1, taken)
        return number + 1, bits, found, taken, evaluated + jnp.sum(wanted)

    def more(carry):
        return (carry[0] < rule.tries) & jnp.any(failing(carry[2]))

    start = (jnp.int32(1), bits, found, jnp.ones(num, jnp.int32), jnp.sum(there))
    _, bits, found, taken, evaluated = jax.lax.while_loop(more, again, start)
    failed = failing(found)
    if rule.kind == "adaptive":
        bound = soften(rule, bound, taken, failed, found["accuracy"], there)
    return Admitted(bits, found, bound, evaluated, jnp.sum(failed))


def soften(
    rule: Bound,
    bound: jax.Array,
    taken: jax.Array,
    failed: jax.Array,
    accuracy: jax.Array,
    there: jax.Array,
) -> jax.Array:
    """The adaptive bound after some candidates, one after another.

    A success in the k-th try, k > U, lowers it by 0.1 (0.051 + 0.93 exp(-9.36 k /
    (M - U))); a failure by 0.1^r, r = 1, 1.15, 1.3, ..., until its best try reaches it,
    or r is `LAST_POWER`.

    Args:
      rule: has U and M.
      bound: before.
      taken: tries of every candidate [S].
      failed: whether none of them reached it [S].
      accuracy: of the best try [S].
      there: whether it counts [S].
    """
    span = max(rule.tries - rule.patience, 1)

    def one(bound, candidate):
        taken, failed, accuracy, there = candidate
        late = there & ~failed & (taken > rule.patience)
        drop = 0.1 * (0.051 + 0.93 * jnp.exp(-9.36 * taken / span))
        succeeded = jnp.where(late, bound - drop, bound)

        def lower(carry):
            bound, power = carry
            return bound - 0.1**power, power + 0.15

        def too_high(carry):
            bound, power = carry
            # All steps together lower it by 0.342: the floor may be out of reach.
            return (accuracy < bound) & (bound > rule.floor) & (power < LAST_POWER)

        given_up, _ = jax.lax.while_loop(too_high, lower, (bound, jnp.float32(1)))
        new = jnp.where(there & failed, given_up, succeeded)
        return jnp.maximum(new, jnp.minimum(rule.floor, bound)), None

    return jax.lax.scan(one, bound, (taken, failed, accuracy, there))[0]
