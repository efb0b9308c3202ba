"""Networks by name, as pure functions. The only floor that imports Flax."""

from lottery_jax.models.base import BIASES, INITIALIZERS, from_linen, with_biases
from lottery_jax.models.cascade import cascade
from lottery_jax.models.conv import conv_2, conv_4, conv_6, lenet_5
from lottery_jax.models.mlp import ACTIVATIONS, committee, lenet_300_100, mlp

__all__ = [
    "ACTIVATIONS",
    "BIASES",
    "INITIALIZERS",
    "MODELS",
    "from_linen",
    "with_biases",
]

MODELS = {
    "cascade": cascade,
    "committee": committee,
    "conv_2": conv_2,
    "conv_4": conv_4,
    "conv_6": conv_6,
    "lenet_300_100": lenet_300_100,
    "lenet_5": lenet_5,
    "mlp": mlp,
}
"""Name -> `factory(input_shape, num_outputs, **options) -> Model`."""
