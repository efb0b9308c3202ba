"""How many kept weights come into each unit of a layer, and how many leave it.

Frankle & Carbin (arXiv:1803.03635, app. F) find that what comes into a unit of a ticket
is much the same for all units, while some inputs keep many more weights than others.
Chance alone gives degrees that differ: those of a random mask are hypergeometric.

Kernels are [..., in, out], dense layers or convolutions; a unit of a convolution is a
channel, one input of a dense layer behind it is a channel at one position.
"""

from collections.abc import Mapping

import numpy as np
import pandas as pd
from scipy.special import gammaln


def incoming(mask: np.ndarray) -> np.ndarray:
    """Kept weights into each unit: bool [..., in, out] -> int [out]."""
    return np.asarray(mask, bool).sum(axis=tuple(range(np.ndim(mask) - 1)))


def outgoing(mask: np.ndarray) -> np.ndarray:
    """Kept weights out of each input of the layer: bool [..., in, out] -> int [in]."""
    return incoming(np.swapaxes(mask, -1, -2))


def chance(size: int, kept: int, units: int) -> tuple[float, float]:
    """Mean and variance of a unit's degree when any `kept` weights are as likely.

    Args:
      size: weights of the layer.
      kept: how many of them a mask keeps.
      units: among which the weights are shared out evenly.
    """
    own, p = size // units, kept / size
    variance = own * p * (1 - p) * (size - own) / (size - 1) if size > 1 else 0.0
    return own * p, variance


def probability(degrees: np.ndarray, size: int, kept: int, units: int) -> np.ndarray:
    """How likely a unit of a random mask has each of these degrees; as in `chance`."""
    own = size // units
    degrees = np.asarray(degrees)
    possible = (degrees <= min(own, kept)) & (degrees >= max(0, kept - size + own))
    inside = np.where(possible, degrees, max(0, kept - size + own))
    log = (
        _log_choose(own, inside)
        + _log_choose(size - own, kept - inside)
        - _log_choose(size, kept)
    )
    return np.where(possible, np.exp(log), 0.0)


def _log_choose(n, k):
    return gammaln(n + 1) - gammaln(k + 1) - gammaln(n - k + 1)


def unevenness(degrees: np.ndarray, size: int) -> float:
    """Variance of degrees over that of chance: 1 on average for random masks.

    Args:
      degrees: of all units on one side of a layer [units].
      size: weights of the layer.

    Returns:
      More than 1 where a few units have most of the weights; NaN where there is no
      choice (one unit, an empty or a full layer).
    """
    _, variance = chance(size, int(np.sum(degrees)), len(degrees))
    # The mean is known and not estimated: no degree of freedom is lost.
    return float(np.var(degrees) / variance) if variance else np.nan


def by_layer(mask: Mapping[str, np.ndarray]) -> pd.DataFrame:
    """One row per kernel of a mask.

    Args:
      mask: path of a kernel -> bool [..., in, out]; one replicate of `load_masks`.
        What has fewer than two axes is left out.

    Returns:
      Columns layer; size, kept (weights), density; no_incoming, no_outgoing: part of
      its units that no weight comes into, and of its inputs that none leaves;
      incoming_unevenness, outgoing_unevenness.
    """
    rows = []
    for layer, kernel in mask.items():
        if np.ndim(kernel) < 2:
            continue
        into, out = incoming(kernel), outgoing(kernel)
        size, kept = np.size(kernel), int(into.sum())
        rows.append(
            {
                "layer": layer,
                "size": size,
                "kept": kept,
                "density": kept / size,
                "no_incoming": np.mean(into == 0),
                "no_outgoing": np.mean(out == 0),
                "incoming_unevenness": unevenness(into, size),
                "outgoing_unevenness": unevenness(out, size),
            }
        )
    return pd.DataFrame(rows)
