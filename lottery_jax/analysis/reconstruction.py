"""What a topology can be, without data: how well it reconstructs random matrices.

The data-free heuristic of NeuroFabric (Isakov & Kinsy, arXiv:2002.08339): the least
error of a dense matrix as the product of sparse ones on fixed supports.
"""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import optax

from lottery_jax.tickets.topology import draw, sparse_xavier
from lottery_jax.types import Key


def random_targets(key: Key, num: int, nodes: int) -> jax.Array:
    """Gaussian matrices [num, N, N] that leave the size of their inputs as it is."""
    return jax.random.normal(key, (num, nodes, nodes)) / jnp.sqrt(nodes)


@functools.partial(jax.jit, static_argnames=("steps",))
def reconstruction_error(
    key: Key,
    supports: jax.Array,
    targets: jax.Array,
    *,
    steps: int = 1500,
    learning_rate: float = 0.03,
) -> jax.Array:
    """||W - sum_p S_p1 S_p2 ... S_pS||^2 / ||W||^2 at the end of Adam, per target.

    The paper's text is not public: optimizer, steps and targets are ours. The learning
    rate falls to zero as a cosine.

    Args:
      key: of the weights to start from, other ones for every target.
      supports: of one cascade, bool [P, S, N, N].
      targets: W, dense [T, N, N].
      steps: of Adam.
      learning_rate: the highest.

    Returns:
      Errors [T]; 0: exact, 1: no better than nothing.
    """
    schedule = optax.cosine_decay_schedule(learning_rate, steps)
    optimizer = optax.adam(schedule)

    def error(weights, target):
        weights = jnp.where(supports, weights, 0)
        product = weights[:, 0]
        for stage in range(1, supports.shape[1]):
            product = product @ weights[:, stage]
        return jnp.sum((target - product.sum(0)) ** 2) / jnp.sum(target**2)

    def one(key, target):
        weights = draw(key, supports, sparse_xavier)

        def step(_, carry):
            weights, state = carry
            updates, state = optimizer.update(jax.grad(error)(weights, target), state)
            return optax.apply_updates(weights, updates), state

        start = (weights, optimizer.init(weights))
        weights, _ = jax.lax.fori_loop(0, steps, step, start)
        return error(weights, target)

    return jax.vmap(one)(jax.random.split(key, len(targets)), targets)


def low_rank_error(target: np.ndarray, rank: int) -> float:
    """The same of the best matrix of this rank, which has 2 N rank parameters."""
    squares = np.linalg.svd(np.asarray(target), compute_uv=False) ** 2
    return float(squares[rank:].sum() / squares.sum())
