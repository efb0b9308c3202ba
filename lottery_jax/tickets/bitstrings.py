"""Masks as strings of bits: one bool for every weight that may be pruned.

The order is that of the tree, each leaf row by row. Of networks of dense layers, one
after another, strings tell whether a path leads from an input to an output.
"""

from collections.abc import Callable
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from lottery_jax.tickets import genetics, masks
from lottery_jax.tickets.layers import layers_of
from lottery_jax.types import Key, Mask, Model, Params, Prunable


class Layout(NamedTuple):
    """Where the bits of a mask stand.

    Attributes:
      shapes: tree of the params' shapes.
      prunable: which leaves may be pruned.
      num: n, bits in a string.
      layers: (first bit, shape) of every kernel, as an example meets them; None where
        they are no chain of dense layers.
    """

    shapes: Params
    prunable: Prunable
    num: int
    layers: tuple[tuple[int, tuple[int, ...]], ...] | None


def layout(model: Model) -> Layout:
    """Of the masks of a network."""
    layers = layers_of(model)
    starts, num = {}, 0
    for name, size in layers.sizes.items():
        starts[name], num = num, num + size
    names = masks.in_order(starts, model)
    sizes = [layers.shapes[name] for name in names]
    chain = all(len(shape) == 2 for shape in sizes) and all(
        one[1] == other[0] for one, other in zip(sizes, sizes[1:], strict=False)
    )
    kernels = tuple((starts[name], layers.shapes[name]) for name in names)
    return Layout(layers.params, layers.prunable, num, kernels if chain else None)


def to_mask(layout: Layout, bits: jax.Array) -> Mask:
    """The mask of a string [n]; what may not be pruned is kept."""
    leaves, structure = jax.tree.flatten(layout.shapes)
    found, start = [], 0
    for leaf, may in zip(leaves, jax.tree.leaves(layout.prunable), strict=True):
        if may:
            own = bits[start : start + leaf.size].reshape(leaf.shape)
            start += leaf.size
        else:
            own = jnp.ones(leaf.shape, bool)
        found.append(own)
    return jax.tree.unflatten(structure, found)


def has_path(layout: Layout, bits: jax.Array) -> jax.Array:
    """Whether kept weights of a string [n] lead from an input to an output."""
    reached = jnp.ones(layout.layers[0][1][0], bool)
    for start, shape in layout.layers:
        kernel = bits[start : start + shape[0] * shape[1]].reshape(shape)
        reached = jnp.any(reached[:, None] & kernel, axis=0)
    return jnp.any(reached)


def flip_one_of_a_layer(key: Key, layout: Layout, bits: jax.Array) -> jax.Array:
    """One bit of every string [P, n] is flipped: of any layer alike, any bit of it."""
    starts, sizes = np.array(
        [(start, shape[0] * shape[1]) for start, shape in layout.layers]
    ).T
    layer_key, place_key = jax.random.split(key)
    layer = jax.random.randint(layer_key, (len(bits),), 0, len(sizes))
    place = jax.random.randint(place_key, (len(bits),), 0, jnp.array(sizes)[layer])
    place += jnp.array(starts)[layer]
    return bits ^ (jnp.arange(layout.num)[None] == place[:, None])


def with_path(
    draw: Callable[[Key], jax.Array], layout: Layout, tries: int
) -> Callable[[Key], jax.Array]:
    """`draw(key) -> strings [P, n]`, each drawn again until a path leads through it.

    Args:
      draw: the same without that.
      layout: of the strings.
      tries: how often at most; if none has a path, it is the first try.
    """

    def redrawn(key):
        tried = jax.vmap(draw)(jax.random.split(key, tries))
        paths = jax.vmap(jax.vmap(lambda bits: has_path(layout, bits)))(tried)
        first = jnp.argmax(paths, axis=0)
        return jnp.take_along_axis(tried, first[None, :, None], axis=0)[0]

    return redrawn


def mate(key: Key, bits: jax.Array, first: jax.Array, parents: int) -> jax.Array:
    """A child of each of the first [S], and of any of the best: [S, n].

    Every bit is that of either parent alike.

    Args:
      key: random key.
      bits: the population [P, n], the best first.
      first: places of those that mate; one may mate with itself.
      parents: how many are the best.
    """
    partner_key, mix_key = jax.random.split(key)
    other = jax.random.randint(partner_key, first.shape, 0, parents)
    return genetics.crossover(mix_key, (bits[first],), (bits[other],))[0]


def mutate(
    key: Key, bits: jax.Array, layout: Layout, most: int, by_layer: bool
) -> jax.Array:
    """Flips one to `most` bits of every string [P, n], as many with equal chances.

    Args:
      key: random key.
      bits: of the candidates.
      layout: of the strings.
      most: bits, one after another; the same may be flipped twice.
      by_layer: any layer alike, then any bit of it; otherwise any bit alike.
    """
    count_key, *keys = jax.random.split(key, most + 1)
    numbers = jax.random.randint(count_key, (len(bits), 1), 1, most + 1)
    for number, own in enumerate(keys):
        if by_layer:
            changed = flip_one_of_a_layer(own, layout, bits)
        else:
            changed = genetics.flip_one(own, bits, True)
        bits = jnp.where(number < numbers, changed, bits)
    return bits
