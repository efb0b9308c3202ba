"""Full-batch training towards a teacher, which is a network of the same kind.

The setting of Zhang et al. (arXiv:2110.05667). A student that starts near the teacher
either comes back to it or not; how many samples that takes is the question.
"""

from collections.abc import Callable

import jax
import jax.numpy as jnp
import numpy as np
import optax
from jax.flatten_util import ravel_pytree

from lottery_jax.tickets import masks
from lottery_jax.training.loop import Data, Train, batches
from lottery_jax.training.optimizers import Optimizer, Shape
from lottery_jax.types import Lane, Mask, Params, Task, Trained

Forward = Callable[[Params, jax.Array], jax.Array]
"""`forward(params, x [B, ...]) -> outputs [B, 1]`."""


def make_train(
    task: Task,
    optimizer: Optimizer,
    schedule: Shape,
    *,
    steps: int,
    batch_size: int,
    test_curve: bool = False,
    tolerance: float,
) -> Train:
    """Builds `train(lane, data, grid) -> Trained`, as `loop.make_train` does.

    Every step sees all samples of the lane: the first `samples` (of its `hypers`) of
    those that its key draws from the training split. The teacher is the start less the
    `perturbation` (of its `hypers`), and all targets are what it says.

    Args:
      task: the network, without state; inputs, whose targets are not used.
      optimizer: learning rate -> optax transformation.
      schedule: step -> factor on the lane's learning rate.
      steps: T, the step at which training ends.
      batch_size: samples that are drawn; a lane uses at most so many.
      test_curve: evaluate the test split at every evaluation too.
      tolerance: relative error |W - W*| / |W*| of a success.

    Returns:
      `train`. Losses are `half_squared_error`. The summary has the columns `samples`;
      `relative_error` and `success`, at the end; `steps_to_success`, the first step
      with such an error, NaN where there was none; and the matrix `gauss_newton` at the
      teacher, which is no column but what `least_eigenvalues` wants.
    """

    def forward(params, x):
        return task.model.apply(params, {}, x, train=False)[0]

    def train(lane: Lane, data: Data, grid: jax.Array) -> Trained:
        examples, validation, test = data
        x = examples.x[batches(lane.key, len(examples.x), batch_size, 1)[0]]
        used = jnp.arange(batch_size) < lane.hypers["samples"]
        teacher = optax.tree.sub(lane.params, lane.hypers["perturbation"])
        y = forward(teacher, x)

        def learning_rate(count):
            count = jnp.minimum(count, steps - 1)
            return lane.hypers["learning_rate"] * schedule(count)

        tx = optax.chain(optimizer(learning_rate), masks.mask_updates(lane.mask))

        def loss(params):
            return half_squared_error(forward(params, x), y, used)

        def relative_error(params):
            off = optax.tree.norm(optax.tree.sub(params, teacher))
            return off / optax.tree.norm(teacher)

        def step(number, carry):
            params, opt_state, reached = carry
            updates, opt_state = tx.update(jax.grad(loss)(params), opt_state, params)
            params = optax.apply_updates(params, updates)
            there = relative_error(params) <= tolerance
            reached = jnp.where(there & jnp.isnan(reached), number + 1.0, reached)
            return params, opt_state, reached

        def evaluate(params, split):
            outputs, targets = forward(params, split.x), forward(teacher, split.x)
            return half_squared_error(outputs, targets, jnp.ones(len(split.x), bool))

        def interval(carry, bounds):
            *carry, best = carry
            carry = params, _, _ = jax.lax.fori_loop(*bounds, step, tuple(carry))
            row = {
                "step": bounds[1],
                "train_loss": loss(params),
                "validation_loss": evaluate(params, validation),
                "relative_error": relative_error(params),
            }
            if test_curve:
                row["test_loss"] = evaluate(params, test)
            lower = row["validation_loss"] < best["validation_loss"]
            now = {name: row[name] for name in ("step", "validation_loss")}
            now["params"] = params
            best = jax.tree.map(lambda new, old: jnp.where(lower, new, old), now, best)
            return (*carry, best), row

        start = masks.apply(lane.params, lane.mask)
        best = {"step": grid[0], "validation_loss": jnp.inf, "params": start}
        before = jnp.concatenate([grid[:1], grid[:-1]])
        (final, _, reached, best), history = jax.lax.scan(
            interval, (start, tx.init(start), jnp.nan, best), (before, grid)
        )
        last = {name: values[-1] for name, values in history.items()}
        summary = {
            "early_stop_step": best["step"],
            "early_stop_test_loss": evaluate(best["params"], test),
            "test_loss": evaluate(final, test),
            "train_loss": last["train_loss"],
            "validation_loss": last["validation_loss"],
            "samples": lane.hypers["samples"],
            "relative_error": last["relative_error"],
            "success": last["relative_error"] <= tolerance,
            "steps_to_success": reached,
            "gauss_newton": gauss_newton(forward, teacher, x, used),
        }
        return Trained(final, best["params"], {}, history, summary)

    return train


def half_squared_error(outputs, targets, used) -> jax.Array:
    """(1/2N) sum (targets - outputs)^2 over the N samples in use; all arrays [B, ...].

    Half of the squared error that other algorithms report: the paper's loss.
    """
    squares = jnp.square(outputs - targets).reshape(len(used), -1).sum(1)
    return jnp.sum(jnp.where(used, squares, 0)) / (2 * jnp.sum(used))


def gauss_newton(
    forward: Forward, teacher: Params, x: jax.Array, used: jax.Array
) -> jax.Array:
    """The Gauss-Newton matrix of the loss in all P weights, at the teacher: [P, P].

    There it is the Hessian, where that exists. All lanes' leave the program: N P^2
    numbers, 50 MB for 200 lanes of 250 weights.

    Args:
      forward: of a network with one output.
      teacher: its weights.
      x: inputs [B, ...].
      used: which of them are seen, bool [B].
    """
    weights, unravel = ravel_pytree(teacher)

    def output(weights, x):
        return forward(unravel(weights), x[None])[0, 0]

    jacobian = jax.vmap(jax.grad(output), (None, 0))(weights, x)
    jacobian = jnp.where(used[:, None], jacobian, 0)
    return jacobian.T @ jacobian / jnp.sum(used)


def least_eigenvalues(matrices: jax.Array, mask: Mask) -> np.ndarray:
    """Of symmetric matrices [N, P, P] in the weights that a mask [N, ...] keeps: [N].

    Zero: some direction costs nothing, as with fewer samples than kept weights. Not for
    compiled programs: there LAPACK may run on a thread of the pool that it waits for,
    and with programs on several devices none is left (jaxlib 0.10.2 hangs). NaN where
    a matrix is not finite.
    """

    def least(matrix):
        return np.linalg.eigvalsh(matrix)[0] if np.isfinite(matrix).all() else np.nan

    leaves = [np.asarray(leaf) for leaf in jax.tree.leaves(mask)]
    kept = np.concatenate([leaf.reshape(len(leaf), -1) for leaf in leaves], axis=1)
    return np.array(
        [
            least(matrix[np.ix_(own, own)])
            for matrix, own in zip(np.asarray(matrices), kept, strict=True)
        ]
    )
