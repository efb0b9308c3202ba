"""Scores that look at the network as a function, before or after training.

With theta the weights scored (theta_0 before training), L the mean loss on the scoring
batch and R the summed output of the network of absolute values for an input of ones:

name      score                              paper
snip      |theta dL/dtheta|                  Lee et al., arXiv:1810.02340
grad      |dL/dtheta|                        Zhou et al., arXiv:1905.01067, control
grasp     theta H g, g = dL_T/dtheta         Wang et al., arXiv:2002.07376
synflow   |theta dR/d|theta||                Tanaka et al., arXiv:2006.05467

as in the code of Tanaka et al.: the loss of `grasp` has outputs divided by T = 200 and
its largest signed scores are kept. Weights pruned already are zero, and never return
whatever their score is.

`synflow` needs no data. Its products over layers overflow in deep networks, so that the
layers of a chain are scaled by powers of two, which round nothing, to activations of
about one: that multiplies all scores by one number and leaves their order. Biases grow
with the layers before them and are scaled alike, where they may be pruned; elsewhere
they are left out (they are zero before training).
"""

import math
from collections.abc import Callable

import jax
import jax.numpy as jnp

from lottery_jax.errors import ConfigError
from lottery_jax.tickets import masks
from lottery_jax.types import Context, Model, Params, Scores

TEMPERATURE = 200.0
"""By which GraSP divides the outputs of the network."""


def _weights(context: Context) -> Params:
    return masks.apply(context.final, context.old_mask)


def _loss(context: Context, temperature: float = 1.0) -> Callable[[Params], jax.Array]:
    """Mean loss on the scoring batch, in evaluation mode, as a function of params."""
    _, state = context.model.init(context.key)

    def loss(params):
        outputs, _ = context.model.apply(params, state, context.batch.x, train=False)
        return context.loss(outputs / temperature, context.batch.y)

    return loss


def snip(context: Context) -> Scores:
    """|theta dL/dtheta|: how much the loss notices that a weight is there."""
    params = _weights(context)
    gradient = jax.grad(_loss(context))(params)
    return jax.tree.map(lambda w, g: jnp.abs(w * g), params, gradient)


def grad(context: Context) -> Scores:
    """|dL/dtheta|, the size of the gradient alone."""
    return jax.tree.map(jnp.abs, jax.grad(_loss(context))(_weights(context)))


def grasp(context: Context) -> Scores:
    """theta H g: keep what the norm of the gradient would lose most without."""
    params = _weights(context)
    gradient = jax.grad(_loss(context, TEMPERATURE))
    # Along kept prunable weights: the others do not move when weights are dropped.
    direction = jax.tree.map(
        lambda g, kept, may: jnp.where(kept & may, g, 0),
        gradient(params), context.old_mask, context.prunable,
    )  # fmt: skip
    _, product = jax.jvp(gradient, (params,), (direction,))
    return jax.tree.map(jnp.multiply, params, product)


def synflow(context: Context) -> Scores:
    """|theta dR/d|theta||: how much of the flow from inputs to outputs passes it."""
    params = _scaled(_absolute(context), context.model)
    _, state = context.model.init(context.key)

    def flow(params):
        ones = jnp.ones((1, *context.batch.x.shape[1:]))
        return context.model.apply(params, state, ones, train=False)[0].sum()

    return jax.tree.map(lambda w, g: jnp.abs(w * g), params, jax.grad(flow)(params))


def _absolute(context: Context) -> Params:
    """|theta|, without the biases that may not be pruned."""
    layers = {name.rpartition("/")[0] for name, _ in context.model.uses}

    def size(name, leaf, may):
        layer, _, kind = name.rpartition("/")
        if kind == "bias" and may and layer not in layers:
            problem = f"synflow: {name} may be pruned, but its layer has no known place"
            raise ConfigError("algorithm.score", problem)
        return jnp.zeros_like(leaf) if kind == "bias" and not may else jnp.abs(leaf)

    return masks.map_named(size, _weights(context), context.prunable)


def _scaled(params: Params, model: Model) -> Params:
    """Layers scaled so that activations are about one, for an input of ones.

    The kernel of layer l is divided by c_l, its bias by c_1 ... c_l, all powers of two.
    """
    leaves = masks.named_leaves(params)
    kernels = [name for name, leaf in leaves.items() if leaf.ndim > 1]
    size, shift = 0.0, 0  # log2 of the activations; of c_1 ... c_l
    for name in masks.in_order(kernels, model):
        bias = name.removesuffix("kernel") + "bias"
        grown = size + _log2_mean(leaves[name]) + math.log2(leaves[name][..., 0].size)
        if bias in leaves:
            grown = jnp.logaddexp2(grown, _log2_mean(leaves[bias]))
        size = jnp.where(jnp.isfinite(grown), grown, size)  # of an empty layer it is 0
        before, shift = shift, jnp.round(size).astype(int)
        leaves[name] = jnp.ldexp(leaves[name], before - shift)
        if bias in leaves:
            leaves[bias] = jnp.ldexp(leaves[bias], -shift)
    return jax.tree.unflatten(jax.tree.structure(params), leaves.values())


def _log2_mean(leaf: jax.Array) -> jax.Array:
    """log2 of the mean of what is not negative, where its sum may overflow."""
    largest = jnp.max(leaf)
    part = jnp.mean(leaf / jnp.where(largest > 0, largest, 1))
    return jnp.log2(largest) + jnp.log2(part)


SALIENCIES = {"grad": grad, "grasp": grasp, "snip": snip, "synflow": synflow}
"""Scores that need a scoring batch (`synflow` its shape alone)."""
