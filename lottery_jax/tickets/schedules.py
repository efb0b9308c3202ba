"""How many weights to keep: ladders in integers, made once, on the host."""

import math
from collections.abc import Mapping
from fractions import Fraction

from lottery_jax.errors import ConfigError
from lottery_jax.tickets.allocation import Allocation, Shapes

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
      ConfigError: a round that would leave a group without weights, or drop none.
    """
    ladder = [dict(sizes)]
    for _ in range(rounds):
        ladder.append(
            {name: num_keep(num, fractions[name]) for name, num in ladder[-1].items()}
        )
    return _checked(ladder, fractions)


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
    return _checked(ladder, fractions)


def allocated(
    shapes: Shapes, divide: Allocation, fraction: float, rounds: int
) -> Ladder:
    """A geometric ladder of all weights, each rung divided among the layers.

    No layer grows from one round to the next; what it may not have is left out.

    Args:
      shapes: path of a kernel -> its shape, in the order of the network.
      divide: how so many weights are divided.
      fraction: of the kept weights of all layers to drop per round.
      rounds: rounds of pruning after the dense round 0.

    Raises:
      ConfigError: a round that would leave a layer without weights, or drop none.
    """
    sizes = {layer: math.prod(shape) for layer, shape in shapes.items()}
    total, ladder = sum(sizes.values()), [sizes]
    for _ in range(rounds):
        total = num_keep(total, fraction)
        counts = divide(shapes, total)
        ladder.append({layer: min(counts[layer], ladder[-1][layer]) for layer in sizes})
    return _checked(ladder, dict.fromkeys(sizes, fraction))


def nested(before: Mapping[str, int], wanted: Mapping[str, int]) -> dict[str, int]:
    """The wanted counts, but that no group grows; the others take what that leaves.

    Args:
      before: weights left, per group.
      wanted: weights to keep, per group, in all no more than are left.
    """
    counts = {name: min(wanted[name], before[name]) for name in wanted}
    for name in counts:
        left = sum(wanted.values()) - sum(counts.values())
        counts[name] += min(left, before[name] - counts[name])
    return counts


def within(
    before: Mapping[str, int], after: Mapping[str, int], iterations: int, path: str
) -> Ladder:
    """Counts on the way from one rung to the next, scores being taken at each.

    Args:
      before: weights left, per group.
      after: weights to keep in the end.
      iterations: number of prunings in between.
      path: "exponential", each drops the same part of what is left, or "linear", each
        the same number (Tanaka et al., arXiv:2006.05467, app. 11).

    Returns:
      `iterations` dicts, the last being `after`.
    """

    def keep(name, number):
        start, end, part = before[name], after[name], number / iterations
        if number == iterations or path == "linear":
            return start - round(Fraction(number, iterations) * (start - end))
        return round(start * (end / start) ** part)

    return [
        {name: keep(name, number) for name in before}
        for number in range(1, iterations + 1)
    ]


PATHS = ("exponential", "linear")


def polynomial(
    sizes: Mapping[str, int],
    densities: Mapping[str, float],
    updates: int,
    power: int = 3,
) -> Ladder:
    """Counts within one training, fast at first (arXiv:1710.01878, sec. 3).

    Args:
      sizes: weights per group.
      densities: kept fraction at the end, per group.
      updates: how often the mask changes.
      power: of the polynomial.

    Returns:
      `updates + 1` dicts from `sizes` to `density * sizes`, group -> weights to keep.

    Raises:
      ConfigError: a density that would leave a group without weights.
    """

    def keep(name, number):
        drop = 1 - Fraction(str(densities[name]))
        return num_keep(
            sizes[name], drop * (1 - (1 - Fraction(number, updates)) ** power)
        )

    ladder = [
        {name: keep(name, number) for name in sizes} for number in range(updates + 1)
    ]
    for name, num in ladder[-1].items():
        if not num:
            problem = f"{densities[name]} would empty {name}, {sizes[name]} weights"
            raise ConfigError("algorithm.densities", problem)
    return ladder


def _checked(ladder: Ladder, fractions: Mapping[str, float]) -> Ladder:
    for number, (before, after) in enumerate(zip(ladder, ladder[1:], strict=False), 1):
        if before == after:
            problem = f"round {number} would drop nothing of {before}; take fewer"
            raise ConfigError("algorithm.rounds", problem)
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
