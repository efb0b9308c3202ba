"""Losses and metrics: means over a batch."""

import jax
import jax.numpy as jnp
import optax

from lottery_jax.types import Dataset, Model, Task


def cross_entropy(outputs: jax.Array, y: jax.Array) -> jax.Array:
    """Softmax cross entropy in nats; outputs are logits [B, classes], y labels [B]."""
    return optax.softmax_cross_entropy_with_integer_labels(outputs, y).mean()


def squared_error(outputs: jax.Array, y: jax.Array) -> jax.Array:
    """Mean squared error over batch and outputs; y is [B] or [B, outputs]."""
    return jnp.mean(jnp.square(outputs - y.reshape(outputs.shape)))


def accuracy(outputs: jax.Array, y: jax.Array) -> jax.Array:
    """Fraction of the batch whose largest logit is the label; NaN logits are wrong."""
    correct = outputs.argmax(-1) == y
    return jnp.mean(correct & ~jnp.isnan(outputs).any(-1))


def make_task(dataset: Dataset, model: Model) -> Task:
    """Classification with cross entropy and accuracy, or regression with its loss."""
    if dataset.num_classes is None:
        return Task(dataset, model, squared_error, {})
    return Task(dataset, model, cross_entropy, {"accuracy": accuracy})
