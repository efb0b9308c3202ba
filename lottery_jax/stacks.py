"""Pytrees along the first axis of their leaves: lanes, replicates, candidates."""

import functools
from collections.abc import Sequence
from typing import Any

import jax
import jax.numpy as jnp


def stack(trees: Sequence) -> Any:
    """Pytrees of one structure along a new first axis."""
    return jax.tree.map(lambda *leaves: jnp.stack(leaves), *trees)


@functools.partial(jax.jit, inline=True)
def concatenate(trees: Sequence) -> Any:
    """Pytrees of one structure along their first axis."""
    return jax.tree.map(lambda *leaves: jnp.concatenate(leaves), *trees)


def take(tree, where) -> Any:
    """What stands at an index, a slice, or an array of indices."""
    return jax.tree.map(lambda leaf: leaf[where], tree)


def first(tree, num: int) -> Any:
    """The first so many."""
    return take(tree, slice(num))
