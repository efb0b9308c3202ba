"""Gem-Miner: a mask of scores between 0 and 1, the lowest of them frozen out for good.

Sreenivasan et al., "Rare Gems" (arXiv:2202.12002, algorithm 1). A step uses the active
weights whose score p, rounded, is 1; after every projection to [0, 1] and, now and
then, the freezing of a fixed part of what is active, the ticket is all that is active
in the end. The penalty lambda sum p^2 drives idle scores to 0.

As in the public code the frozen part q makes the target exact, where the paper's e^-cT
needs one freezing more. Deviations from that code: it freezes after epochs T, 2T, ...
counted from 0, which is one epoch later; ties at the threshold go by lot, where the
code loses them all; and the last freezing stops at the target itself. Where no score is
left to round up, scores keep their order and the rest is frozen by it, which is what
pruning straight to the target gives. Scores that are frozen out have their penalty too,
which nothing can notice.
"""

import math

import jax
import jax.numpy as jnp

from lottery_jax.tickets import selection
from lottery_jax.training.score_learning import Rule


def draw(key, shape) -> jax.Array:
    """Uniform in [0, 1]."""
    return jax.random.uniform(key, shape)


def project(scores) -> jax.Array:
    """To [0, 1]."""
    return jnp.clip(scores, 0, 1)


def gradient(through, scores, active, regularization) -> jax.Array:
    """To the score of an active weight, and of the penalty to every one."""
    return jnp.where(active, through, 0) + 2 * regularization * scores


def used(scores, active, num_keep, groups):
    """Active, and above one half."""
    del num_keep, groups
    return jax.tree.map(lambda p, alive: alive & (p > 0.5), scores, active)


def freeze(scores, lots, active, num_keep, groups, inverted):
    """Of the active weights the highest scores stay; inverted, the lowest.

    Clipping leaves many at exactly 0 or 1. By position the first layers would win.
    """
    sign = jnp.where(inverted, -1, 1)

    def by_lot(p, lot):
        return sign * jnp.where(p <= 0, -lot, jnp.where(p >= 1, 1 + lot, p))

    scores = jax.tree.map(by_lot, scores, lots)
    return selection.select(scores, active, num_keep, groups)


def ranks(scores, active):
    """1 for what is active."""
    del scores
    return jax.tree.map(lambda alive: alive.astype(jnp.float32), active)


def freeze_rate(target: float, rounds: int) -> float:
    """Part q of what is active that each of so many freezings takes."""
    return 1 - math.exp(math.log(target) / rounds)


def freezing(size: int, num_keep: int, intervals: int) -> list[int]:
    """Active weights after every interval; after the last nothing more is frozen."""
    rounds, active = intervals - 1, [size]
    q = freeze_rate(num_keep / size, rounds)
    for _ in range(rounds):
        active.append(max(num_keep, active[-1] - math.ceil(q * active[-1])))
    return [*active[:-1], num_keep, num_keep]


GEM_MINER = Rule(
    draw,
    project,
    gradient,
    used,
    freeze,
    ranks,
    freezing,
    inverts=True,
    bounded=True,
)
