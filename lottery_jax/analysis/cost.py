"""What a ticket really costs: weights that can matter, and the work of one example."""

import functools

import jax
import jax.numpy as jnp

from lottery_jax.tickets import masks
from lottery_jax.types import Mask, Model


def measure(
    model: Model, mask: Mask, input_shape: tuple[int, ...]
) -> dict[str, jax.Array]:
    """Size and work of stacked lanes, leaves [N, ...].

    For networks of Flax's dense layers and convolutions with pooling and activations
    that rise: a normalisation or a softmax inside hides paths that there are.

    Returns:
      `live_weights` [N]: kept prunable weights from which a path of kept weights leads
      to an output; all others never learn and could be dropped, with the units and
      inputs that only they use. `flops` [N]: of the forward pass of one example, a
      multiplication and an addition for every live weight and each of its uses.
    """
    return jax.device_get(_measure(model, mask, tuple(input_shape)))


@functools.partial(jax.jit, static_argnums=(0, 2))
def _measure(model, mask, shape):
    return jax.lax.map(lambda one: _of_one(model, one, shape), mask)


def _of_one(model, mask, shape):
    prunable = model.prunable(mask)
    live = {
        name: jnp.sum(leaf)
        for name, leaf in masks.named_leaves(_live(model, mask, shape)).items()
        if name in masks.prunable_names(prunable)
    }
    # Counted in float32: only work beyond 2^24 is rounded.
    uses = dict(model.uses)
    work = [2.0 * uses.get(name, 1) * count for name, count in live.items()]
    return {"live_weights": sum(live.values()), "flops": sum(work)}


def _live(model, mask, shape):
    """Kept weights that an output depends on when all of them are positive."""

    def spread(kept, prunable):
        if not prunable:
            return jnp.ones(kept.shape)
        # Sums over inputs near one, so that no product of layers over- or underflows.
        return kept * (kept.shape[-1] / jnp.maximum(1, kept.sum()))

    params = jax.tree.map(spread, mask, model.prunable(mask))
    _, state = model.init(jax.random.key(0))

    def total(params):
        example = jnp.ones((1, *shape))
        return model.apply(params, state, example, train=False)[0].sum()

    gradient = jax.grad(total)(params)
    return jax.tree.map(lambda leaf, kept: kept & (leaf > 0), gradient, mask)
