"""Edge-popup: a network that is never trained, under a mask of fixed density.

Ramanujan et al. (arXiv:1911.13299, algorithm 1): of every layer the weights with the
largest |s| are kept, and scores learn by gradient descent. A weight that is left out
still learns, so that it can come back. The density may fall on the way (Fischer &
Burkholz, arXiv:2111.11153), and the layers may compete (Sreenivasan et al.,
arXiv:2202.12002, sec. 5).

Deviation: each layer keeps its share of the places that a comparison has in all, within
one of their n - int((1 - k) n), and exactly so many also where scores tie.
"""

import math

import jax
import jax.numpy as jnp

from lottery_jax.tickets import schedules, selection
from lottery_jax.training.score_learning import Rule


def draw(key, shape) -> jax.Array:
    """+-1/sqrt(fan_in), uniform: what PyTorch draws for weights."""
    bound = 1 / math.sqrt(math.prod(shape[:-1]))
    return jax.random.uniform(key, shape, minval=-bound, maxval=bound)


def gradient(through, scores, active, regularization) -> jax.Array:
    """Through |s|: times the sign of s, which is 1 at 0, or a 0 would never move."""
    del active, regularization
    return jnp.where(scores < 0, -through, through)


def used(scores, active, num_keep, groups):
    """The largest |s|, those of a tie as well."""
    del active
    return selection.at_least(_sizes(scores), num_keep, groups)


def freeze(scores, lots, active, num_keep, groups, inverted):
    """Nothing is ever lost."""
    del scores, lots, num_keep, groups, inverted
    return active


def ranks(scores, active):
    """|s|."""
    del active
    return _sizes(scores)


def _sizes(scores):
    return jax.tree.map(jnp.abs, scores)


def constant(size: int, num_keep: int, intervals: int) -> list[int]:
    """The same number from first to last."""
    del size
    return [num_keep] * (intervals + 1)


def annealed(size: int, num_keep: int, intervals: int) -> list[int]:
    """Density rho^(e/E) in interval e of E, so that the last has its rho."""
    way = schedules.within(
        {"all": size}, {"all": num_keep}, intervals, schedules.PATHS[0]
    )
    return [size, *(keep["all"] for keep in way)]


EDGE_POPUP = Rule(
    draw,
    lambda scores: scores,
    gradient,
    used,
    freeze,
    ranks,
    constant,
    inverts=False,
    bounded=False,
)
ANNEALED = EDGE_POPUP._replace(counts=annealed)
