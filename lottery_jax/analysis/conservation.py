"""Laws that saliencies theta dR/dtheta obey, for any function R of a network's outputs.

Tanaka et al. (arXiv:2006.05467, sec. 4), for chains of dense layers whose activation is
homogeneous, phi(z) = phi'(z) z, as ReLU is and tanh is not: what comes into a unit goes
out of it, so that every layer has the same total where there are no biases. A layer of
many weights has small scores then, and is the first to be emptied by a single pruning;
scores taken again after each iteration follow what is left.
"""

from collections.abc import Callable, Sequence

import jax
import jax.numpy as jnp

from lottery_jax.types import Params, Scores


def saliency(function: Callable[[Params], jax.Array], params: Params) -> Scores:
    """theta dR/dtheta, with its sign, of `function(params) -> scalar`."""
    return jax.tree.map(jnp.multiply, params, jax.grad(function)(params))


def unit_flows(
    scores: Scores, layers: Sequence[str]
) -> list[tuple[jax.Array, jax.Array]]:
    """What comes into the units of each hidden layer, and what goes out of them.

    Args:
      scores: signed saliencies {layer: {"kernel" [in, out], "bias" [out]}}.
      layers: names in the order of the network, the output layer last.

    Returns:
      For every layer but the last (incoming [units], outgoing [units]); equal by the
      law, and `law_error` says how nearly.
    """
    flows = []
    for layer, following in zip(layers, layers[1:], strict=False):
        incoming = scores[layer]["kernel"].sum(0)
        incoming += scores[layer].get("bias", 0)
        flows.append((incoming, scores[following]["kernel"].sum(1)))
    return flows


def law_error(scores: Scores, layers: Sequence[str]) -> jax.Array:
    """The largest difference of `unit_flows`, as a part of the largest flow."""
    flows = unit_flows(scores, layers)
    apart = max(jnp.max(jnp.abs(a - b)) for a, b in flows)
    return apart / max(jnp.max(jnp.abs(a)) for a, _ in flows)


def layer_totals(scores: Scores, layers: Sequence[str]) -> dict[str, jax.Array]:
    """Sum of the kernel's scores of every layer: one number without biases."""
    return {layer: scores[layer]["kernel"].sum() for layer in layers}
