"""From scores to a mask: exact counts, ties broken by position, nothing revived."""

from collections.abc import Mapping, Sequence

import jax
import jax.numpy as jnp

from lottery_jax.tickets import masks
from lottery_jax.types import Mask, Scores

Groups = dict[str, tuple[str, ...]]
"""Group -> paths of the leaves that compete with each other for its weights."""


def layerwise(names: Sequence[str]) -> Groups:
    """Every leaf is a group of its own."""
    return {name: (name,) for name in names}


def globally(names: Sequence[str]) -> Groups:
    """All leaves compete in one group, "all"."""
    return {"all": tuple(names)}


SCOPES = {"global": globally, "layerwise": layerwise}
"""Name -> `scope(paths of prunable leaves) -> groups`."""


def select(
    scores: Scores, mask: Mask, num_keep: Mapping[str, int | jax.Array], groups: Groups
) -> Mask:
    """Keeps the `num_keep[group]` highest-scored weights of every group.

    Args:
      scores: pytree of floats; NaN ranks below every number.
      mask: the current mask; what is False stays False.
      num_keep: group -> weights to keep, at most those still kept. May be traced, so
        that one compilation serves all rounds.
      groups: which leaves compete; leaves in no group keep their mask.
    """
    structure = jax.tree.structure(mask)
    scores, chosen = masks.named_leaves(scores), masks.named_leaves(mask)
    for group, names in groups.items():
        flat_scores = jnp.concatenate([scores[name].ravel() for name in names])
        flat_mask = jnp.concatenate([chosen[name].ravel() for name in names])
        kept = _keep_best(flat_scores, flat_mask, num_keep[group])
        start = 0
        for name in names:
            shape, size = chosen[name].shape, chosen[name].size
            chosen[name] = kept[start : start + size].reshape(shape)
            start += size
    return jax.tree.unflatten(structure, chosen.values())


def at_least(
    scores: Mapping[str, jax.Array],
    num_keep: Mapping[str, int | jax.Array],
    groups: Groups,
) -> dict[str, jax.Array]:
    """As `select` out of all, but keeps whatever ties with the last: path -> mask.

    Without positions to count it takes less than half as long, which every step of a
    search would pay.

    Args:
      scores: path of a leaf -> floats, none of them NaN.
      num_keep: group -> weights to keep.
      groups: which leaves compete.
    """
    kept = {}
    for group, names in groups.items():
        ranks = {name: _ranks(scores[name]) for name in names}
        together = jnp.concatenate([leaf.ravel() for leaf in ranks.values()])
        last = _last_rank(together, num_keep[group])
        kept |= {name: leaf >= last for name, leaf in ranks.items()}
    return kept


def _keep_best(scores: jax.Array, mask: jax.Array, num_keep) -> jax.Array:
    """By falling score, then by position, among what the mask keeps; all arrays [D]."""
    ranks = _ranks(scores)
    ranks = jnp.where(mask, ranks, ranks.dtype.type(0))
    last = _last_rank(ranks, num_keep)
    above, ties = ranks > last, ranks == last
    first_ties = ties & (jnp.cumsum(ties) <= num_keep - jnp.sum(above))
    return mask & (above | first_ties)


def _ranks(scores: jax.Array) -> jax.Array:
    """Floats as integers above 0 in the same order; the lowest for NaN."""
    bits = jnp.finfo(scores.dtype).bits
    integer = jnp.dtype(f"uint{bits}").type
    sign = integer(1 << (bits - 1))
    scores = jnp.where(scores == 0, 0, scores)  # -0 is 0
    ranks = jax.lax.bitcast_convert_type(scores, integer)
    ranks = jnp.where(ranks >= sign, ~ranks, ranks | sign)
    return jnp.where(jnp.isnan(scores), integer(1), ranks)


def _last_rank(ranks: jax.Array, num_keep) -> jax.Array:
    """The rank [D] of the last one to keep, found bit by bit.

    That is many times faster than sorting them.
    """
    integer = ranks.dtype.type
    bits = jnp.iinfo(integer).bits
    highest = integer(1 << (bits - 1))

    def raise_if_enough(number, last):
        higher = last | (highest >> jnp.asarray(number, integer))
        return jnp.where(jnp.sum(ranks >= higher) >= num_keep, higher, last)

    return jax.lax.fori_loop(0, bits, raise_if_enough, integer(0))
