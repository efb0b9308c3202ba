"""Fully connected networks: `mlp` of any widths and LeNet-300-100."""

from collections.abc import Sequence

import flax.linen as nn

from lottery_jax.models.base import INITIALIZERS, from_linen
from lottery_jax.types import Model


class Mlp(nn.Module):
    """Dense layers with ReLU; layers are named dense_0, dense_1, ..., output."""

    hidden: Sequence[int]
    num_outputs: int
    kernel_init: nn.initializers.Initializer

    @nn.compact
    def __call__(self, x):
        x = x.reshape((len(x), -1))
        for i, width in enumerate(self.hidden):
            x = nn.Dense(width, kernel_init=self.kernel_init, name=f"dense_{i}")(x)
            x = nn.relu(x)
        return nn.Dense(self.num_outputs, kernel_init=self.kernel_init, name="output")(
            x
        )


def mlp(
    input_shape: tuple[int, ...],
    num_outputs: int,
    *,
    hidden: Sequence[int] = (300, 100),
    initializer: str = "glorot_normal",
) -> Model:
    """Multi-layer perceptron on flattened inputs with ReLU; `hidden` are the widths."""
    module = Mlp(tuple(hidden), num_outputs, INITIALIZERS[initializer])
    return from_linen(module, input_shape)


def lenet_300_100(
    input_shape: tuple[int, ...],
    num_outputs: int,
    *,
    initializer: str = "glorot_normal",
) -> Model:
    """LeNet-300-100 (LeCun et al., 1998): on MNIST 266,200 weights and 410 biases."""
    return mlp(input_shape, num_outputs, hidden=(300, 100), initializer=initializer)
