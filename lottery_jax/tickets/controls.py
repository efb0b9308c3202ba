"""Lanes that differ from the ticket in exactly one respect.

A control trains on the same data in the same order with the same hyper-parameters; what
it loses against the ticket is the worth of the one thing that was taken away.
"""

from collections.abc import Callable

import jax
import jax.numpy as jnp

from lottery_jax.tickets import masks, selection
from lottery_jax.tickets.reinitialization import REINITS, Draw
from lottery_jax.types import Context, Lane

Control = Callable[[Context], Lane]


def reinitialized(draw: Draw) -> Control:
    """Same mask, other kept weights (arXiv:1803.03635, sec. 2: "random reinit").

    Pruned weights stay where the ticket has frozen them. With a late rewind step it
    trains as long as the ticket, from step k of the schedule, so what is drawn fresh
    has had k steps less in all.
    """

    def control(context):
        lane = context.lane
        params = jax.tree.map(jnp.where, lane.mask, draw(context), lane.params)
        return lane._replace(params=params)

    return control


def shuffle(context: Context) -> Lane:
    """Same weights before masking, the mask permuted within each layer.

    Keeps the number of weights of every layer and nothing else. In law the same as
    `random`, drawn in another way: the two must agree within noise.
    """
    mask = _per_leaf(
        context, lambda key, leaf: jax.random.permutation(key, leaf.ravel())
    )
    return context.lane._replace(mask=mask)


def random(context: Context) -> Lane:
    """Same weights before masking, a random mask with the same count in every layer."""

    def draw(key, leaf):
        scores = {"leaf": jax.random.uniform(key, leaf.shape)}
        num_keep = {"leaf": jnp.sum(leaf)}
        everything = masks.full(scores)
        groups = selection.layerwise(["leaf"])
        return selection.select(scores, everything, num_keep, groups)["leaf"]

    return context.lane._replace(mask=_per_leaf(context, draw))


def order(context: Context) -> Lane:
    """The ticket itself on other batches: what the order of the data does to it.

    Whether the two end in one valley is the stability of Frankle et al.
    (arXiv:1912.05671).
    """
    return context.lane._replace(key=context.key)


def dense(context: Context) -> Lane:
    """The whole network from the same weights on the same batches.

    How far the ticket ends from it, where both have weights, is the stability to
    pruning of Frankle et al. (arXiv:1903.01611, sec. 4).
    """
    return context.lane._replace(mask=masks.full(context.lane.mask))


def _per_leaf(context: Context, draw):
    """`draw(key, mask leaf)` for the prunable leaves; the others stay as they are."""
    leaves, structure = jax.tree.flatten(context.lane.mask)
    drawn = [
        draw(jax.random.fold_in(context.key, i), leaf).reshape(leaf.shape)
        if prunable
        else leaf
        for i, (leaf, prunable) in enumerate(
            zip(leaves, jax.tree.leaves(context.prunable), strict=True)
        )
    ]
    return jax.tree.unflatten(structure, drawn)


CONTROLS = {
    "dense": dense,
    "order": order,
    "random": random,
    "shuffle": shuffle,
    **{name: reinitialized(draw) for name, draw in REINITS.items()},
}
"""Name -> `control(context) -> lane`."""

OF_THE_MASK = ("dense", "random", "shuffle")
"""Controls that have another mask than the ticket."""
