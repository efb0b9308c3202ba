"""How far training moved the weights that a mask keeps, and those that it drops.

Frankle & Carbin (arXiv:1803.03635, app. F) find that the weights of a ticket move
further than the others, and rather away from zero.
"""

import jax
import jax.numpy as jnp

from lottery_jax.types import Mask, Params


def by_fate(
    start: Params, final: Params, old_mask: Mask, mask: Mask
) -> dict[str, jax.Array]:
    """Of the weights that were trained, by what becomes of them.

    Args:
      start: weights before training.
      final: weights after it.
      old_mask: what was trained.
      mask: what is kept of it.

    Returns:
      `kept_movement`, `dropped_movement`: mean |w_f - w_i|; `kept_outward`,
      `dropped_outward`: part of them with |w_f| > |w_i|. NaN where there is none.
    """

    def total(function, chosen):
        leaves = jax.tree.map(
            lambda i, f, old, new: jnp.sum(
                jnp.where(chosen(old, new), function(i, f), 0.0)
            ),
            start, final, old_mask, mask,
        )  # fmt: skip
        return sum(jax.tree.leaves(leaves))

    found = {}
    fates = {"kept": lambda old, new: new, "dropped": lambda old, new: old & ~new}
    for fate, chosen in fates.items():
        num = total(lambda i, f: 1.0, chosen)
        found[f"{fate}_movement"] = total(lambda i, f: jnp.abs(f - i), chosen) / num
        found[f"{fate}_outward"] = (
            total(lambda i, f: jnp.abs(f) > jnp.abs(i), chosen) / num
        )
    return found
