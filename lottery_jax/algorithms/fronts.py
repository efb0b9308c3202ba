"""Fronts: the most accurate candidate that a search has seen at every size."""

from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from lottery_jax.tickets import genetics


class Front(NamedTuple):
    """The best candidates so far in B bins of kept weights.

    Attributes:
      accuracy: of each [B]; -1 where there was none.
      bits: bool [B, n].
      generation: in which it came [B].
    """

    accuracy: jax.Array
    bits: jax.Array
    generation: jax.Array


def empty(bins: int, num: int) -> Front:
    """The front before the first candidate, of strings of `num` bits."""
    return Front(
        -jnp.ones(bins), jnp.zeros((bins, num), bool), jnp.zeros(bins, jnp.int32)
    )


def join(front: Front, bits: jax.Array, accuracy: jax.Array, generation) -> Front:
    """The front with candidates [S, n] where they are better, or smaller and as good.

    Args:
      front: as it is.
      bits: of the candidates.
      accuracy: of each [S]; -1 for one that is not there.
      generation: in which they came.
    """
    bins, num = front.bits.shape

    def one(front, candidate):
        own, accuracy = candidate
        kept = jnp.sum(own)
        place = kept * (bins - 1) // num
        there = front.accuracy[place]
        smaller = kept < jnp.sum(front.bits[place])
        better = (accuracy > there) | ((accuracy == there) & smaller)
        values = Front(accuracy, own, jnp.int32(generation))
        return jax.tree.map(
            lambda leaf, new: leaf.at[place].set(jnp.where(better, new, leaf[place])),
            front,
            values,
        ), None

    return jax.lax.scan(one, front, (bits, accuracy))[0]


def choose(front: Front, max_density: float | None) -> jax.Array:
    """Place of the most accurate, of equals the smallest, that is sparse enough.

    If none is, the smallest there is.
    """
    kept = jnp.sum(front.bits, axis=1)
    there = fits = front.accuracy >= 0
    if max_density is not None:
        fits &= kept <= max_density * front.bits.shape[1]
    smallest = genetics.best(1, jnp.where(there, kept, jnp.inf))[0]
    best = genetics.best(1, jnp.where(fits, -front.accuracy, jnp.inf), kept)[0]
    return jnp.where(jnp.any(fits), best, smallest)


def non_dominated(accuracy: np.ndarray, kept: np.ndarray) -> np.ndarray:
    """Which of [R, B] no other of the row beats: as accurate and smaller, or better."""
    there = accuracy >= 0
    one, other = accuracy[:, :, None], accuracy[:, None]
    fewer, no_more = (compare(kept[:, None], kept[:, :, None])
                      for compare in (np.less, np.less_equal))  # fmt: skip
    beaten = there[:, None] & ((other >= one) & fewer | (other > one) & no_more)
    return there & ~beaten.any(2)
