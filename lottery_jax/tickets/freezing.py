"""What pruned weights are frozen at: Zhou et al.'s mask-0 actions (arXiv:1905.01067).

With w_i, w_f the weights at the start and the end of the training just finished:

name               value of a pruned weight
zero               0
init, final        w_i, w_f
zero_if_shrunk     0 where |w_i| > |w_f|, else w_i: training moved it towards 0
zero_if_grown      0 where |w_i| < |w_f|, else w_i: the control in reverse
zero_at_random     w_i, but for as many zeros as zero_if_shrunk has, anywhere

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
    """As many pruned weights at 0 as with `zero_if_shrunk`, wherever they stand."""
    structure = jax.tree.structure(context.mask)
    keys = jax.random.split(context.key, structure.num_leaves)

    def choose(key, kept, shrunk):
        # Pruned ones in random order come first.
        order = jnp.where(kept, 2, jax.random.uniform(key, kept.shape)).ravel()
        places = jnp.argsort(jnp.argsort(order)).reshape(kept.shape)
        return places < jnp.sum(shrunk & ~kept)

    keys = jax.tree.unflatten(structure, keys)
    return _zero_where(
        context, jax.tree.map(choose, keys, context.mask, _shrunk(context))
    )


def _shrunk(context):
    return jax.tree.map(
        lambda i, f: jnp.abs(i) > jnp.abs(f), context.start, context.final
    )


def _zero_where(context, chosen):
    return jax.tree.map(lambda out, i: jnp.where(out, 0, i), chosen, context.start)


FREEZES = {
    "final": final,
    "init": init,
    "zero": zero,
    "zero_at_random": zero_at_random,
    "zero_if_grown": zero_if_grown,
    "zero_if_shrunk": zero_if_shrunk,
}
"""Name -> `freeze(context) -> params`, of which the pruned entries are taken."""
