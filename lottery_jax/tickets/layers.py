"""The layers of a network before it has any weights."""

import math
from typing import NamedTuple

import jax

from lottery_jax.tickets import masks
from lottery_jax.types import Model, Params, Prunable


class Layers(NamedTuple):
    """What a mask of a network is about.

    Attributes:
      params: shapes and dtypes, in the structure of the params.
      prunable: which of the leaves may be pruned.
      shapes: path of a leaf that may be pruned -> shape, in the order of the tree.
    """

    params: Params
    prunable: Prunable
    shapes: dict[str, tuple[int, ...]]

    @property
    def names(self) -> list[str]:
        """Paths of the leaves that may be pruned."""
        return list(self.shapes)

    @property
    def sizes(self) -> dict[str, int]:
        """Path of a leaf that may be pruned -> its weights."""
        return {name: math.prod(shape) for name, shape in self.shapes.items()}

    @property
    def depth(self) -> int:
        """Layers with weights that may be pruned, biases not counted."""
        return sum(len(shape) > 1 for shape in self.shapes.values())

    @property
    def num(self) -> int:
        """Weights that may be pruned."""
        return sum(self.sizes.values())


def layers_of(model: Model) -> Layers:
    """The layers of a model; nothing is allocated."""
    params, _ = jax.eval_shape(model.init, jax.random.key(0))
    prunable = model.prunable(params)
    leaves = masks.named_leaves(params)
    names = masks.prunable_names(prunable)
    return Layers(params, prunable, {name: leaves[name].shape for name in names})
