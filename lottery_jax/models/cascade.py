"""Fully connected networks whose hidden layers are cascades of linear stages."""

import math
from collections.abc import Sequence
from typing import NamedTuple

import flax.linen as nn
import jax
import jax.numpy as jnp

from lottery_jax.errors import ConfigError
from lottery_jax.models.base import INITIALIZERS, from_linen
from lottery_jax.types import Model, Params


class Cascade(nn.Module):
    """The sum of branches, each a chain of square stages, and one bias."""

    stages: int
    branches: int
    kernel_init: nn.initializers.Initializer

    @nn.compact
    def __call__(self, x):
        width, total = x.shape[-1], 0.0
        for branch in range(self.branches):
            y = x
            for stage in range(self.stages):
                y = nn.Dense(
                    width,
                    use_bias=False,
                    kernel_init=self.kernel_init,
                    name=_name(branch, stage),
                )(y)
            total = total + y
        return total + self.param("bias", nn.initializers.zeros, (width,))[None]


class Cascades(nn.Module):
    """ReLU after each cascade, then a dense output layer."""

    widths: Sequence[int]
    num_outputs: int
    stages: int
    branches: int
    kernel_init: nn.initializers.Initializer

    @nn.compact
    def __call__(self, x):
        x = x.reshape((x.shape[0], -1))
        x = jnp.pad(x, ((0, 0), (0, self.widths[0] - x.shape[1])))
        for number in range(len(self.widths)):
            layer = Cascade(
                self.stages, self.branches, self.kernel_init, name=f"cascade_{number}"
            )
            x = nn.relu(layer(x))
        return nn.Dense(self.num_outputs, kernel_init=self.kernel_init, name="output")(
            x
        )


def cascade(
    input_shape: tuple[int, ...],
    num_outputs: int,
    *,
    hidden: Sequence[int] | None = None,
    stages: int = 6,
    branches: int = 1,
    initializer: str = "glorot_normal",
) -> Model:
    """Hidden layers as cascades (arXiv:2002.08339), inputs padded to their width.

    Kernels are dense here; the algorithm `topologies` gives them their masks.

    Args:
      input_shape: of one example.
      num_outputs: of the output layer, which is a dense one.
      hidden: widths, all the same; None: two layers as wide as there are inputs.
      stages: linear stages of a hidden layer.
      branches: parallel chains of that many stages in a hidden layer.
      initializer: name in `INITIALIZERS`.

    Raises:
      ConfigError: widths that differ, or less wide than there are inputs.
    """
    inputs = math.prod(input_shape)
    hidden = tuple(hidden or (inputs, inputs))
    if len(set(hidden)) > 1:
        problem = f"{hidden}: the layers of a cascade are equally wide"
        raise ConfigError("model.hidden", problem)
    if hidden[0] < inputs:
        problem = f"{hidden}: less than the {inputs} inputs, which are padded"
        raise ConfigError("model.hidden", f"{problem} and not cut")
    kernel_init = INITIALIZERS[initializer]
    module = Cascades(hidden, num_outputs, stages, branches, kernel_init)
    return from_linen(module, input_shape)


class Layout(NamedTuple):
    """Sizes of the cascades of a network: C, P, S, N."""

    cascades: int
    branches: int
    stages: int
    nodes: int


def layout(params: Params) -> Layout:
    """Of the params of a `cascade`, or of their shapes.

    Raises:
      ConfigError: params of another network.
    """
    cascades = sum(name.startswith("cascade_") for name in params)
    if not cascades:
        problem = "topologies are those of the network cascade, and this is none"
        raise ConfigError("model.name", problem)
    names = [name for name in params["cascade_0"] if name != "bias"]
    branches = sum(name.endswith("_stage_0") for name in names)
    nodes = params["cascade_0"][_name(0, 0)]["kernel"].shape[0]
    return Layout(cascades, branches, len(names) // branches, nodes)


def with_stages(tree: Params, stages: jax.Array) -> Params:
    """Params or a mask with these kernels [C, P, S, N, N] of all stages."""
    new = {
        f"cascade_{number}": tree[f"cascade_{number}"]
        | {
            _name(branch, stage): {"kernel": kernel}
            for branch, chain in enumerate(own)
            for stage, kernel in enumerate(chain)
        }
        for number, own in enumerate(stages)
    }
    return tree | new


def stage_paths(sizes: Layout) -> dict[str, tuple[str, ...]]:
    """Group of a stage -> paths of its kernels, one per branch."""
    return {
        f"cascade_{number}/stage_{stage}": tuple(
            f"cascade_{number}/{_name(branch, stage)}/kernel"
            for branch in range(sizes.branches)
        )
        for number in range(sizes.cascades)
        for stage in range(sizes.stages)
    }


def _name(branch: int, stage: int) -> str:
    return f"branch_{branch}_stage_{stage}"
