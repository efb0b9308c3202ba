"""How many weights the methods of a comparison keep, round by round.

All of them keep as many, the round's density of all prunable weights. Where a method
divides that by layers, an allocation says how many each layer gets.
"""

import math
from collections.abc import Mapping, Sequence
from typing import NamedTuple

import jax
import jax.numpy as jnp

from lottery_jax.algorithms.methods import Method, Strand
from lottery_jax.errors import ConfigError
from lottery_jax.tickets import schedules
from lottery_jax.tickets.allocation import ALLOCATIONS


class Budget(NamedTuple):
    """Weights to keep.

    Attributes:
      kernels: path -> shape, in the order of the layers.
      ladder: group -> weights to keep of all, per round.
    """

    kernels: Mapping[str, tuple[int, ...]]
    ladder: schedules.Ladder

    def total(self, number: int) -> int:
        """Weights to keep in a round."""
        return sum(self.ladder[number].values())

    def between(self, method: Method, number: int) -> tuple[dict, dict]:
        """Weights to keep before and after a round, by group."""
        passed = range(1, number) if method.after == "ticket" else ()
        if not method.allocation:
            return self.ladder[max(passed, default=0)], self.ladder[number]
        divide = ALLOCATIONS[method.allocation]
        after = {name: math.prod(shape) for name, shape in self.kernels.items()}
        for at in (*passed, number):
            before = after
            after = schedules.nested(before, divide(self.kernels, self.total(at)))
        return before, after

    def iterations(
        self, method: Method, number: int, num: int, path: str
    ) -> dict[str, jax.Array]:
        """Group -> weights to keep [iterations] in every iteration of a round."""
        before, after = self.between(method, number)
        way = schedules.within(before, after, num if method.iterates else 1, path)
        return {group: jnp.array([keep[group] for keep in way]) for group in after}


def make_budget(
    kernels: Mapping[str, tuple[int, ...]],
    densities: Sequence[float],
    strands: Sequence[Strand],
) -> Budget:
    """Round 0 is dense, then there is one for every density.

    Args:
      kernels: path -> shape of what may be pruned, in the order of the layers.
      densities: kept fraction of all of it, falling.
      strands: none of which may have to empty a layer.

    Raises:
      ConfigError: fewer weights than layers, or not fewer than in the round before.
    """
    total = sum(math.prod(shape) for shape in kernels.values())
    depth = sum(len(shape) > 1 for shape in kernels.values())
    counts = [total, *(total - schedules.num_keep(total, d) for d in densities)]
    for density, before, num in zip(densities, counts, counts[1:], strict=False):
        if num < depth:
            problem = f"{density} of {total} weights: fewer than the {depth} layers"
            raise ConfigError("algorithm.densities", f"{problem}, one would be empty")
        if num >= before:
            problem = f"{density}: expected falling densities, {before} are left"
            raise ConfigError("algorithm.densities", problem)
    budget = Budget(kernels, [{"all": num} for num in counts])
    for strand in strands:
        for number, density in enumerate(densities, 1):
            for layer, num in budget.between(strand.method, number)[1].items():
                if not num:
                    problem = f"{density}: {strand.name} would empty {layer}"
                    raise ConfigError("algorithm.densities", problem)
    return budget
