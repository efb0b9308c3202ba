"""Scoring and selecting, several times over: from a mask to a sparser one."""

from collections.abc import Callable, Mapping
from typing import Any

import jax

from lottery_jax.tickets import selection
from lottery_jax.types import Context, Mask, Scores


def prune(
    score: Callable[[Context], Scores],
    context: Context,
    counts: Mapping[str, jax.Array],
    groups: selection.Groups,
    measure: Callable[[Scores, Mask, Mask], Any],
) -> tuple[Mask, Any]:
    """Prunes `context.old_mask`, with new scores of what is left in every iteration.

    Args:
      score: as in `SCORES`.
      context: of one replicate.
      counts: group -> weights to keep in every iteration [iterations], see
        `schedules.within`; may be traced.
      groups: which leaves compete.
      measure: `measure(scores, mask before, mask after)`, of every iteration.

    Returns:
      The last mask, and what was measured, leaves [iterations, ...].
    """

    def iteration(mask, num_keep):
        scores = score(context._replace(old_mask=mask, mask=mask))
        after = selection.select(scores, mask, num_keep, groups)
        return after, measure(scores, mask, after)

    return jax.lax.scan(iteration, context.old_mask, dict(counts))
