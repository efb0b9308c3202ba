"""What the summary says about a round beside losses and accuracies."""

import functools

import jax
import numpy as np

from lottery_jax import stacks
from lottery_jax.algorithms.base import RoundInfo
from lottery_jax.analysis import connectivity, cost, movement, recovery, untrained
from lottery_jax.tickets import masks
from lottery_jax.types import Task


def of_round(
    task: Task, info: RoundInfo, level_barrier: bool = False
) -> dict[str, np.ndarray]:
    """Columns [N], in the order of the lanes; NaN where a lane has no such number.

    `live_weights` and `flops` of every lane (`cost.measure`). Of tickets, from round 1
    on, where the weights of this mask and those dropped for it had moved in the
    training before (`movement.by_fate`). Of the controls "order" and "dense", how they
    lie to their ticket at the end of training, "dense" under its mask: `distance`, and
    `angle` in degrees; of "order" also `instability`, the barrier of the test error
    (regression: loss) on the straight line between them. Where `level_barrier` is
    wanted, that barrier between each ticket and the network its mask was made from.
    Where a ticket is planted, how much of it a mask has (`recovery`). What masks are
    worth `untrained` where one is planted, or scores of them are learned.
    """
    columns = cost.measure(task.model, info.mask, task.dataset.train.x.shape[1:])
    num, ticket_of = len(info.labels), info.ticket_of

    def of(control):
        names = [label.lane.split("/")[-1] for label in info.labels]
        return [i for i in range(info.num_tickets, num) if names[i] == control]

    def final(i):
        return stacks.take(info.trained.final, i)

    def collect(lanes, measure):
        """`measure(own weights, the ticket's, its mask)` of each of the lanes."""
        for i in lanes:
            ticket = ticket_of[i]
            mask = stacks.take(info.mask, ticket)
            for name, value in measure(final(i), final(ticket), mask).items():
                columns.setdefault(name, np.full(num, np.nan))[i] = value

    if info.trained_before is not None:
        tickets = range(info.num_tickets)
        mask = stacks.first(info.mask, len(tickets))
        names = masks.prunable_names(info.prunable)
        trees = [
            {name: masks.named_leaves(tree)[name] for name in names}
            for tree in (*info.trained_before, info.old_mask, mask)
        ]
        for name, values in jax.device_get(_fates(*trees)).items():
            columns[name] = np.full(num, np.nan)
            columns[name][tickets] = values
        if level_barrier:
            before = info.trained_before[1]
            columns["level_barrier"] = np.full(num, np.nan)
            for i in tickets:
                last = stacks.take(before, i)
                columns["level_barrier"][i] = _barrier(task, last, final(i))
    if info.truth is not None:
        columns |= recovery.measure(task, info)
    elif info.untrained:
        columns |= untrained.measure(task, info)
    collect(of("order"), lambda a, b, _: {"instability": _barrier(task, a, b)})
    collect(of("order"), lambda own, ticket, _: _apart(own, ticket))
    collect(
        of("dense"), lambda own, ticket, mask: _apart(masks.apply(own, mask), ticket)
    )
    return columns


_fates = jax.jit(jax.vmap(movement.by_fate))


def _apart(a, b) -> dict[str, jax.Array]:
    length, angle = connectivity.distance(a, b)
    return {"distance": length, "angle": angle}


def _barrier(task: Task, a, b) -> jax.Array:
    test = task.dataset.test
    sinks = "accuracy" in task.metrics
    metric = task.metrics["accuracy"] if sinks else task.loss
    heights = _heights(task.model.apply, metric, a, b, test.x, test.y)
    return connectivity.barrier(-heights if sinks else heights)


@functools.partial(jax.jit, static_argnums=(0, 1))
def _heights(apply, metric, a, b, x, y):
    def height(params):
        return metric(untrained.outputs(apply, params, x), y)

    return connectivity.along(height, a, b)
