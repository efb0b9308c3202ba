"""Fully connected networks: `mlp` of any widths, LeNet-300-100, committees."""

from collections.abc import Sequence

import flax.linen as nn

from lottery_jax.errors import ConfigError
from lottery_jax.models.base import INITIALIZERS, from_linen, with_bias
from lottery_jax.types import Model

ACTIVATIONS = {"relu": nn.relu, "sigmoid": nn.sigmoid, "tanh": nn.tanh}
"""Name -> function of a hidden unit."""


class Mlp(nn.Module):
    """Dense layers; they are named dense_0, dense_1, ..., output."""

    hidden: Sequence[int]
    num_outputs: int
    kernel_init: nn.initializers.Initializer
    activation: str = "relu"
    biases: str = "zeros"

    @nn.compact
    def __call__(self, x):
        def dense(width, name):
            bias = with_bias(self.biases)
            return nn.Dense(width, kernel_init=self.kernel_init, name=name, **bias)

        x = x.reshape((x.shape[0], -1))
        for i, width in enumerate(self.hidden):
            x = ACTIVATIONS[self.activation](dense(width, f"dense_{i}")(x))
        return dense(self.num_outputs, "output")(x)


def mlp(
    input_shape: tuple[int, ...],
    num_outputs: int,
    *,
    hidden: Sequence[int] = (300, 100),
    initializer: str = "glorot_normal",
    activation: str = "relu",
    biases: str = "zeros",
) -> Model:
    """Multi-layer perceptron on flattened inputs.

    Args:
      input_shape: of one example.
      num_outputs: width of the output layer.
      hidden: widths of the hidden layers.
      initializer: name in `INITIALIZERS`.
      activation: name in `ACTIVATIONS`.
      biases: name in `BIASES`.
    """
    kernel_init = INITIALIZERS[initializer]
    module = Mlp(tuple(hidden), num_outputs, kernel_init, activation, biases)
    return from_linen(module, input_shape)


def lenet_300_100(
    input_shape: tuple[int, ...],
    num_outputs: int,
    *,
    initializer: str = "glorot_normal",
    biases: str = "zeros",
) -> Model:
    """LeNet-300-100 (LeCun et al., 1998): on MNIST 266,200 weights and 410 biases."""
    return mlp(
        input_shape,
        num_outputs,
        hidden=(300, 100),
        initializer=initializer,
        biases=biases,
    )


class Committee(nn.Module):
    """One hidden layer without biases, dense_0; an output is the mean of its units."""

    width: int
    num_outputs: int
    kernel_init: nn.initializers.Initializer

    @nn.compact
    def __call__(self, x):
        x = x.reshape((x.shape[0], -1))
        units = self.num_outputs * self.width
        x = nn.Dense(
            units, use_bias=False, kernel_init=self.kernel_init, name="dense_0"
        )(x)
        return nn.relu(x).reshape((x.shape[0], self.num_outputs, self.width)).mean(-1)


def committee(
    input_shape: tuple[int, ...],
    num_outputs: int,
    *,
    hidden: Sequence[int] = (5,),
    initializer: str = "glorot_normal",
) -> Model:
    """Soft committee machine: every output the mean of its own K ReLU units.

    `hidden` is (K,). Only the hidden layer has weights, as in arXiv:2110.05667.
    """
    if len(hidden) != 1:
        raise ConfigError("model.hidden", f"{hidden}: a committee has one layer")
    module = Committee(*hidden, num_outputs, INITIALIZERS[initializer])
    return from_linen(module, input_shape)
