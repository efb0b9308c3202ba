"""Masks: pytrees of bools in the structure of the params, True = kept.

Leaves that may not be pruned are all True, so that every mask applies to every leaf.
"""

from collections.abc import Iterable, Mapping

import jax
import jax.numpy as jnp
import optax
from jax.typing import ArrayLike

from lottery_jax.types import Mask, Model, Params, Prunable


def full(params: Params) -> Mask:
    """The mask that keeps everything."""
    return jax.tree.map(lambda leaf: jnp.ones(leaf.shape, bool), params)


def apply(tree: Params, mask: Mask) -> Params:
    """Zeroes the pruned entries; `where` and not `*`, since 0 * inf is nan."""
    return jax.tree.map(lambda leaf, kept: jnp.where(kept, leaf, 0), tree, mask)


def mask_updates(mask: Mask) -> optax.GradientTransformation:
    """Last link of an optimizer chain: pruned weights get a zero update.

    Then they stay exactly zero with any optimizer state. A link that couples weights
    (clipping by the global norm) needs this transformation as its first link as well.
    """
    return optax.stateless(lambda updates, params: apply(updates, mask))


def masked(
    optimizer: optax.GradientTransformation, mask: Mask
) -> optax.GradientTransformation:
    """An optimizer for anyone's training loop that leaves pruned weights alone.

    Start from `apply(params, mask)`. Their gradients are zeroed too, so that no norm or
    moment sees them.

    Args:
      optimizer: any optax transformation.
      mask: in the structure of the params, True = kept.
    """
    return optax.chain(mask_updates(mask), optimizer, mask_updates(mask))


def map_named(function, *trees: Params) -> Params:
    """`function(path, leaf, ...)` for every leaf; paths as in `named_leaves`."""
    return jax.tree.map_with_path(
        lambda path, *leaves: function(_name(path), *leaves), *trees
    )


def named_leaves(tree: Params) -> dict[str, jax.Array]:
    """Leaves by path, e.g. "dense_0/kernel", in the order of the tree."""
    return {_name(path): leaf for path, leaf in jax.tree.leaves_with_path(tree)}


def from_named(kept: Mapping[str, ArrayLike], params: Params) -> Mask:
    """The mask with these leaves, by path; all others keep everything."""
    return map_named(
        lambda name, leaf: jnp.asarray(kept.get(name, jnp.ones(leaf.shape, bool))),
        params,
    )


def _name(path) -> str:
    return jax.tree_util.keystr(path, simple=True, separator="/")


def prunable_names(prunable: Prunable) -> list[str]:
    """Paths of the leaves that may be pruned."""
    return [name for name, may in named_leaves(prunable).items() if may]


def in_order(names: Iterable[str], model: Model) -> list[str]:
    """Paths of kernels as an example meets them; last what the model does not tell."""
    used = [name for name, _ in model.uses]
    return sorted(names, key=lambda x: used.index(x) if x in used else len(used))


def layer_kind(name: str) -> str:
    """What kind of layer a path leads to: "conv" of "conv_0/kernel"."""
    return name.split("/")[0].split("_")[0]


def density(mask: Mask, prunable: Prunable) -> jax.Array:
    """Kept fraction of all that may be pruned, of stacked masks [N, ...]: [N].

    Of probabilities to be kept: what it is in the mean.
    """
    leaves = _prunable_rows(mask, prunable)
    return sum(leaf.sum(1) for leaf in leaves) / sum(leaf.shape[1] for leaf in leaves)


def layer_mean_density(mask: Mask, prunable: Prunable) -> jax.Array:
    """The mean of the densities of the layers, however large they are: [N]."""
    return jnp.stack([leaf.mean(1) for leaf in _prunable_rows(mask, prunable)]).mean(0)


def _prunable_rows(mask, prunable) -> list[jax.Array]:
    leaves = zip(jax.tree.leaves(mask), jax.tree.leaves(prunable), strict=True)
    return [leaf.reshape(len(leaf), -1) for leaf, may in leaves if may]


def num_kept(mask: Mask, prunable: Prunable) -> dict[str, jax.Array]:
    """Kept weights per prunable leaf: path -> int32 scalar."""
    leaves = named_leaves(mask)
    return {name: jnp.sum(leaves[name]) for name in prunable_names(prunable)}
