"""How many of all weights each layer keeps, told by shapes alone.

Random masks with a good profile of layers are what scores before training must beat (Su
et al., arXiv:2009.11094). Each function takes the kernels' shapes in the order of the
network, the output layer last, and the number of weights to keep; counts add up to it.
"""

import math
from collections.abc import Callable, Mapping
from fractions import Fraction

from lottery_jax.errors import ConfigError

Shapes = Mapping[str, tuple[int, ...]]
"""Path of a kernel -> [in, out] or [height, width, in, out]."""

Allocation = Callable[[Shapes, int], dict[str, int]]
"""`allocation(shapes, num_keep) -> counts`."""

OUTPUT_DENSITY = Fraction(3, 10)
"""Of the output layer under smart ratios."""


def uniform(shapes: Shapes, num_keep: int) -> dict[str, int]:
    """The same density in every layer."""
    return _share(shapes, num_keep, lambda shape: 1.0)


def erdos_renyi(shapes: Shapes, num_keep: int) -> dict[str, int]:
    """Density as (in + out) / (in out) (SET, Mocanu et al., arXiv:1707.04780)."""
    return _share(
        shapes, num_keep, lambda shape: sum(shape[-2:]) / math.prod(shape[-2:])
    )


def erdos_renyi_kernel(shapes: Shapes, num_keep: int) -> dict[str, int]:
    """Density as the sum of all dimensions over their product (arXiv:1911.11134)."""
    return _share(shapes, num_keep, lambda shape: sum(shape) / math.prod(shape))


def smart_ratio(shapes: Shapes, num_keep: int) -> dict[str, int]:
    """Density as k^2 + k in the k-th layer from the end, 0.3 in the output layer.

    Su et al., sec. 4.1, in the form for ResNets, which is taken for all networks here;
    hidden dense layers count as their convolutions do. What a full layer cannot take is
    shared by all others, where the paper hands it on to the next. The output layer has
    the density of the whole where 0.3 of it is more than there is to keep.
    """
    sizes = {name: math.prod(shape) for name, shape in shapes.items()}
    output = list(sizes)[-1]
    last = int(OUTPUT_DENSITY * sizes[output])
    if last >= num_keep:
        last = num_keep * sizes[output] // sum(sizes.values())
    # What the other layers have no room for.
    last = max(last, num_keep - sum(sizes.values()) + sizes[output])
    hidden = {name: shape for name, shape in shapes.items() if name != output}
    # k from the end: the output layer has k = 1.
    densities = {
        name: (k + 1) ** 2 + k + 1 for k, name in enumerate(reversed(hidden), 1)
    }
    return _fill(hidden, num_keep - last, densities) | {output: last}


def learned(densities: Mapping[str, float]) -> Allocation:
    """In proportion to the densities that the layers of another ticket have."""

    def allocation(shapes: Shapes, num_keep: int) -> dict[str, int]:
        if set(shapes) != set(densities):
            problem = f"densities of {sorted(densities)}, layers are {sorted(shapes)}"
            raise ConfigError("algorithm.allocation", problem)
        return _fill(shapes, num_keep, densities)

    return allocation


def _share(shapes: Shapes, num_keep: int, density: Callable) -> dict[str, int]:
    return _fill(shapes, num_keep, {name: density(s) for name, s in shapes.items()})


def _fill(shapes: Shapes, num_keep: int, densities: Mapping) -> dict[str, int]:
    """Counts with densities in these proportions; a layer that is full stays dense."""
    sizes = {name: math.prod(shape) for name, shape in shapes.items()}
    full: set[str] = set()
    while True:
        left = num_keep - sum(sizes[name] for name in full)
        weight = sum(sizes[n] * densities[n] for n in sizes if n not in full) or 1
        wanted = {
            name: sizes[name]
            if name in full
            else left * sizes[name] * densities[name] / weight
            for name in sizes
        }
        over = {name for name in sizes if wanted[name] > sizes[name]}
        if not over:
            break
        full |= over
    counts = {name: int(number) for name, number in wanted.items()}
    # What the floors have left goes to the largest remainders.
    by_remainder = sorted(sizes, key=lambda name: counts[name] - wanted[name])
    for name in by_remainder[: num_keep - sum(counts.values())]:
        counts[name] += 1
    return counts


ALLOCATIONS: dict[str, Allocation] = {
    "erdos_renyi": erdos_renyi,
    "erdos_renyi_kernel": erdos_renyi_kernel,
    "smart_ratio": smart_ratio,
    "uniform": uniform,
}
"""Name -> allocation."""
