"""Losses and metrics: means over a batch."""

from collections.abc import Callable
from typing import NamedTuple

import jax
import jax.numpy as jnp
import optax

from lottery_jax.errors import ConfigError
from lottery_jax.types import Dataset, Metrics, Model, Task


def cross_entropy(outputs: jax.Array, y: jax.Array) -> jax.Array:
    """Softmax cross entropy in nats; outputs are logits [B, classes], y labels [B]."""
    return optax.softmax_cross_entropy_with_integer_labels(outputs, y).mean()


def squared_error(outputs: jax.Array, y: jax.Array) -> jax.Array:
    """Mean squared error over batch and outputs; y is [B] or [B, outputs]."""
    return jnp.mean(jnp.square(outputs - y.reshape(outputs.shape)))


def logistic(outputs: jax.Array, y: jax.Array) -> jax.Array:
    """Cross entropy in nats of one logit [B, 1] for two classes; y labels [B]."""
    return optax.sigmoid_binary_cross_entropy(outputs[:, 0], y).mean()


def brier(outputs: jax.Array, y: jax.Array) -> jax.Array:
    """Mean squared error of the probability that one logit [B, 1] gives class 1."""
    return jnp.mean(jnp.square(jax.nn.sigmoid(outputs[:, 0]) - y))


def accuracy(outputs: jax.Array, y: jax.Array) -> jax.Array:
    """Fraction of the batch whose largest logit is the label; NaN logits are wrong."""
    correct = outputs.argmax(-1) == y
    return jnp.mean(correct & ~jnp.isnan(outputs).any(-1))


def accuracy_of_one(outputs: jax.Array, y: jax.Array) -> jax.Array:
    """The same where one logit [B, 1] decides between two classes."""
    logit = outputs[:, 0]
    return jnp.mean(((logit > 0) == y) & ~jnp.isnan(logit))


class Loss(NamedTuple):
    """What a network is trained on.

    Attributes:
      function: `function(outputs [B, ...], y [B]) -> scalar`.
      metrics: what is measured beside it.
      one_output: it takes one logit, for two classes.
    """

    function: Callable
    metrics: Metrics
    one_output: bool = False


LOSSES = {
    "brier": Loss(brier, {"accuracy": accuracy_of_one}, one_output=True),
    "cross_entropy": Loss(cross_entropy, {"accuracy": accuracy}),
    "logistic": Loss(logistic, {"accuracy": accuracy_of_one}, one_output=True),
    "squared_error": Loss(squared_error, {}),
}
"""Name -> `Loss`; `squared_error` is for regression, all others for classes."""


def loss_of(dataset: Dataset, name: str | None = None) -> Loss:
    """By its name; None: the usual one for such data.

    Raises:
      ConfigError: a loss for other data.
    """
    classes = dataset.num_classes
    loss = LOSSES[name or ("cross_entropy" if classes else "squared_error")]
    if (loss.function is squared_error) != (classes is None):
        kind = f"has {classes} classes" if classes else "has no classes"
        raise ConfigError("train.loss", f"{name}: {dataset.name} {kind}")
    if loss.one_output and classes != 2:
        problem = f"{name}: is for two classes, {dataset.name} has {classes}"
        raise ConfigError("train.loss", problem)
    return loss


def make_task(dataset: Dataset, model: Model, loss: str | None = None) -> Task:
    """The task of a loss in `LOSSES`; None: the usual one for such data."""
    found = loss_of(dataset, loss)
    return Task(dataset, model, found.function, found.metrics)
