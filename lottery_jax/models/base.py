"""From a Flax module to a `Model` of pure functions."""

import inspect
import math

import flax.linen as nn
import jax
import jax.numpy as jnp
from flax.linen.initializers import variance_scaling

from lottery_jax.types import Model


def signed_constant(key, shape, dtype=jnp.float32):
    """+-sqrt(2 / fan_in), the sign by a fair coin (arXiv:1911.13299, sec. 3.2)."""
    size = math.sqrt(2 / math.prod(shape[:-1]))
    return size * jax.random.rademacher(key, shape, dtype)


def uniform(key, shape, dtype=jnp.float32):
    """Uniform between -1 and 1."""
    return jax.random.uniform(key, shape, dtype, -1, 1)


INITIALIZERS = {
    "glorot_normal": variance_scaling(1.0, "fan_avg", "normal"),
    "glorot_truncated_normal": nn.initializers.glorot_normal(),
    "glorot_uniform": nn.initializers.glorot_uniform(),
    "kaiming_normal": variance_scaling(2.0, "fan_in", "normal"),
    "kaiming_uniform_sqrt5": variance_scaling(1 / 3, "fan_in", "uniform"),
    "normal_0.1": nn.initializers.normal(0.1),
    "signed_constant": signed_constant,
    "uniform": uniform,
}
"""Name -> Flax initializer of kernels. `glorot_normal` is the paper's Gaussian Glorot;
`glorot_truncated_normal` what TensorFlow and Flax draw under that name (cut at two
standard deviations); `kaiming_normal` OpenLTH's; `kaiming_uniform_sqrt5` PyTorch's,
+-1/sqrt(fan_in); `normal_0.1` has that standard deviation in every layer; `uniform` is
between -1 and 1."""

BIASES = {"none": None, "uniform": uniform, "zeros": nn.initializers.zeros}
"""Name -> Flax initializer of biases; None: layers have none."""


def with_bias(biases: str) -> dict:
    """Arguments of a Flax layer for a name in `BIASES`."""
    if BIASES[biases] is None:
        return {"use_bias": False}
    return {"bias_init": BIASES[biases]}


def from_linen(module: nn.Module, input_shape: tuple[int, ...]) -> Model:
    """Makes a `Model` of a Flax Linen module.

    Args:
      module: called as `module(x [B, *input_shape])`, with `train=` where it takes it.
      input_shape: shape of one example, without the batch axis.
    """
    takes_train = "train" in inspect.signature(module.__call__).parameters

    def options(train):
        return {"train": train} if takes_train else {}

    def init(key):
        example = jnp.zeros((1, *input_shape))
        variables = module.init(key, example, **options(False))
        params = variables.pop("params")
        return params, variables

    def apply(params, state, x, *, train, products=None):
        variables = {"params": params, **state}
        with nn.intercept_methods(_replacing(products or {})):
            if not train:
                return module.apply(variables, x, **options(False)), state
            return module.apply(variables, x, mutable=list(state), **options(True))

    layers = {}
    with nn.intercept_methods(_noting(layers)):
        jax.eval_shape(init, jax.random.key(0))
    dense = tuple(path for path, (replaceable, _) in layers.items() if replaceable)
    uses = tuple((path, number) for path, (_, number) in layers.items())
    return Model(init, apply, kernels, dense, uses)


def _noting(layers: dict):
    """Notes of every kernel whether its product is a plain one, and its uses."""

    def intercept(call, arguments, options, context):
        out = call(*arguments, **options)
        layer = context.module
        if type(layer) in (nn.Dense, nn.Conv) and context.method_name == "__call__":
            _, before = layers.get(_kernel(layer), (None, 0))
            number = before + math.prod(out.shape[1:-1])
            plain = (layer.dtype or jnp.float32) == layer.param_dtype == jnp.float32
            layers[_kernel(layer)] = plain and type(layer) is nn.Dense, number
        return out

    return intercept


def _replacing(products: dict):
    """Takes a product of `products` where a dense layer has one under its path."""

    def intercept(call, arguments, options, context):
        layer = context.module
        if context.method_name != "__call__" or _kernel(layer) not in products:
            return call(*arguments, **options)
        (x,) = arguments
        kernel = layer.get_variable("params", "kernel")
        y = products[_kernel(layer)](x.reshape(-1, x.shape[-1]), kernel)
        if layer.use_bias:
            y += layer.get_variable("params", "bias")[None]
        return y.reshape(*x.shape[:-1], layer.features)

    return intercept


def _kernel(layer: nn.Module) -> str:
    return "/".join((*layer.path, "kernel"))


def with_biases(model: Model) -> Model:
    """The same network with biases that may be pruned as kernels may."""

    def prunable(params):
        return jax.tree.map_with_path(
            lambda path, _: path[-1].key in ("kernel", "bias"), params
        )

    return model._replace(prunable=prunable)


def kernels(params):
    """Prunable by default: every leaf named `kernel`; no biases, no norms."""
    return jax.tree.map_with_path(lambda path, leaf: path[-1].key == "kernel", params)
