"""Optimizers and learning-rate schedules by name, all of them optax's."""

from collections.abc import Callable

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


def adam(momentum: float, weight_decay: float) -> Optimizer:
    """Adam (arXiv:1412.6980) with b1 0.9, b2 0.999, eps 1e-8; no weight decay."""
    del momentum, weight_decay
    return optax.adam


def adamw(momentum: float, weight_decay: float) -> Optimizer:
    """Adam with decoupled weight decay (arXiv:1711.05101)."""
    del momentum
    return lambda rate: optax.adamw(rate, weight_decay=weight_decay)


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
