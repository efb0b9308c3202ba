"""Models of other kinds: Flax NNX modules, and pairs of pure functions.

Linen modules have `from_linen` (base.py). An Equinox module is a pytree: its parameters
are what `eqx.partition` takes out of it, and the pair of functions is the user's.
"""

from collections.abc import Callable

import jax
from flax import nnx

from lottery_jax.models.base import kernels
from lottery_jax.types import Key, Model, Params, Prunable


def from_functions(
    init: Callable[[Key], Params],
    apply: Callable[[Params, jax.Array], jax.Array],
    prunable: Callable[[Params], Prunable] = kernels,
) -> Model:
    """Makes a `Model` of two pure functions, such as Haiku's `transform` gives.

    Args:
      init: `init(key) -> params`, any pytree of float arrays.
      apply: `apply(params, x [B, ...]) -> outputs [B, ...]`; alike in training.
      prunable: `prunable(params) -> pytree of bools`; by default leaves named `kernel`.
    """

    def with_state(params, state, x, *, train):
        del train
        return apply(params, x), state

    return Model(lambda key: (init(key), {}), with_state, prunable)


def from_nnx(make: Callable[[nnx.Rngs], nnx.Module]) -> Model:
    """Makes a `Model` of a Flax NNX module.

    Params are a plain dict of its `nnx.Param`s, the state one of all its other
    variables (batch statistics, counts of random numbers).

    Args:
      make: `make(rngs) -> module`, called as `module(x [B, ...])`; `module.train()` and
        `module.eval()` say which it is.
    """

    def parts(module):
        return nnx.split(module, nnx.Param, ...)

    graph, *blanks = parts(nnx.eval_shape(lambda: make(nnx.Rngs(0))))

    def init(key):
        _, params, rest = parts(make(nnx.Rngs(key)))
        return nnx.to_pure_dict(params), nnx.to_pure_dict(rest)

    def apply(params, state, x, *, train):
        filled = []
        for blank, values in zip(blanks, (params, state), strict=True):
            own = nnx.clone(blank)
            nnx.replace_by_pure_dict(own, values)
            filled.append(own)
        module = nnx.merge(graph, *filled)
        module.train() if train else module.eval()
        outputs = module(x)
        return outputs, nnx.to_pure_dict(parts(module)[2])

    return Model(init, apply, kernels)
