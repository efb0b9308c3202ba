"""What the summary says about a round beside losses and accuracies."""

import functools

import jax
import numpy as np

from lottery_jax.algorithms.base import RoundInfo
from lottery_jax.analysis import connectivity, cost, movement
from lottery_jax.tickets import masks
from lottery_jax.training.loop import EVALUATION_VALUES, in_chunks
from lottery_jax.types import Task


def of_round(task: Task, info: RoundInfo) -> dict[str, np.ndarray]:
    """Columns [N], in the order of the lanes; NaN where a lane has no such number.

    `live_weights` and `flops` of every lane (`cost.measure`). Of tickets, from round 1
    on, where the weights of this mask and those dropped for it had moved in the
    training before (`movement.by_fate`). Of the control "order", how it lies to its
    ticket at the end of training: `instability`, the barrier of the test error
    (regression: loss) on the straight line between them, and their `distance` and
    `angle` in degrees.
    """
    columns = cost.measure(task.model, info.mask, task.dataset.train.x.shape[1:])
    tickets = [i for i, label in enumerate(info.labels) if label.lane == "ticket"]
    orders = [i for i, label in enumerate(info.labels) if label.lane == "order"]
    if info.trained_before is not None:
        mask = jax.tree.map(lambda leaf: leaf[: len(tickets)], info.mask)
        names = masks.prunable_names(info.prunable)
        trees = [
            {name: masks.named_leaves(tree)[name] for name in names}
            for tree in (*info.trained_before, info.old_mask, mask)
        ]
        columns |= _spread(_fates(*trees), tickets, len(info.labels))
    if orders:
        found = [
            _apart(
                task,
                *(
                    jax.tree.map(lambda leaf, i=i: leaf[i], info.trained.final)
                    for i in (info.labels[order].replicate, order)
                ),
            )
            for order in orders
        ]
        stacked = jax.tree.map(lambda *values: np.stack(values), *found)
        columns |= _spread(stacked, orders, len(info.labels))
    return columns


def _spread(columns, lanes: list[int], num: int):
    full = {name: np.full(num, np.nan) for name in columns}
    for name, values in jax.device_get(columns).items():
        full[name][lanes] = values
    return full


_fates = jax.jit(jax.vmap(movement.by_fate))


def _apart(task: Task, a, b) -> dict[str, jax.Array]:
    test = task.dataset.test
    sinks = "accuracy" in task.metrics
    metric = task.metrics["accuracy"] if sinks else task.loss
    heights = _heights(task.model.apply, metric, a, b, test.x, test.y)
    length, angle = connectivity.distance(a, b)
    return {
        "instability": connectivity.barrier(-heights if sinks else heights),
        "distance": length,
        "angle": angle,
    }


@functools.partial(jax.jit, static_argnums=(0, 1))
def _heights(apply, metric, a, b, x, y):
    def height(params):
        def forward(examples):
            return apply(params, {}, examples, train=False)[0]

        return metric(in_chunks(forward, x, EVALUATION_VALUES), y)

    return connectivity.along(height, a, b)
