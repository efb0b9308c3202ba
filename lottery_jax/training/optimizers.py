"""Optimizers and learning-rate schedules by name: optax's, but for Adam's division."""

from collections.abc import Callable

import jax
import jax.numpy as jnp
import optax

Optimizer = Callable[[optax.ScalarOrSchedule], optax.GradientTransformation]
"""Learning rate -> transformation."""

Shape = Callable[[int], float]
"""Step -> factor on the learning rate."""


def sgd(momentum: float, weight_decay: float) -> Optimizer:
    """Plain gradient descent; weight decay is added to the gradient."""
    del momentum
    return lambda rate: optax.chain(
        optax.add_decayed_weights(weight_decay), optax.sgd(rate)
    )


def momentum(momentum: float, weight_decay: float) -> Optimizer:
    """Gradient descent with heavy-ball momentum; decay is added to the gradient."""
    return lambda rate: optax.chain(
        optax.add_decayed_weights(weight_decay), optax.sgd(rate, momentum)
    )


def scale_by_adam(b1: float, b2: float, eps: float) -> optax.GradientTransformation:
    """`optax.scale_by_adam` with one division per weight where it has three.

    The bias corrections are scalars, so they are applied to scalars (the order of
    computation at the end of section 2 of arXiv:1412.6980). Equal to optax up to
    rounding; on a CPU, divisions and roots are much of what Adam costs.
    """

    def init(params):
        zeros = optax.tree.zeros_like(params)
        return optax.ScaleByAdamState(jnp.zeros([], jnp.int32), zeros, zeros)

    def update(grads, state, params=None):
        del params
        count = state.count + 1
        mu = optax.tree.update_moment(grads, state.mu, b1, 1)
        nu = optax.tree.update_moment(grads, state.nu, b2, 2)
        root = jnp.sqrt(1 - b2**count)
        rate = root / (1 - b1**count)
        updates = jax.tree.map(
            lambda m, v: rate * (m / (jnp.sqrt(v) + eps * root)), mu, nu
        )
        return updates, optax.ScaleByAdamState(count, mu, nu)

    return optax.GradientTransformation(init, update)


def adam(momentum: float, weight_decay: float) -> Optimizer:
    """Adam (arXiv:1412.6980) with b1 0.9, b2 0.999, eps 1e-8; no weight decay."""
    del momentum, weight_decay
    return lambda rate: optax.chain(
        scale_by_adam(0.9, 0.999, 1e-8), optax.scale_by_learning_rate(rate)
    )


def adamw(momentum: float, weight_decay: float) -> Optimizer:
    """Adam with decoupled weight decay (arXiv:1711.05101)."""
    del momentum
    return lambda rate: optax.chain(
        scale_by_adam(0.9, 0.999, 1e-8),
        optax.add_decayed_weights(weight_decay),
        optax.scale_by_learning_rate(rate),
    )


OPTIMIZERS = {"adam": adam, "adamw": adamw, "momentum": momentum, "sgd": sgd}
"""Name -> `factory(momentum, weight_decay) -> optimizer`."""


def constant(steps: int, milestones: tuple[int, ...], gamma: float) -> Shape:
    """Always 1."""
    del steps, milestones, gamma
    return optax.constant_schedule(1.0)


def cosine(steps: int, milestones: tuple[int, ...], gamma: float) -> Shape:
    """Half a cosine from 1 to 0 over all steps (arXiv:1608.03983)."""
    del milestones, gamma
    return optax.cosine_decay_schedule(1.0, steps)


def piecewise(steps: int, milestones: tuple[int, ...], gamma: float) -> Shape:
    """Multiplied by `gamma` at every milestone (a step)."""
    del steps
    return optax.piecewise_constant_schedule(1.0, dict.fromkeys(milestones, gamma))


SCHEDULES = {"constant": constant, "cosine": cosine, "piecewise": piecewise}
"""Name -> `factory(steps, milestones, gamma) -> shape`."""


def with_warmup(shape: Shape, warmup_steps: int) -> Shape:
    """Rises linearly from 0 over the first `warmup_steps`, then follows `shape`."""
    if not warmup_steps:
        return shape
    rise = optax.linear_schedule(0.0, 1.0, warmup_steps)
    return lambda step: rise(step) * shape(step)
