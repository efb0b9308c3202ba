"""Sparse execution: a ticket trains at a cost that follows its density.

A lane is re-encoded as it enters the compiled loop and decoded as it leaves: of every
dense layer only the kept weights stay, as one vector, so that forward pass, backward
pass and optimizer state are of that size. Loop, optimizers and evaluation are the dense
ones. Sums are taken in another order, so results agree to float rounding.

Shapes are padded to a few capacities, so that the rounds of a run compile few programs.
"""

import functools
from collections.abc import Callable, Mapping
from typing import NamedTuple

import jax
import jax.numpy as jnp

from lottery_jax.tickets import masks
from lottery_jax.training.loop import Data, Train
from lottery_jax.types import Lane, Mask, Task, Trained

LEVELS = (0.36, 0.12, 0.04)
"""Densities up to which the weights kept of a layer are padded."""

SMALL = 4096
"""Weights of a layer that is padded to its full size: it costs nothing."""

Capacities = tuple[tuple[str, int], ...]
"""(Path of a kernel, room for so many kept weights)."""


def count(mask: Mask, kernels: tuple[str, ...]) -> tuple[dict, dict]:
    """Sizes of kernels, and the most weights that any lane keeps of each.

    Args:
      mask: of stacked lanes, leaves [N, ...].
      kernels: paths of kernels [I, J].
    """
    leaves = masks.named_leaves(mask)
    most = {name: leaves[name].sum((1, 2)).max() for name in kernels}
    sizes = {name: leaves[name][0].size for name in kernels}
    return sizes, {name: int(value) for name, value in jax.device_get(most).items()}


def capacities(
    sizes: Mapping[str, int], kept: Mapping[str, int], levels: tuple[float, ...]
) -> Capacities | None:
    """Room for the kept weights: of the least level that holds the largest layer.

    Small layers, and those that the level does not hold, get their full size. None
    where no level will do.
    """
    largest = max(sizes, key=sizes.get)
    for level in sorted(levels):
        if kept[largest] <= int(level * sizes[largest]):
            room = {
                name: int(level * size)
                if size >= SMALL and kept[name] <= int(level * size)
                else size
                for name, size in sizes.items()
            }
            return tuple(room.items())
    return None


class Pattern(NamedTuple):
    """Where the kept weights of a kernel [I, J] stand, ordered by output unit.

    Attributes:
      rows: input unit of each, int32 [C]; I - 1 at most, also where it pads.
      starts: first of each output unit, int32 [J + 1]; the last: how many there are.
      positions: in the flat transposed kernel, int32 [C]; I * J where it pads.
    """

    rows: jax.Array
    starts: jax.Array
    positions: jax.Array


def pattern(mask: jax.Array, capacity: int) -> Pattern:
    """Of a mask [I, J] with at most `capacity` kept weights."""
    flat = mask.T.ravel()
    (positions,) = jnp.nonzero(flat, size=capacity, fill_value=flat.size)
    # Never beyond the vectors, which the kernels trust.
    ends = jnp.minimum(jnp.cumsum(mask.sum(0)), capacity)
    starts = jnp.concatenate([jnp.zeros(1, int), ends])
    rows = positions % len(mask)
    return Pattern(*(leaf.astype(jnp.int32) for leaf in (rows, starts, positions)))


def compress(kernel: jax.Array, where: Pattern) -> jax.Array:
    """Kept weights [C] of a kernel [I, J]; 0 where it pads."""
    return kernel.T.ravel().at[where.positions].get(mode="fill", fill_value=0)


def expand(values: jax.Array, where: Pattern, shape: tuple[int, int]) -> jax.Array:
    """The kernel [I, J] of kept weights [C]."""
    flat = jnp.zeros(shape[0] * shape[1], values.dtype)
    flat = flat.at[where.positions].set(values, mode="drop")
    return flat.reshape(shape[::-1]).T


@jax.custom_vjp
def product(x: jax.Array, values: jax.Array, where: Pattern) -> jax.Array:
    """x [B, I] times the sparse kernel: [B, J]."""
    return _product(x, values, where)[0]


def _product(x, values, where):
    from lottery_jax.training import kernels  # numba takes a moment to import

    packed = kernels.pack(x)
    out = kernels.forward(values, where.rows, where.starts, packed)
    return kernels.unpack(out, len(x)), (packed, values, where)


def _product_gradients(residuals, grad):
    from lottery_jax.training import kernels

    x, values, where = residuals
    arrays = (where.rows, where.starts)
    packed = kernels.pack(grad)
    dvalues = kernels.values_gradient(*arrays, x, packed)
    dx = kernels.inputs_gradient(values, *arrays, packed, x.shape[1])
    return kernels.unpack(dx, len(grad)), dvalues, None


product.defvjp(_product, _product_gradients)


def multiply_by(where: Pattern, shape: tuple[int, int]) -> Callable:
    """`product(x, values)` with a kernel of this pattern and shape.

    Its error is a TypeError where `x` or `values` are of another shape: the loops trust
    them.
    """

    def multiply(x, values):
        if x.ndim != 2 or x.shape[1] != shape[0] or values.shape != where.rows.shape:
            problem = f"x {x.shape} and {values.shape} kept weights"
            raise TypeError(f"a kernel of {shape} with {where.rows.shape}: {problem}")
        return product(x, values, where)

    return multiply


def make_train(
    build: Callable[[Task], Train], task: Task, capacities: Capacities
) -> Train:
    """The sparse form of `build(task)`; takes and returns lanes in dense form.

    Args:
      build: `loop.make_train` with all but the task given.
      task: whose model names its dense layers.
      capacities: room for the kept weights of each of them.
    """
    room = dict(capacities)

    def train(lane: Lane, data: Data, grid: jax.Array) -> Trained:
        shapes = {
            name: leaf.shape for name, leaf in masks.named_leaves(lane.params).items()
        }
        kept = masks.named_leaves(lane.mask)
        where = {name: pattern(kept[name], size) for name, size in room.items()}

        def convert(tree, function):
            return masks.map_named(
                lambda name, leaf: function(name, leaf) if name in room else leaf, tree
            )

        def thin(params):
            return convert(params, lambda name, leaf: compress(leaf, where[name]))

        def thick(params):
            return convert(
                params, lambda name, leaf: expand(leaf, where[name], shapes[name])
            )

        products = {name: multiply_by(where[name], shapes[name]) for name in room}
        apply = functools.partial(task.model.apply, products=products)
        mask = convert(lane.mask, lambda name, _: jnp.ones(room[name], bool))
        inner = build(task._replace(model=task.model._replace(apply=apply)))
        thinned = lane._replace(params=thin(lane.params), mask=mask)
        trained = inner(thinned, data, grid)
        return trained._replace(
            final=thick(trained.final),
            best=thick(trained.best),
            snapshots={key: thick(tree) for key, tree in trained.snapshots.items()},
        )

    return train
