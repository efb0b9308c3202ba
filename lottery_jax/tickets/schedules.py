"""How many weights to keep: geometric ladders in integers, made once, on the host."""

from collections.abc import Mapping
from fractions import Fraction

from lottery_jax.errors import ConfigError

Ladder = list[dict[str, int]]
"""Weights to keep: one dict per round (round 0 = dense), group of leaves -> count."""


def num_keep(num: int, fraction: float) -> int:
    """All but exactly round(fraction * num), half to even, in rational arithmetic.

    `Fraction(str(...))` is the decimal number that was written in the config; the
    nearest float would decide ties the wrong way.
    """
    return num - round(Fraction(str(fraction)) * num)


def geometric(
    sizes: Mapping[str, int], fractions: Mapping[str, float], rounds: int
) -> Ladder:
    """Each round drops a fixed fraction of what is left (arXiv:1803.03635, sec. 2).

    Args:
      sizes: weights per group (a layer, or all layers together).
      fractions: fraction of the kept weights to drop per round, per group.
      rounds: rounds of pruning after the dense round 0.

    Returns:
      `rounds + 1` dicts, group -> weights to keep.

    Raises:
      ConfigError: a round that would leave a group without weights.
    """
    ladder = [dict(sizes)]
    for number in range(1, rounds + 1):
        keep = {
            name: num_keep(num, fractions[name]) for name, num in ladder[-1].items()
        }
        for name, num in keep.items():
            if num == 0:
                raise ConfigError(
                    "algorithm.rounds",
                    f"round {number} would empty {name}: {ladder[-1][name]} weights "
                    f"left, {fractions[name]} of them pruned; take fewer rounds "
                    "or a smaller prune fraction",
                )
        ladder.append(keep)
    return ladder
