"""The training loop: from a lane to a trained lane, compiled once for all rounds.

A scan over evaluations of a loop over optimizer steps. Data, masks, keys,
hyper-parameters and even the steps at which to evaluate are arguments, so that neither
another round nor another rewind step compiles anything.
"""

from collections.abc import Callable, Mapping

import jax
import jax.numpy as jnp
import optax

from lottery_jax.tickets import masks
from lottery_jax.training.optimizers import Optimizer, Shape
from lottery_jax.types import Lane, Split, Task, Trained

Data = tuple[Split, Split, Split]
"""Train, validation and test split on the device."""

Train = Callable[[Lane, Data, jax.Array], Trained]

EVALUATION_VALUES = 2**18
"""Input values of a lane that are evaluated at once: they stay in a core's cache."""


def make_train(
    task: Task,
    optimizer: Optimizer,
    schedule: Shape,
    *,
    steps: int,
    batch_size: int,
    snapshots: Mapping[str, int] | None = None,
    test_curve: bool = False,
    train_metrics: bool = False,
    keep_pruned: bool = False,
    link: Callable[[Lane], optax.GradientTransformation] | None = None,
    best_from: int = 0,
) -> Train:
    """Builds `train(lane, data, grid) -> Trained`, a pure function.

    Every epoch is a fresh permutation of the training split, cut to whole batches; step
    k always sees the k-th batch of the lane's key, also in a run that starts later.

    Args:
      task: network, loss, metrics.
      optimizer: learning rate -> optax transformation.
      schedule: step -> factor on the lane's learning rate.
      steps: T, the step at which training ends.
      batch_size: examples per step.
      snapshots: name -> step (on the grid) at which to keep the params.
      test_curve: evaluate the test split at every evaluation too.
      train_metrics: metrics of the batches too, means since the last evaluation.
      keep_pruned: pruned weights stay at what the lane has for them; else they are 0.
      link: lane -> last link of its optimizer chain; it sees the masked updates.
      best_from: the earliest step that may be the early-stop step.

    Returns:
      `train`; its `grid` (int32 [T], rising) holds the steps at which to evaluate, the
      first being the step that training starts from; a step may stand there twice.
    """
    snapshots = dict(snapshots or {})

    def train(lane: Lane, data: Data, grid: jax.Array) -> Trained:
        examples, validation, test = data
        order = batches(lane.key, len(examples.x), batch_size, steps)
        # State starts anew with every lane; where it is random it is the lane's own.
        _, model_state = task.model.init(lane.key)
        start = lane.params if keep_pruned else masks.apply(lane.params, lane.mask)

        def learning_rate(count):
            step = grid[0] + count + lane.hypers["schedule_offset"]
            return lane.hypers["learning_rate"] * schedule(jnp.minimum(step, steps - 1))

        tx = optax.chain(optimizer(learning_rate), masks.mask_updates(lane.mask))
        if link is not None:
            tx = optax.chain(tx, link(lane))
        seen = {"loss": task.loss, **(task.metrics if train_metrics else {})}

        def loss(params, model_state, batch):
            outputs, model_state = task.model.apply(
                params, model_state, examples.x[batch], train=True
            )
            values = {name: f(outputs, examples.y[batch]) for name, f in seen.items()}
            return values["loss"], (values, model_state)

        def step(number, carry):
            params, model_state, opt_state, totals = carry
            (_, (values, model_state)), grads = jax.value_and_grad(loss, has_aux=True)(
                params, model_state, order[number]
            )
            updates, opt_state = tx.update(grads, opt_state, params)
            params = optax.apply_updates(params, updates)
            totals = jax.tree.map(jnp.add, totals, values)
            return params, model_state, opt_state, totals

        def evaluate(params, model_state, split, name):
            def forward(x):
                return task.model.apply(params, model_state, x, train=False)[0]

            outputs = in_chunks(forward, split.x, EVALUATION_VALUES)
            values = {"loss": task.loss, **task.metrics}
            return {f"{name}_{key}": f(outputs, split.y) for key, f in values.items()}

        def interval(carry, bounds):
            params, model_state, opt_state, best, kept = carry
            first, last = bounds
            params, model_state, opt_state, totals = jax.lax.fori_loop(
                first,
                last,
                step,
                (params, model_state, opt_state, dict.fromkeys(seen, 0.0)),
            )
            row = {"step": last} | {
                f"train_{name}": total / jnp.maximum(last - first, 1)
                for name, total in totals.items()
            }
            row |= evaluate(params, model_state, validation, "validation")
            if test_curve:
                row |= evaluate(params, model_state, test, "test")

            lower = row["validation_loss"] < best["validation_loss"]
            # From `best_from` on, whatever comes first, and then what is lower.
            lower = (last >= best_from) & (lower | (best["step"] < best_from))
            now = {
                "step": last,
                "validation_loss": row["validation_loss"],
                "params": params,
                "model_state": model_state,
            }
            best = jax.tree.map(lambda new, old: jnp.where(lower, new, old), now, best)
            kept = {
                name: jax.tree.map(
                    lambda new, old, at=at: jnp.where(last == at, new, old),
                    params,
                    kept[name],
                )
                for name, at in snapshots.items()
            }
            return (params, model_state, opt_state, best, kept), row

        best = {
            "step": grid[0],
            "validation_loss": jnp.inf,
            "params": start,
            "model_state": model_state,
        }
        carry = (
            start,
            model_state,
            tx.init(start),
            best,
            dict.fromkeys(snapshots, start),
        )
        before = jnp.concatenate([grid[:1], grid[:-1]])
        (final, model_state, _, best, kept), history = jax.lax.scan(
            interval, carry, (before, grid)
        )

        at_early_stop = evaluate(best["params"], best["model_state"], test, "test")
        summary = {"early_stop_step": best["step"]}
        summary |= {f"early_stop_{key}": value for key, value in at_early_stop.items()}
        for split, name in [(test, "test"), (examples, "train")]:
            summary |= evaluate(final, model_state, split, name)
        last = {key: values[-1] for key, values in history.items()}
        summary |= {key: last[key] for key in last if key.startswith("validation")}
        return Trained(final, best["params"], kept, history, summary)

    return train


def in_chunks(forward: Callable, x: jax.Array, values: int) -> jax.Array:
    """`forward(x)` for many examples [n, ...], in even chunks of so many values."""
    chunks = min(-(-x.size // values), len(x))
    if chunks == 1:
        return forward(x)
    # Rather some more chunks than a remainder, which is compiled apart.
    even = (number for number in range(chunks, 2 * chunks) if len(x) % number == 0)
    chunks = next(even, chunks)
    size = len(x) // chunks

    def chunk(number):
        # Cut here, one at a time: a reshaped x[:chunks * size] would copy nearly all.
        return forward(jax.lax.dynamic_slice_in_dim(x, number * size, size))

    outputs = jax.lax.map(chunk, jnp.arange(chunks))
    outputs = outputs.reshape(chunks * size, *outputs.shape[2:])
    if len(outputs) == len(x):
        return outputs
    return jnp.concatenate([outputs, forward(x[chunks * size :])])


def batches(key: jax.Array, num: int, batch_size: int, steps: int) -> jax.Array:
    """Indices of the examples of every step: int32 [steps, batch_size].

    Drawn epoch by epoch without replacement; what does not fill a batch is left out of
    that epoch.
    """
    per_epoch = num // batch_size
    epochs = -(-steps // per_epoch)

    def epoch(number):
        # Sorting random bits: half the time of jax.random.permutation, which does it
        # twice to break ties that hardly ever are.
        order = argsort(jax.random.bits(jax.random.fold_in(key, number), (num,)))
        return order[: per_epoch * batch_size].reshape(per_epoch, batch_size)

    order = jax.lax.map(epoch, jnp.arange(epochs))
    return order.reshape(-1, batch_size)[:steps]


def argsort(bits: jax.Array) -> jax.Array:
    """Indices that sort uint32 [n], equal ones in order, as jnp.argsort."""
    if len(bits) > 2**16:
        return jnp.argsort(bits)
    # By the lower half, then by the upper: an index fits into the half that is left.
    # Sorting numbers twice takes half the time of sorting pairs once.
    lower, index = jnp.uint32(0xFFFF), jnp.arange(len(bits), dtype=jnp.uint32)
    order = jnp.sort(bits << 16 | index) & lower
    order = order[jnp.sort(bits[order] & ~lower | index) & lower]
    return order.astype(jnp.int32)


def evaluation_grid(
    steps: int, eval_every: int, snapshots: Mapping[str, int], start: int = 0
) -> list[int]:
    """Steps at which to evaluate: 0, every `eval_every`, named steps, the last.

    The length does not depend on `start`: earlier steps are moved up to it, so that a
    run from a rewind step has the same shapes. A step that stands twice is evaluated
    twice, with no training in between.
    """
    grid = {0, *range(0, steps, eval_every), *snapshots.values(), steps}
    return [max(step, start) for step in sorted(grid)]
