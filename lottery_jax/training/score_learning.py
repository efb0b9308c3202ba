"""Learning scores of weights that stay as they were drawn: the search for a mask.

A step sees the network under the mask that its scores give at that moment. What the
loss asks of an effective weight, times the weight, goes straight through to its score,
whether it is kept or not (Ramanujan et al., arXiv:1911.13299, sec. 3). A rule says what
scores are, which mask they give, and what becomes of it from interval to interval.
"""

import zlib
from collections.abc import Callable, Mapping
from typing import NamedTuple

import jax
import jax.numpy as jnp
import optax

from lottery_jax.tickets import masks
from lottery_jax.tickets.selection import Groups
from lottery_jax.training.loop import (
    EVALUATION_VALUES,
    Data,
    Train,
    batches,
    in_chunks,
)
from lottery_jax.training.optimizers import Optimizer, Shape
from lottery_jax.types import Key, Lane, Task, Trained


class Rule(NamedTuple):
    """How weights are chosen by scores, while these are learned and in the end.

    Scores and masks are dicts: path of a kernel -> array.

    Attributes:
      draw: `draw(key, shape) -> scores` of a kernel at first.
      project: `project(scores) -> scores` of a kernel, after every step.
      gradient: `gradient(through, scores, active, regularization)` of a kernel's
        scores, `through` being what came straight through.
      used: `used(scores, active, num_keep, groups) -> mask` of the forward pass.
      freeze: `freeze(scores, lots, active, num_keep, groups, inverted) -> active`,
        after every interval: the weights that may still be kept. `lots` are numbers
        in [0, 1), one for each weight and the same in every interval, to break ties.
      ranks: `ranks(scores, active) -> scores` in the end, higher = keep.
      counts: `counts(size, num_keep, intervals) -> list`, of a group: its `num_keep` at
        the start and in every interval.
      inverts: an inverted search is another one; else it is the same, and its ranks are
        turned round.
      bounded: scores live in [0, 1], and have a learning rate of their own.
    """

    draw: Callable
    project: Callable
    gradient: Callable
    used: Callable
    freeze: Callable
    ranks: Callable
    counts: Callable
    inverts: bool
    bounded: bool


def draw_lots(key: Key, scores: Mapping[str, jax.Array]) -> dict[str, jax.Array]:
    """Uniform in [0, 1), for every score of a lane with this key."""
    # Not the keys that order the examples, which are the lane's folded with epochs.
    key = jax.random.fold_in(key, zlib.crc32(b"ties"))
    return {
        name: jax.random.uniform(jax.random.fold_in(key, i), leaf.shape)
        for i, (name, leaf) in enumerate(scores.items())
    }


def make_train(
    task: Task,
    optimizer: Optimizer,
    schedule: Shape,
    *,
    steps: int,
    batch_size: int,
    rule: Rule,
    groups: Groups,
) -> Train:
    """Builds `train(lane, data, grid) -> Trained`, as `loop.make_train` does.

    Lanes have params and mask {"scores", "weights"}: scores and the active ones among
    them by path of a kernel, and the network, of which nothing is trained. Their hypers
    are `learning_rate`; `regularization`, the weight of the rule's penalty; `num_keep`,
    group -> int32 [T], one for every entry of the grid; and `inverted`, bool.

    Args:
      task: the network, without state.
      optimizer: learning rate -> optax transformation.
      schedule: step -> factor on the lane's learning rate.
      steps: T, the step at which the search ends.
      batch_size: examples per step.
      rule: what scores are and do.
      groups: which kernels compete for the places there are.

    Returns:
      `train`. Its scores in the end are the rule's ranks. The history tells of the mask
      that a step would use, and of `density`, the part that is active or has a place,
      and `used_density`, what that mask keeps. The summary adds `broken`, how many
      scores ended as inf or nan, which ranks need not show.
    """

    def train(lane: Lane, data: Data, grid: jax.Array) -> Trained:
        examples, validation, _ = data
        order = batches(lane.key, len(examples.x), batch_size, steps)
        weights = lane.params["weights"]
        own = masks.named_leaves(weights)
        lots = draw_lots(lane.key, lane.params["scores"])

        def learning_rate(count):
            count = jnp.minimum(count, steps - 1)
            return lane.hypers["learning_rate"] * schedule(count)

        tx, penalty = optimizer(learning_rate), lane.hypers["regularization"]

        def forward(kernels, x, train):
            params = masks.map_named(
                lambda name, leaf: kernels.get(name, leaf), weights
            )
            return task.model.apply(params, {}, x, train=train)[0]

        def effective(mask):
            return {name: jnp.where(kept, own[name], 0) for name, kept in mask.items()}

        def interval(carry, row):
            scores, active, opt_state = carry
            first, last, num_keep = row

            def loss(kernels, batch):
                outputs = forward(kernels, examples.x[batch], True)
                return task.loss(outputs, examples.y[batch])

            def step(number, carry):
                scores, opt_state, total = carry
                mask = rule.used(scores, active, num_keep, groups)
                value, grads = jax.value_and_grad(loss)(effective(mask), order[number])
                grads = {
                    name: rule.gradient(
                        grad * own[name], scores[name], active[name], penalty
                    )
                    for name, grad in grads.items()
                }
                updates, opt_state = tx.update(grads, opt_state, scores)
                scores = jax.tree.map(
                    rule.project, optax.apply_updates(scores, updates)
                )
                return scores, opt_state, total + value

            scores, opt_state, total = jax.lax.fori_loop(
                first, last, step, (scores, opt_state, 0.0)
            )
            inverted = lane.hypers["inverted"]
            active = rule.freeze(scores, lots, active, num_keep, groups, inverted)
            used = rule.used(scores, active, num_keep, groups)
            kernels = effective(used)
            outputs = in_chunks(
                lambda x: forward(kernels, x, False), validation.x, EVALUATION_VALUES
            )
            size = sum(leaf.size for leaf in scores.values())
            places = sum(num_keep.values())
            row = {
                "step": last,
                "density": places / size,
                "used_density": sum(jnp.sum(leaf) for leaf in used.values()) / size,
                "train_loss": jnp.where(last > first, total / (last - first), jnp.nan),
            }
            values = {"loss": task.loss, **task.metrics}
            row |= {
                f"validation_{name}": f(outputs, validation.y)
                for name, f in values.items()
            }
            return (scores, active, opt_state), row

        scores, active = lane.params["scores"], lane.mask["scores"]
        before = jnp.concatenate([grid[:1], grid[:-1]])
        num_keep = {
            group: counts[: len(grid)]
            for group, counts in lane.hypers["num_keep"].items()
        }
        (scores, active, _), history = jax.lax.scan(
            interval, (scores, active, tx.init(scores)), (before, grid, num_keep)
        )
        ranks = rule.ranks(scores, active)
        final = {"scores": ranks, "weights": weights}
        summary = {name: values[-1] for name, values in history.items()}
        summary["broken"] = sum(
            jnp.sum(~jnp.isfinite(leaf)) for leaf in scores.values()
        )
        return Trained(final, final, {}, history, summary)

    return train
