"""What to keep: each score is a pytree of floats, higher = keep.

Scores are only ranked within what is still kept, so pruned weights need no care here.
"""

import jax
import jax.numpy as jnp

from lottery_jax.types import Context, Scores


def magnitude(context: Context) -> Scores:
    """|theta_T|: keep what ended large (Frankle & Carbin, arXiv:1803.03635, sec. 1)."""
    return jax.tree.map(jnp.abs, context.final)


SCORES = {"magnitude": magnitude}
"""Name -> `score(context) -> scores`."""
