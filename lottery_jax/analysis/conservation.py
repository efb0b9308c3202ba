"""Laws that saliencies theta dR/dtheta obey, for any function R of a network's outputs.

Tanaka et al. (arXiv:2006.05467, sec. 4), for chains of dense layers whose activation is
homogeneous, phi(z) = phi'(z) z, as ReLU is and tanh is not. *Units*: what comes into a
unit, with its bias, goes out of it. *Cuts*: the scores of a layer's kernel and of all
biases from there on add up to <dR/dy, y> with y the outputs; without biases every layer
has the same total. A layer of many weights has small scores then, and is the first to
be emptied by a single pruning; scores taken again after each iteration follow what is
left.

A score that is made of a saliency need not obey them: |theta dR/dtheta| (SNIP) does
not. Nor does GraSP's theta H g, but with the fixed g^2 of each weight added it does.
"""

from collections.abc import Callable, Sequence
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from lottery_jax.types import Params, Scores

TOLERANCES = {"float32": 1e-4, "float64": 1e-10}
"""What rounding may do to the laws, as parts of the largest flow."""


def saliency(function: Callable[[Params], jax.Array], params: Params) -> Scores:
    """theta dR/dtheta, with its sign, of `function(params) -> scalar`."""
    return jax.tree.map(jnp.multiply, params, jax.jit(jax.grad(function))(params))


def chain(
    activation: Callable[[jax.Array], jax.Array], layers: Sequence[str]
) -> Callable[[Params, jax.Array], jax.Array]:
    """`apply(params, x [B, I]) -> outputs [B, J]` of dense layers in this order.

    Args:
      activation: after every layer but the last.
      layers: names of {"kernel" [in, out], "bias" [out]}, the bias being optional.
    """

    def apply(params, x):
        for layer in layers:
            x = x @ params[layer]["kernel"]
            if "bias" in params[layer]:
                x = x + params[layer]["bias"][None]
            x = x if layer == layers[-1] else activation(x)
        return x

    return apply


def unit_flows(
    scores: Scores, layers: Sequence[str]
) -> list[tuple[jax.Array, jax.Array]]:
    """What comes into the units of each hidden layer, and what goes out of them.

    Args:
      scores: signed saliencies {layer: {"kernel" [in, out], "bias" [out]}}.
      layers: names in the order of the network, the output layer last.

    Returns:
      For every layer but the last (incoming [units], outgoing [units]); equal by the
      law, and `law_errors` says how nearly.
    """
    flows = []
    for layer, following in zip(layers, layers[1:], strict=False):
        incoming = scores[layer]["kernel"].sum(0)
        incoming += scores[layer].get("bias", 0)
        flows.append((incoming, scores[following]["kernel"].sum(1)))
    return flows


def law_errors(scores: Scores, layers: Sequence[str]) -> dict[str, float]:
    """Of each hidden layer the largest difference of `unit_flows`.

    As a part of the largest flow of all layers.
    """
    flows = unit_flows(scores, layers)
    largest = max(jnp.max(jnp.abs(incoming)) for incoming, _ in flows)
    return {
        layer: float(jnp.max(jnp.abs(incoming - outgoing)) / largest)
        for layer, (incoming, outgoing) in zip(layers, flows, strict=False)
    }


def layer_totals(scores: Scores, layers: Sequence[str]) -> dict[str, float]:
    """Sum of the kernel's scores of every layer: one number without biases."""
    return {layer: float(scores[layer]["kernel"].sum()) for layer in layers}


def cut_totals(scores: Scores, layers: Sequence[str]) -> dict[str, float]:
    """The same and the scores of all biases from this layer on: one number."""
    biases = {layer: float(jnp.sum(scores[layer].get("bias", 0.0))) for layer in layers}
    return {
        layer: total + sum(biases[later] for later in layers[number:])
        for number, (layer, total) in enumerate(layer_totals(scores, layers).items())
    }


def inhomogeneity(activation: Callable[[jax.Array], jax.Array]) -> float:
    """The largest |phi(z) - phi'(z) z| for z from -4 to 4: 0 where the laws hold."""
    z = jnp.linspace(-4.0, 4.0, 801)
    value, slope = jax.jvp(activation, (z,), (jnp.ones_like(z),))
    return float(jnp.max(jnp.abs(value - slope * z)))


class Diagnosis(NamedTuple):
    """Whether a network obeys the laws.

    Attributes:
      units: hidden layer -> error of the law of units, see `law_errors`.
      cuts: largest difference between `cut_totals`, as a part of the largest.
      tolerance: what rounding may do in this precision.
      holds: whether both laws hold within it.
      words: the same for people.
    """

    units: dict[str, float]
    cuts: float
    tolerance: float
    holds: bool
    words: str


def diagnose(
    function: Callable[[Params], jax.Array],
    params: Params,
    layers: Sequence[str],
    activation: Callable[[jax.Array], jax.Array] | None = None,
) -> Diagnosis:
    """Measures both laws on a network and says whether they hold, and why not.

    Args:
      function: `function(params) -> scalar` of the outputs, as a loss, of `chain` or of
        a model's `apply`.
      params: {layer: {"kernel" [in, out], "bias" [out]}}; their precision is taken.
      layers: names in the order of the network, the output layer last.
      activation: of the hidden layers where it is known, to name the reason.
    """
    scores = saliency(function, params)
    units = law_errors(scores, layers)
    totals = np.array(list(cut_totals(scores, layers).values()))
    cuts = float(np.ptp(totals) / np.abs(totals).max())
    precision = scores[layers[0]]["kernel"].dtype.name
    tolerance = TOLERANCES[precision]
    # Not `>`: where there are NaNs nothing holds.
    holds = all(error <= tolerance for error in (*units.values(), cuts))
    worst = max(units, key=units.get)
    found = f"{units[worst]:.1e} of the largest flow in {worst}, {precision}"
    if holds:
        words = f"the laws hold: units differ by no more than {found}"
    else:
        words = f"the laws do not hold: units differ by up to {found}"
    if activation is not None:
        name = getattr(activation, "__name__", "the activation")
        apart = inhomogeneity(activation)
        words += f"; {name} is homogeneous"
        if apart > TOLERANCES["float32"]:
            words = words.removesuffix("is homogeneous")
            words += f"is not homogeneous, phi(z) - phi'(z) z reaches {apart:.2g}"
    elif not holds:
        words += "; the activation is not homogeneous, or this is no chain of layers"
    return Diagnosis(units, cuts, tolerance, holds, words)
