"""What to keep: each score is a pytree of floats, higher = keep.

With w_i, w_f the weights at the start and the end of the training just finished (Zhou
et al., arXiv:1905.01067, sec. 2, and the Keras LTH API of K. Dietrich):

name                     score                     alias in the literature
magnitude, large_final   |w_f|                     LF; Frankle & Carbin's
small_final              -|w_f|                    SF
large_init, small_init   |w_i|, -|w_i|             LI, SI
large_init_large_final   lower rank of LI and LF   LILF
small_init_small_final   lower rank of SI and SF   SISF
magnitude_increase       |w_f| - |w_i|             MI
movement                 |w_f - w_i|               MOV
random                   uniform                   RND

`_same_sign` and `_diff_sign` behind large_final, magnitude_increase and movement keep
weights that have kept (changed) their sign, best first; where there are too few of
them, the others fill up in random order. Zhou et al. score those 0, which for
magnitude_increase outranks many that are eligible.

Those of `saliency.py` look at the network as a function: snip, grasp, synflow, grad.
Scores are only ranked within what is still kept, so pruned weights need no care here.
Ties go by position, where the literature breaks them at random.
"""

from collections.abc import Callable

import jax
import jax.numpy as jnp

from lottery_jax.tickets.saliency import SALIENCIES
from lottery_jax.types import Context, Mask, Params, Prunable, Scores

Score = Callable[[Context], Scores]

LAST = -1e30
"""Below every score of a finite weight; above what is pruned already."""


def magnitude(context: Context) -> Scores:
    """|w_f|: keep what ended large (Frankle & Carbin, arXiv:1803.03635, sec. 1)."""
    return jax.tree.map(jnp.abs, context.final)


def small_final(context: Context) -> Scores:
    """-|w_f|: the inverse of `magnitude`."""
    return _negative(magnitude(context))


def large_init(context: Context) -> Scores:
    """|w_i|: needs no training."""
    return jax.tree.map(jnp.abs, context.start)


def small_init(context: Context) -> Scores:
    """-|w_i|: the inverse of `large_init`."""
    return _negative(large_init(context))


def large_init_large_final(context: Context) -> Scores:
    """The lower of the ranks of |w_i| and |w_f| within the layer.

    Its best n are the quadrant that Zhou et al. find by bisecting one quantile for
    both, and exact where the bisection cannot be.
    """
    return _lower_rank(large_init(context), magnitude(context), context.old_mask)


def small_init_small_final(context: Context) -> Scores:
    """The lower of the ranks of -|w_i| and -|w_f| within the layer."""
    return _lower_rank(small_init(context), small_final(context), context.old_mask)


def magnitude_increase(context: Context) -> Scores:
    """|w_f| - |w_i|."""
    return jax.tree.map(jnp.subtract, magnitude(context), large_init(context))


def movement(context: Context) -> Scores:
    """|w_f - w_i|."""
    return jax.tree.map(lambda f, i: jnp.abs(f - i), context.final, context.start)


def random(context: Context) -> Scores:
    """Uniform in [0, 1)."""
    return _uniform(context)


def same_sign(score: Score) -> Score:
    """`score` among the weights whose sign training has kept; 0 has either sign."""
    return _among(score, lambda context: _agree(context, 1))


def diff_sign(score: Score) -> Score:
    """`score` among the weights whose sign training has changed; 0 has either sign."""
    return _among(score, lambda context: _agree(context, -1))


def _agree(context, sign):
    return jax.tree.map(
        lambda f, i: sign * jnp.sign(f) * jnp.sign(i) >= 0, context.final, context.start
    )


def _among(score, eligible):
    def gated(context):
        return jax.tree.map(
            lambda may, value, place: jnp.where(may, value, LAST * (1 + place)),
            eligible(context),
            score(context),
            _uniform(context),
        )

    return gated


def _negative(scores):
    return jax.tree.map(jnp.negative, scores)


def _uniform(context):
    leaves, structure = jax.tree.flatten(context.final)
    keys = jax.random.split(context.key, len(leaves))
    drawn = [
        jax.random.uniform(key, leaf.shape)
        for key, leaf in zip(keys, leaves, strict=True)
    ]
    return jax.tree.unflatten(structure, drawn)


def _lower_rank(one: Scores, other: Scores, mask: Mask) -> Scores:
    """The lower of two ranks, in parts of the weights that the leaf still keeps."""

    def rank(score, kept):
        flat = jnp.where(kept & ~jnp.isnan(score), score, -jnp.inf).ravel()
        # Twice: the first says who stands where, the second at which place one stands.
        places = jnp.argsort(jnp.argsort(flat)).reshape(score.shape)
        num = jnp.sum(kept)
        return (places - (kept.size - num)) / jnp.maximum(1, num)

    return jax.tree.map(
        lambda a, b, kept: jnp.minimum(rank(a, kept), rank(b, kept)), one, other, mask
    )


def num_filled(scores: Scores, mask: Mask) -> jax.Array:
    """Weights in a mask that a variant by sign has filled up with: int32 scalar."""
    counts = jax.tree.map(lambda x, kept: jnp.sum(kept & (x <= LAST)), scores, mask)
    return sum(jax.tree.leaves(counts))


def num_broken(
    scores: Scores, params: Params, mask: Mask, prunable: Prunable
) -> jax.Array:
    """Kept weights whose score is inf or nan, though all weights are finite: int32.

    0 where training has diverged: NaN ranks last there, and the lane is flagged.
    """
    kept = jax.tree.map(lambda m, may: m & may, mask, prunable)
    finite = jax.tree.map(
        lambda x, kept: jnp.all(jnp.isfinite(x) | ~kept), params, mask
    )
    counts = jax.tree.map(lambda x, m: jnp.sum(m & ~jnp.isfinite(x)), scores, kept)
    all_finite = jnp.all(jnp.stack(jax.tree.leaves(finite)))
    return jnp.where(all_finite, sum(jax.tree.leaves(counts)), 0)


SIGNED = {
    "large_final": magnitude,
    "magnitude_increase": magnitude_increase,
    "movement": movement,
}
"""Scores of which there are variants by sign."""

SCORES = {
    "large_final": magnitude,
    "large_init": large_init,
    "large_init_large_final": large_init_large_final,
    "magnitude": magnitude,
    "magnitude_increase": magnitude_increase,
    "movement": movement,
    "random": random,
    "small_final": small_final,
    "small_init": small_init,
    "small_init_small_final": small_init_small_final,
    **{f"{name}_same_sign": same_sign(score) for name, score in SIGNED.items()},
    **{f"{name}_diff_sign": diff_sign(score) for name, score in SIGNED.items()},
    **SALIENCIES,
}
"""Name -> `score(context) -> scores`."""

OF_TRAINING = ("magnitude_increase", "movement", *(n for n in SCORES if "_sign" in n))
"""Scores that compare the two ends of a training."""
