"""Convolutional networks: LeNet-5 and Frankle & Carbin's Conv-2, Conv-4 and Conv-6."""

from collections.abc import Sequence

import flax.linen as nn
import jax
import jax.numpy as jnp

from lottery_jax.errors import ConfigError
from lottery_jax.models.base import INITIALIZERS, from_linen, with_bias
from lottery_jax.types import Model


def convolve(x: jax.Array, kernel: jax.Array, strides, padding, **options) -> jax.Array:
    """`jax.lax.conv_general_dilated` of images [B, H, W, C] for strides of 1.

    On CPUs a matrix product of all patches [B, H, W, h * w * C] with the kernel: inside
    a compiled loop the gradients of XLA's convolutions are many times slower there.
    """
    if jax.default_backend() != "cpu":
        return jax.lax.conv_general_dilated(x, kernel, strides, padding, **options)
    height, width, _, features = kernel.shape
    pads = jax.lax.padtype_to_pads(x.shape[1:3], (height, width), strides, padding)
    x = jnp.pad(x, ((0, 0), *pads, (0, 0)))
    rows, columns = x.shape[1] - height + 1, x.shape[2] - width + 1
    shifts = [(i, j) for i in range(height) for j in range(width)]
    patches = [x[:, i : i + rows, j : j + columns] for i, j in shifts]
    return jnp.concatenate(patches, axis=-1) @ kernel.reshape(-1, features)


class Conv(nn.Module):
    """Blocks of convolutions, each block ended by 2x2 max-pooling, then dense layers.

    Attributes:
      blocks: per block the (channels, kernel size, padding) of its convolutions.
      hidden: widths of the hidden dense layers.
    """

    blocks: Sequence[Sequence[tuple[int, int, str]]]
    hidden: Sequence[int]
    num_outputs: int
    kernel_init: nn.initializers.Initializer
    biases: str = "zeros"

    @nn.compact
    def __call__(self, x):
        options = {"kernel_init": self.kernel_init, **with_bias(self.biases)}
        layer = 0
        for block in self.blocks:
            for channels, size, padding in block:
                x = nn.Conv(
                    channels,
                    (size, size),
                    padding=padding,
                    conv_general_dilated=convolve,
                    name=f"conv_{layer}",
                    **options,
                )(x)
                x = nn.relu(x)
                layer += 1
            x = nn.max_pool(x, (2, 2), strides=(2, 2))
        x = x.reshape((x.shape[0], -1))
        for i, width in enumerate(self.hidden):
            x = nn.relu(nn.Dense(width, name=f"dense_{i}", **options)(x))
        return nn.Dense(self.num_outputs, name="output", **options)(x)


def _conv(
    input_shape, num_outputs, *, initializer, biases, blocks, hidden, smallest
) -> Model:
    if len(input_shape) != 3 or min(input_shape[:2]) < smallest:
        problem = f"needs images of at least {smallest}x{smallest}, got {input_shape}"
        raise ConfigError("model.name", problem)
    module = Conv(blocks, hidden, num_outputs, INITIALIZERS[initializer], biases)
    return from_linen(module, input_shape)


def _conv_pairs(widths: Sequence[int], input_shape, num_outputs, **options) -> Model:
    return _conv(
        input_shape,
        num_outputs,
        **options,
        blocks=tuple(((width, 3, "SAME"),) * 2 for width in widths),
        hidden=(256, 256),
        smallest=2 ** len(widths),
    )


def lenet_5(
    input_shape, num_outputs, *, initializer="glorot_normal", biases="zeros"
) -> Model:
    """LeNet-5 with ReLU and max-pooling (Theys96's form): 61,470 weights on MNIST."""
    return _conv(
        input_shape,
        num_outputs,
        initializer=initializer,
        biases=biases,
        blocks=(((6, 5, "SAME"),), ((16, 5, "VALID"),)),
        hidden=(120, 84),
        smallest=12,
    )


def conv_2(
    input_shape, num_outputs, *, initializer="glorot_normal", biases="zeros"
) -> Model:
    """Conv-2 (arXiv:1803.03635, figure 2): 4,300,992 weights on CIFAR-10."""
    return _conv_pairs(
        (64,), input_shape, num_outputs, initializer=initializer, biases=biases
    )


def conv_4(
    input_shape, num_outputs, *, initializer="glorot_normal", biases="zeros"
) -> Model:
    """Conv-4 (arXiv:1803.03635, figure 2): 2,425,024 weights on CIFAR-10."""
    return _conv_pairs(
        (64, 128), input_shape, num_outputs, initializer=initializer, biases=biases
    )


def conv_6(
    input_shape, num_outputs, *, initializer="glorot_normal", biases="zeros"
) -> Model:
    """Conv-6 (arXiv:1803.03635, figure 2): 2,261,184 weights on CIFAR-10.

    The paper prints 1.7M, which does not follow from its layers with same padding.
    """
    return _conv_pairs(
        (64, 128, 256), input_shape, num_outputs, initializer=initializer, biases=biases
    )
