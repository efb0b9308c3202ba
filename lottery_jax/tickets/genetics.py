"""Genetic operators: pure functions of a key on populations of candidates.

A population is a pytree whose leaves have a leading axis of candidates, [P, ...]:
masks, or weights and masks. Operators that change entries draw for each of them on its
own, and leave alone what may not be pruned. Fitness is minimised; NaN is the worst.

Written by hand since no maintained library in JAX has binary genomes: evosax evolves
vectors of floats, QDax's own operators are for reals, EvoX has left JAX.
"""

from collections.abc import Callable

import jax
import jax.numpy as jnp

from lottery_jax.tickets import selection
from lottery_jax.types import Key, Mask, Params, Prunable

Select = Callable[[Key, jax.Array, int, int], jax.Array]
"""`select(key, fitness [P], num, size) -> indices [num]`, with replacement."""


def roulette(key: Key, fitness: jax.Array, num: int, size: int) -> jax.Array:
    """With probability proportional to what the worst has more: max f - f + 1e-6."""
    del size
    fitness = comparable(fitness)
    finite = jnp.isfinite(fitness)
    worst = jnp.max(jnp.where(finite, fitness, -jnp.inf))
    return _draw(key, jnp.where(finite, worst - fitness + 1e-6, 0), num)


def roulette_inverted(key: Key, fitness: jax.Array, num: int, size: int) -> jax.Array:
    """NeTS's published roulette, in which the best is never chosen.

    g = (f - min f) / (max f - min f + 1e-6), p = g / sum g, though f is minimised.
    """
    del size
    fitness = comparable(fitness)
    finite = jnp.isfinite(fitness)
    best = jnp.min(fitness)
    worst = jnp.max(jnp.where(finite, fitness, -jnp.inf))
    g = (fitness - best) / (worst - best + 1e-6)
    return _draw(key, jnp.where(finite, g, 0), num)


def rank(key: Key, fitness: jax.Array, num: int, size: int) -> jax.Array:
    """With probability proportional to how many are no better, itself among them."""
    del size
    fitness = comparable(fitness)
    no_better = jnp.sum(fitness[None] >= fitness[:, None], axis=1)
    return _draw(key, no_better.astype(jnp.float32), num)


def tournament(key: Key, fitness: jax.Array, num: int, size: int) -> jax.Array:
    """The best of `size` that are drawn with replacement; of equals the first drawn."""
    rivals = jax.random.randint(key, (num, size), 0, len(fitness))
    winners = jnp.argmin(comparable(fitness)[rivals], axis=1)
    return jnp.take_along_axis(rivals, winners[:, None], axis=1)[:, 0]


def truncation(key: Key, fitness: jax.Array, num: int, size: int) -> jax.Array:
    """Any of the `size` best, all alike."""
    return best(size, fitness)[jax.random.randint(key, (num,), 0, size)]


SELECTIONS: dict[str, Select] = {
    "rank": rank,
    "roulette": roulette,
    "roulette_inverted": roulette_inverted,
    "tournament": tournament,
    "truncation": truncation,
}
"""Name -> `select(key, fitness, num, size)`; size: of a tournament, or how many the
truncation leaves. Candidates of equal fitness have equal chances."""


def comparable(fitness: jax.Array) -> jax.Array:
    """NaN becomes infinity."""
    return jnp.where(jnp.isnan(fitness), jnp.inf, fitness)


def _draw(key: Key, weights: jax.Array, num: int) -> jax.Array:
    """Indices with these odds; uniform where all are 0. Never out of range."""
    odds = jnp.where(jnp.sum(weights) > 0, weights, 1)
    return jax.random.categorical(key, jnp.log(odds), shape=(num,))


def best(num: int, fitness: jax.Array, *others: jax.Array) -> jax.Array:
    """Indices of the best, the very best first; `others` decide between equals.

    All are [P] and minimised; what is equal in all of them stays in order.
    """
    keys = [comparable(key) for key in (fitness, *others)]
    return jnp.lexsort(keys[::-1])[:num]


def random_masks(
    key: Key,
    params: Params,
    prunable: Prunable,
    num: int,
    density: float,
    *,
    shared: bool = False,
) -> Mask:
    """Masks [num, ...] that keep every weight with a probability.

    Args:
      key: random key.
      params: of one candidate, arrays or their shapes.
      prunable: which leaves may be pruned.
      num: candidates.
      density: that probability.
      shared: all candidates get the same mask, as in NeTS's code.
    """
    drawn = 1 if shared else num
    full = jax.tree.map(lambda leaf: jnp.ones((drawn, *leaf.shape), bool), params)
    masks = disable(key, full, prunable, 1 - density)
    return jax.tree.map(
        lambda leaf: jnp.broadcast_to(leaf, (num, *leaf.shape[1:])), masks
    )


def crossover(
    key: Key,
    one: tuple,
    other: tuple,
    probability: float = 0.5,
    *,
    coupled: bool = True,
) -> tuple:
    """Uniform crossover: every entry is that of `one` with a probability.

    Args:
      key: random key.
      one: tuple of pytrees of one structure, such as weights and mask.
      other: the same.
      probability: of an entry of `one`.
      coupled: what stands at one place of all the pytrees, the gene, stays together.
    """
    keys = [key] * len(one) if coupled else list(jax.random.split(key, len(one)))

    def mix(key, one, other):
        def choose(key, a, b):
            return jnp.where(jax.random.bernoulli(key, probability, a.shape), a, b)

        return _per_leaf(key, choose, None, one, other)

    return tuple(map(mix, keys, one, other))


def noise(key: Key, weights: Params, prunable: Prunable, probability, std) -> Params:
    """Adds N(0, std^2) to weights, each with a probability."""

    def add(key, leaf):
        return leaf + std * jax.random.normal(key, leaf.shape, leaf.dtype)

    size_key, place_key = jax.random.split(key)
    fresh = redraw(size_key, add, weights, prunable)
    return resample(place_key, weights, prunable, probability, fresh)


def redraw(key: Key, draw: Callable, weights: Params, prunable: Prunable) -> Params:
    """`draw(key, leaf)` in place of what may be pruned."""
    return _per_leaf(key, draw, prunable, weights)


def resample(
    key: Key, weights: Params, prunable: Prunable, probability, fresh: Params
) -> Params:
    """Weights become those of `fresh`, each with a probability."""

    def replace(key, leaf, new):
        return jnp.where(jax.random.bernoulli(key, probability, leaf.shape), new, leaf)

    return _per_leaf(key, replace, prunable, weights, fresh)


def disable(key: Key, mask: Mask, prunable: Prunable, probability) -> Mask:
    """Weights are pruned, each with a probability."""
    return _where(key, mask, prunable, probability, lambda leaf, hit: leaf & ~hit)


def enable(key: Key, mask: Mask, prunable: Prunable, probability) -> Mask:
    """Weights are kept, each with a probability."""
    return _where(key, mask, prunable, probability, lambda leaf, hit: leaf | hit)


def flip(key: Key, mask: Mask, prunable: Prunable, probability) -> Mask:
    """Kept weights are pruned and pruned ones kept, each with a probability."""
    return _where(key, mask, prunable, probability, lambda leaf, hit: leaf ^ hit)


def flip_one(key: Key, mask: Mask, prunable: Prunable) -> Mask:
    """Exactly one bit of every candidate's mask [P, ...] is flipped, any of them."""
    leaves, structure = jax.tree.flatten(mask)
    may = jax.tree.leaves(prunable)
    sizes = [leaf[0].size * own for leaf, own in zip(leaves, may, strict=True)]
    place = jax.random.randint(key, (len(leaves[0]),), 0, sum(sizes))
    flipped, start = [], 0
    for leaf, size in zip(leaves, sizes, strict=True):
        if size:
            hit = jnp.arange(size)[None] == (place - start)[:, None]
            leaf = leaf ^ hit.reshape(leaf.shape)
        flipped.append(leaf)
        start += size
    return jax.tree.unflatten(structure, flipped)


def swap(key: Key, mask: Mask, prunable: Prunable, num: int) -> Mask:
    """So many kept weights change places with pruned ones: the density stays.

    As many as there are of either, where there are fewer; any of the whole network.

    Args:
      key: random key.
      mask: of one candidate.
      prunable: which leaves may be pruned.
      num: weights that leave, and that come.
    """
    names = [str(i) for i, may in enumerate(jax.tree.leaves(prunable)) if may]
    groups, structure = selection.globally(names), jax.tree.structure(mask)
    there = {str(i): leaf for i, leaf in enumerate(jax.tree.leaves(mask))}
    off, on = jax.random.split(key)

    def chosen(key, among, count):
        def draw(key, leaf):
            return jax.random.uniform(key, leaf.shape)

        scores = _per_leaf(key, draw, None, among)
        return selection.select(scores, among, {"all": count}, groups)

    absent = {name: ~leaf for name, leaf in there.items()}
    kept = sum(jnp.sum(there[name]) for name in names)
    size = sum(there[name].size for name in names)
    count = jnp.minimum(num, jnp.minimum(kept, size - kept))
    leaves, comes = chosen(off, there, count), chosen(on, absent, count)
    swapped = [
        there[name] ^ leaves[name] | comes[name] if name in names else there[name]
        for name in there
    ]
    return jax.tree.unflatten(structure, swapped)


def _where(key: Key, mask, prunable, probability, change: Callable) -> Mask:
    def draw(key, leaf):
        return change(leaf, jax.random.bernoulli(key, probability, leaf.shape))

    return _per_leaf(key, draw, prunable, mask)


def _per_leaf(key: Key, function: Callable, prunable: Prunable | None, *trees):
    """`function(key, leaf, ...)` of leaves that may be pruned; others stay first's."""
    structure = jax.tree.structure(trees[0])
    keys = [jax.random.fold_in(key, i) for i in range(structure.num_leaves)]
    may = [True] * len(keys) if prunable is None else jax.tree.leaves(prunable)
    leaves = zip(*map(jax.tree.leaves, trees), strict=True)
    return jax.tree.unflatten(
        structure,
        [
            function(own, *parts) if allowed else parts[0]
            for own, allowed, parts in zip(keys, may, leaves, strict=True)
        ],
    )
