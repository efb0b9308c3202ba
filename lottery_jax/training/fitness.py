"""How good a candidate is: its losses after a short training, or after none.

The trainability of Neuroevolutionary Ticket Search: all candidates of all generations
see the same examples in the same order, those of the training split as they stand, so
that what is measured is the candidate. What was trained is thrown away. A fitness is a
term of these losses and a penalty on the density.
"""

import functools
from collections.abc import Callable
from typing import NamedTuple

import jax
import jax.numpy as jnp
import optax

from lottery_jax.tickets import masks
from lottery_jax.tickets.layers import layers_of
from lottery_jax.training.loop import EVALUATION_VALUES, Data, Train, in_chunks
from lottery_jax.training.optimizers import Optimizer, Shape
from lottery_jax.types import Lane, Model, Task, Trained

TINY = 128
"""Multiplications of a batch in a layer, up to which a matrix product costs more."""


class Term(NamedTuple):
    """What a fitness is made of beside the penalty.

    Attributes:
      splits: of the data to measure on.
      value: `value(columns) -> loss`, from the columns that were measured.
    """

    splits: tuple[str, ...]
    value: Callable[[dict[str, jax.Array]], jax.Array]


TERMS = {
    "last_batch_loss": Term(("validation",), lambda found: found["last_batch_loss"]),
    "train_and_validation_loss": Term(
        ("train", "validation"),
        lambda found: found["train_loss"] + found["validation_loss"],
    ),
    "train_loss": Term(("train",), lambda found: found["train_loss"]),
    "validation_error": Term(
        ("validation",), lambda found: 1 - found["validation_accuracy"]
    ),
    "validation_loss": Term(("validation",), lambda found: found["validation_loss"]),
}
"""Name -> term; the published code took `last_batch_loss` for its validation loss."""


def quadratic(density: jax.Array, target: float) -> jax.Array:
    """((d - target) / (1 - target))^2: 1 where all is kept, 0 at the target."""
    return jnp.square((density - target) / (1 - target))


PENALTIES = {
    "none": lambda density, target: 0 * density,
    "one_sided": lambda density, target: quadratic(
        jnp.maximum(density, target), target
    ),
    "quadratic": quadratic,
}
"""Name -> `penalty(density, target)`."""

DENSITIES = {"global": masks.density, "layer_mean": masks.layer_mean_density}
"""Name -> `density(masks [N, ...], prunable) -> [N]`."""


def with_tiny_products(model: Model, batch_size: int) -> Model:
    """The same network, its tiny dense layers written as sums.

    For XLA a matrix product is a call, which takes longer than eighty multiplications;
    sums become part of the loop around them. Results agree to float rounding.

    Args:
      model: the network.
      batch_size: examples per step.
    """
    sizes = layers_of(model).sizes
    tiny = [name for name in model.dense if batch_size * sizes[name] <= TINY]
    if not tiny:
        return model

    def product(x, kernel):
        return jnp.sum(x[:, :, None] * kernel[None], axis=1)

    apply = functools.partial(model.apply, products=dict.fromkeys(tiny, product))
    return model._replace(apply=apply)


def make_train(
    task: Task,
    optimizer: Optimizer,
    schedule: Shape,
    *,
    steps: int,
    batch_size: int,
    trained: bool = True,
    splits: tuple[str, ...] = ("validation",),
) -> Train:
    """Builds `measure(lane, data, grid) -> Trained`, as `loop.make_train` does.

    Args:
      task: the network, without state; its loss and metrics.
      optimizer: learning rate -> optax transformation.
      schedule: step -> factor on the lane's learning rate.
      steps: not used: the last entry of the grid is where the training ends.
      batch_size: examples per step; what does not fill a batch at the end of the
        training split is left out, then it starts anew.
      trained: whether there is any training.
      splits: what to measure on afterwards, "train" and "validation".

    Returns:
      `measure`; it does not use the key of the lane, and of what was trained only the
      summary is left: the loss and the metrics of `splits`, `train_loss` for one, and
      where there is a training also `last_batch_loss`, of its last step.
    """
    del steps

    def forward(params, x, *, train):
        return task.model.apply(params, {}, x, train=train)[0]

    def measure(lane: Lane, data: Data, grid: jax.Array) -> Trained:
        params, columns = masks.apply(lane.params, lane.mask), {}
        if trained:
            params, columns["last_batch_loss"] = train(lane, params, data[0], grid[-1])
        places = {"train": data[0], "validation": data[1]}
        for name in splits:
            split = places[name]
            outputs = in_chunks(
                lambda x: forward(params, x, train=False), split.x, EVALUATION_VALUES
            )
            measures = {"loss": task.loss, **task.metrics}
            columns |= {f"{name}_{k}": f(outputs, split.y) for k, f in measures.items()}
        return Trained({}, {}, {}, {}, columns)

    def train(lane, params, examples, steps):
        batches = len(examples.x) // batch_size

        def learning_rate(count):
            return lane.hypers["learning_rate"] * schedule(count)

        tx = optax.chain(optimizer(learning_rate), masks.mask_updates(lane.mask))

        def step(number, carry):
            params, opt_state, _ = carry
            first = number % batches * batch_size
            x, y = (
                # Without an index where there is one batch: a copy in every step.
                leaf[:batch_size]
                if batches == 1
                else jax.lax.dynamic_slice_in_dim(leaf, first, batch_size)
                for leaf in examples
            )

            def loss(params):
                return task.loss(forward(params, x, train=True), y)

            value, grads = jax.value_and_grad(loss)(params)
            updates, opt_state = tx.update(grads, opt_state, params)
            return optax.apply_updates(params, updates), opt_state, value

        start = params, tx.init(params), jnp.float32(0)
        params, _, last = jax.lax.fori_loop(0, steps, step, start)
        return params, last

    return measure
