"""How many weights to keep: ladders in integers, made once, on the host."""

from collections.abc import Mapping
from fractions import Fraction

from lottery_jax.errors import ConfigError

Ladder = list[dict[str, int]]
"""Weights to keep: one dict per round (round 0 = dense), group of leaves -> count."""


def num_keep(num: int, fraction: float | Fraction) -> int:
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
    for _ in range(rounds):
        ladder.append(
            {name: num_keep(num, fractions[name]) for name, num in ladder[-1].items()}
        )
    return _without_empty(ladder, fractions)


def linear(
    sizes: Mapping[str, int], fractions: Mapping[str, float], rounds: int
) -> Ladder:
    """Each round drops the same part of what there was at first (Keras LTH API).

    Arguments, result and errors as of `geometric`, but that the fractions are of the
    sizes.
    """

    def keep(name, number):
        return num_keep(sizes[name], number * Fraction(str(fractions[name])))

    ladder = [
        {name: keep(name, number) for name in sizes} for number in range(rounds + 1)
    ]
    return _without_empty(ladder, fractions)


def _without_empty(ladder: Ladder, fractions: Mapping[str, float]) -> Ladder:
    for number, (before, after) in enumerate(zip(ladder, ladder[1:], strict=False), 1):
        for name, num in after.items():
            if num <= 0:
                raise ConfigError(
                    "algorithm.rounds",
                    f"round {number} would empty {name}: {before[name]} of "
                    f"{ladder[0][name]} weights left, prune fraction "
                    f"{fractions[name]}; take fewer rounds or a smaller fraction",
                )
    return ladder


LADDERS = {"geometric": geometric, "linear": linear}
"""Name -> `ladder(sizes, fractions, rounds)`."""
