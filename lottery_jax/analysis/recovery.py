"""How much of a planted ticket a mask has, and what the mask is worth untrained.

Masks were judged by the accuracy they reach (Fischer & Burkholz, arXiv:2111.11153);
where the truth is known, they can be compared with it.
"""

import functools

import jax
import jax.numpy as jnp

from lottery_jax import stacks
from lottery_jax.algorithms.base import RoundInfo
from lottery_jax.analysis import untrained as masked
from lottery_jax.tickets import masks
from lottery_jax.types import Dataset, Mask, Params, Prunable, Task


def recovery(mask: Mask, truth: Mask, prunable: Prunable) -> dict[str, jax.Array]:
    """Of what was planted and may be pruned, scalars.

    Returns:
      `recall`: the part of the truth that the mask keeps; `recall_chance`: of random
      masks with its counts in every leaf; `precision`: the part of what it keeps that
      is true; `jaccard`: what is in both over what is in either; and
      `recall/<leaf>` for leaves that the truth has a part in, 0 where it has none.
    """
    kept, planted = masks.named_leaves(mask), masks.named_leaves(truth)
    names = masks.prunable_names(prunable)
    both = {name: jnp.sum(kept[name] & planted[name]) for name in names}
    true = {name: jnp.sum(planted[name]) for name in names}
    num = {name: jnp.sum(kept[name]) for name in names}
    found, all_true, all_kept = (sum(x.values()) for x in (both, true, num))
    expected = sum(num[n] * true[n] / kept[n].size for n in names)
    return {
        "recall": found / all_true,
        "recall_chance": expected / all_true,
        "precision": found / jnp.maximum(1, all_kept),
        "jaccard": found / (all_true + all_kept - found),
    } | {f"recall/{name}": both[name] / jnp.maximum(1, true[name]) for name in names}


def quality(
    task: Task, untrained: Params, final: Params, scale: jax.Array
) -> dict[str, jax.Array]:
    """Test accuracy or loss of a masked network before and after training.

    Args:
      task: with the data.
      untrained: masked weights at initialisation.
      final: after training.
      scale: of the truth [outputs].

    Returns:
      Classification: `untrained_test_accuracy`, and `untrained_rescaled_...` with
      outputs divided by the scale. Regression: `untrained_test_loss`,
      `untrained_rescaled_...` and `rescaled_test_loss`, the last two after the factor
      for each output that fits the training split best.
    """
    train, test = task.dataset.train, task.dataset.test

    def outputs(params, split):
        return masked.outputs(task.model.apply, params, split.x)

    if task.metrics:
        found = outputs(untrained, test)
        accuracy = task.metrics["accuracy"]
        return {
            "untrained_test_accuracy": accuracy(found, test.y),
            "untrained_rescaled_test_accuracy": accuracy(found / scale[None], test.y),
        }

    def rescaled(params):
        factors = best_factors(outputs(params, train), train.y)
        return task.loss(outputs(params, test) * factors[None], test.y)

    return {
        "untrained_test_loss": task.loss(outputs(untrained, test), test.y),
        "untrained_rescaled_test_loss": rescaled(untrained),
        "rescaled_test_loss": rescaled(final),
    }


def best_factors(outputs: jax.Array, y: jax.Array) -> jax.Array:
    """Least-squares factor of every output [outputs]; 1 where it is all zero."""
    y = y.reshape(outputs.shape)
    # Planted outputs may be tiny: their squares are taken of numbers near one.
    size = jnp.abs(outputs).max(0)
    near_one = outputs / jnp.where(size > 0, size, 1)[None]
    squares = jnp.square(near_one).sum(0)
    factors = (y * near_one).sum(0) / jnp.where(squares > 0, squares, 1)
    return jnp.where(size > 0, factors / jnp.where(size > 0, size, 1), 1)


def measure(task: Task, info: RoundInfo) -> dict[str, jax.Array]:
    """Columns [N] of a round in whose networks something is planted."""
    data = task.dataset.train, task.dataset.test
    replicates = jnp.array([label.replicate for label in info.labels])
    arrays = info.lanes.params, info.trained.final, info.mask, replicates
    accuracy = task.metrics.get("accuracy")
    return jax.device_get(
        _measure(task.model, task.loss, accuracy, data, info.truth, arrays)
    )


@functools.partial(jax.jit, static_argnums=(0, 1, 2))
def _measure(model, loss, accuracy, data, truths, arrays):
    dataset = Dataset(data[0], None, data[1], None, "")
    task = Task(dataset, model, loss, {"accuracy": accuracy} if accuracy else {})

    def one(lane):
        params, final, mask, replicate = lane
        truth = stacks.take(truths, replicate)
        untrained = masks.apply(params, mask)
        return recovery(mask, truth.mask, model.prunable(mask)) | quality(
            task, untrained, final, truth.scale
        )

    return jax.lax.map(one, arrays)
