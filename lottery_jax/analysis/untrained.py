"""What masks are worth while the weights under them are as they were drawn."""

import functools

import jax

from lottery_jax.algorithms.base import RoundInfo
from lottery_jax.tickets import masks
from lottery_jax.training.loop import EVALUATION_VALUES, in_chunks
from lottery_jax.types import Params, Task


def outputs(apply, params: Params, x: jax.Array) -> jax.Array:
    """Of a network without state, for many examples."""

    def forward(x):
        return apply(params, {}, x, train=False)[0]

    return in_chunks(forward, x, EVALUATION_VALUES)


def metric_of(task: Task):
    """What it is judged by: ("accuracy", function), or the loss in its place."""
    if "accuracy" in task.metrics:
        return "accuracy", task.metrics["accuracy"]
    return "loss", task.loss


def measure(task: Task, info: RoundInfo) -> dict[str, jax.Array]:
    """Column [N] of a round: `untrained_test_accuracy` (regression: `..._loss`)."""
    name, metric = metric_of(task)
    lanes = info.lanes.params, info.mask
    found = _measure(task.model.apply, metric, lanes, *task.dataset.test)
    return {f"untrained_test_{name}": jax.device_get(found)}


@functools.partial(jax.jit, static_argnums=(0, 1))
def _measure(apply, metric, lanes, x, y):
    def one(lane):
        return metric(outputs(apply, masks.apply(*lane), x), y)

    return jax.lax.map(one, lanes)
