"""What pruned weights are frozen at: Zhou et al.'s mask-0 actions (arXiv:1905.01067).

With w_i, w_f the weights at the start and the end of the training just finished:

name               value of a pruned weight
zero               0
init, final        w_i, w_f
zero_if_shrunk     0 where |w_i| > |w_f|, else w_i: training moved it towards 0
zero_if_grown      0 where |w_i| < |w_f|, else w_i: the control in reverse
zero_at_random     w_i, but for as many zeros as zero_if_shrunk has, in random places
                   among those pruned now

Their Variant 1 is zero_if_shrunk; their Variant 2 treats kept weights by the same rule
before they are trained: rewind "zero_if_shrunk" as well.
"""

import jax
import jax.numpy as jnp

from lottery_jax.types import Context, Params


def zero(context: Context) -> Params:
    """0: the lottery ticket."""
    return jax.tree.map(jnp.zeros_like, context.start)


def init(context: Context) -> Params:
    """w_i: pruned weights are there and never learn."""
    return context.start


def final(context: Context) -> Params:
    """w_f: they stay as training left them."""
    return context.final


def zero_if_shrunk(context: Context) -> Params:
    """0 for what training has moved towards 0: Variants 1 and 2."""
    return _zero_where(context, _shrunk(context))


def zero_if_grown(context: Context) -> Params:
    """0 for what training has moved away from 0."""
    grown = jax.tree.map(
        lambda i, f: jnp.abs(i) < jnp.abs(f), context.start, context.final
    )
    return _zero_where(context, grown)


def zero_at_random(context: Context) -> Params:
    """As many weights at 0 as with `zero_if_shrunk`, in any of the places pruned now.

    What was pruned earlier stays as it was frozen then.
    """
    structure = jax.tree.structure(context.mask)
    keys = jax.random.split(context.key, structure.num_leaves)

    def choose(key, old, kept, shrunk):
        pruned = old & ~kept
        # Those pruned now come first, in random order.
        order = jnp.where(pruned, jax.random.uniform(key, kept.shape), 2).ravel()
        places = jnp.argsort(jnp.argsort(order)).reshape(kept.shape)
        return pruned & (places < jnp.sum(shrunk & pruned))

    keys = jax.tree.unflatten(structure, keys)
    chosen = jax.tree.map(
        choose, keys, context.old_mask, context.mask, _shrunk(context)
    )
    return _zero_where(context, chosen)


def _shrunk(context):
    return jax.tree.map(
        lambda i, f: jnp.abs(i) > jnp.abs(f), context.start, context.final
    )


def _zero_where(context, chosen):
    return jax.tree.map(
        lambda out, i, prunable: jnp.where(out, 0, i) if prunable else i,
        chosen,
        context.start,
        context.prunable,
    )


FREEZES = {
    "final": final,
    "init": init,
    "zero": zero,
    "zero_at_random": zero_at_random,
    "zero_if_grown": zero_if_grown,
    "zero_if_shrunk": zero_if_shrunk,
}
"""Name -> `freeze(context) -> params`, of which the pruned entries are taken."""
