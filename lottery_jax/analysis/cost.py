"""What a ticket really costs: weights that can matter, and the work they make."""

import functools

import jax
import jax.numpy as jnp
import pandas as pd

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


def to_find(
    summary: pd.DataFrame,
    steps: int | pd.Series,
    batch_size: int,
    one_shot: bool = False,
    pretrain: bool = True,
) -> pd.DataFrame:
    """What it takes to find the ticket of every round, and then to train it.

    Floating-point operations if pruned weights cost none; a backward pass counts as two
    forward passes. Every step of a round is counted, also those after its early stop.

    Args:
      summary: of a run whose round 0 trains the dense network; `results.summary`.
      steps: optimizer steps per round; a series where rounds differ (index: round).
      batch_size: examples per step.
      one_shot: every ticket is found by training the dense network; otherwise by
        training it and all tickets before.
      pretrain: False: masks are made at initialisation, and finding them takes none.

    Returns:
      One row per round and replicate: round, replicate, density; finding, training
      (FLOPs); in_dense: their sum in trainings of the dense network.

    Raises:
      ValueError: no dense round 0.
    """
    tickets = summary[summary.lane == "ticket"].sort_values(["round", "replicate"])
    names = ["round", "replicate", "density", "flops"]
    found = tickets[names].reset_index(drop=True)
    if not (found.density[found["round"] == 0] == 1).any():
        raise ValueError("round 0 of this run does not train the dense network")
    if isinstance(steps, pd.Series):
        steps = found["round"].map(steps)
    training = 3.0 * found.pop("flops") * batch_size * steps
    first = found["round"] == 0
    dense = found.replicate.map(
        dict(zip(found.replicate[first], training[first], strict=True))
    )
    if not pretrain:
        finding = 0.0 * training
    elif one_shot:
        finding = dense.mask(first, 0.0)
    else:
        finding = training.groupby(found.replicate).cumsum() - training
    return found.assign(
        finding=finding, training=training, in_dense=(finding + training) / dense
    )
