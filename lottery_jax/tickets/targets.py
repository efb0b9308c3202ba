"""Small networks, made by hand, that solve a task: what is planted (Plant 'n' Seek).

Fischer & Burkholz, arXiv:2111.11153; the constructions are those of their public code
(RelationalML/PlantNSeek), in float64. A network of depth D has D layers of units with
the inputs and D - 1 matrices; ReLU between layers, the last one linear.

A *block* interpolates a function of one variable linearly between knots s_k, with one
hidden unit relu(sign_k (x - s_k)) per knot.
"""

from collections.abc import Callable, Sequence
from typing import NamedTuple

import numpy as np

from lottery_jax.errors import ConfigError

DUST = 1e-9
"""Weights below it are rounding: 0."""

KNOTS = 10
"""Of a square function in the circle networks, before folding."""

CLASS_SCALES, CLASS_BOUNDS = (5.0, 10.0, 20.0, 40.0), (0.2, 0.5, 0.7)
"""Slopes of the logits in the squared radius, and where the classes meet."""


class Layer(NamedTuple):
    """x @ kernel + bias: [in, out] and [out]."""

    kernel: np.ndarray
    bias: np.ndarray


Target = list[Layer]


def block(
    function: Callable, knots: np.ndarray, signs: Sequence[int]
) -> tuple[Layer, Layer]:
    """Two layers, one input and one output, that interpolate `function` at the knots.

    Args:
      function: of one variable.
      knots: [n], evenly spaced; the last slope goes on beyond the last knot.
      signs: n of +1 and -1, the first +1: where each unit is active.
    """
    signs = np.asarray(signs, np.float64)
    values = function(np.append(knots, 2 * knots[-1] - knots[-2]))
    slopes = np.diff(values) / (knots[1] - knots[0])
    steps = np.append(slopes[:1], np.diff(slopes))
    steps[0] += steps[1:][signs[1:] < 0].sum()
    offset = values[0] - steps @ np.maximum(signs * (knots[0] - knots), 0)
    return (
        Layer(signs[None], -signs * knots),
        Layer(steps[:, None], np.array([offset])),
    )


def _alternating(num: int) -> np.ndarray:
    return np.where(np.arange(num) % 2, -1, 1)


def relu(depth: int) -> Target:
    """One unit in every layer, weight 1: max(x, 0)."""
    return [_linear(np.ones((1, 1))) for _ in range(depth - 1)]


def circle(depth: int) -> Target:
    """Four logits that are linear in an interpolated squared radius."""
    last_sign = -1 if depth < 5 else 1
    if depth == 3:
        knots = [np.linspace(-1, 1, KNOTS)] * 2
        return _logits([], np.eye(2), knots, last_sign)
    halves = np.array([[1.0, -1, 0, 0], [0, 0, 1, -1]])
    knots = [np.linspace(0, 1, KNOTS)] * 2
    if depth == 4:
        return _logits([_linear(halves)], np.abs(halves).T, knots, last_sign)
    layers = [_linear(halves), _linear(np.abs(halves).T)]
    if depth == 5:
        return _logits(layers, np.eye(2), knots, last_sign)
    # Each folding halves the angle that is left: p is the radius, nearly, and q small.
    together = np.eye(2)
    for number in range(depth - 5):
        angle = np.pi / 4 / 2**number
        turn = [[np.cos(angle), np.sin(angle)], [np.sin(angle), -np.cos(angle)]]
        p, q = np.array(turn)
        layers.append(_linear(together @ np.stack([p, q, -q], axis=1)))
        together = np.array([[1.0, 0], [0, 1], [0, 1]])
    high = np.sqrt(2)
    small = np.sin(angle) * np.sqrt(CLASS_BOUNDS[-1]) + 0.01
    num = min(int(np.ceil(2 * KNOTS * high / (small + high))), 2 * KNOTS - 3)
    knots = [np.linspace(0, high, num), np.linspace(0, small, max(2 * KNOTS - num, 3))]
    return _logits(layers, together, knots, last_sign)


def _logits(layers: Target, together, knots, last_sign: int) -> Target:
    """Adds the squares of two numbers, each the sum of units `together` [in, 2]."""
    kernels, biases, squares, offset = [], [], [], 0.0
    for column, at in zip(together.T, knots, strict=True):
        signs = np.append(_alternating(len(at))[:-1], last_sign)
        units, out = block(np.square, at, signs)
        kernels.append(column[:, None] * units.kernel)
        biases.append(units.bias)
        squares.append(out.kernel[:, 0])
        offset += out.bias[0]
    scales = np.array(CLASS_SCALES)
    # The logits of two classes are equal where they meet.
    starts = np.cumsum(np.append(0, -np.diff(scales) * CLASS_BOUNDS))
    return [
        *layers,
        Layer(np.concatenate(kernels, axis=1), np.concatenate(biases)),
        Layer(np.outer(np.concatenate(squares), scales), starts + scales * offset),
    ]


def helix_curve(x: np.ndarray) -> np.ndarray:
    """Points [..., 3] of a helix that widens as it rises, for x in [-1, 1]."""
    t = 5 * np.pi + 3 * np.pi * x
    return np.stack([t * np.cos(t), t * np.sin(t), t], axis=-1) / (8 * np.pi)


def helix(depth: int) -> Target:
    """Three coordinates interpolated between 30 knots that they share."""
    shift = 0.0 if depth == 3 else 1.0  # deeper networks move x to [0, 2] first
    knots = np.linspace(-1, 1, 30) + shift
    parts = [
        block(lambda x, i=i: helix_curve(x - shift)[..., i], knots, _alternating(30))
        for i in range(3)
    ]
    units = parts[0][0]
    kernel = np.concatenate([out.kernel for _, out in parts], axis=1)
    bias = np.concatenate([out.bias for _, out in parts])
    if depth == 3:
        return [units, Layer(kernel, bias)]
    layers = [Layer(np.ones((1, 1)), np.ones(1)), units]
    if depth == 4:
        return [*layers, Layer(kernel, bias)]
    # Positive, so that the identities after it pass a ReLU; the last one undoes it.
    same = [_linear(np.eye(3)) for _ in range(depth - 4)]
    same[-1] = Layer(np.eye(3), -np.ones(3))
    return [*layers, Layer(kernel, bias + 1), *same]


def _linear(kernel: np.ndarray) -> Layer:
    return Layer(kernel, np.zeros(kernel.shape[1]))


TARGETS = {"circle": circle, "helix": helix, "relu": relu}
"""Name of a task -> `target(depth) -> layers`; the dataset has the same name."""


def make_target(name: str, depth: int) -> Target:
    """The hand-made network of a task, without dust.

    Args:
      name: in `TARGETS`.
      depth: layers of units, the inputs being one: at least 3.

    Raises:
      ConfigError: a depth that it cannot have.
    """
    if depth < 3:
        problem = f"{depth - 2} hidden layers: the target {name} needs at least 1"
        raise ConfigError("planting.target", problem)
    layers = TARGETS[name](depth)
    return [
        Layer(*(np.where(np.abs(leaf) > DUST, leaf, 0.0) for leaf in layer))
        for layer in layers
    ]


def apply(target: Target, x: np.ndarray) -> np.ndarray:
    """Outputs [B, out] in float64."""
    for layer in target[:-1]:
        x = np.maximum(x @ layer.kernel + layer.bias, 0)
    return x @ target[-1].kernel + target[-1].bias


def density(target: Target, units: Sequence[int]) -> float:
    """Part of the weights and biases of a large network that the target takes.

    Args:
      target: small network.
      units: of every layer of the large one, inputs and outputs too.
    """
    own = sum(int(np.count_nonzero(leaf)) for layer in target for leaf in layer)
    weights = sum(a * b for a, b in zip(units, units[1:], strict=False))
    return own / (weights + sum(units[1:]))
