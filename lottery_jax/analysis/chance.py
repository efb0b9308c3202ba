"""What was left to chance in a control that came out as its ticket.

A control that does nothing is a fault. One that had nothing to draw is none: a lone
weight has one order, weights of one size keep it, an empty layer has one mask. Here is,
in bits, how unlikely it is that a working control draws its very ticket, or a lower
bound: b bits are b fair coins that all fell right. Lanes of one control are drawn
independently, so their bits add up.
"""

import math
from collections.abc import Iterable

import numpy as np


def of_mask(control: str, counts: Iterable[tuple[int, int]]) -> float:
    """Bits of a control in `OF_THE_MASK`.

    Args:
      control: its name; "dense" draws nothing: it differs from tickets with holes.
      counts: (weights, kept weights of the ticket) of every leaf that may be pruned.
    """
    if control == "dense":
        return 0 if all(num == kept for num, kept in counts) else math.inf
    return sum(
        _log2_factorial(num) - _log2_factorial(kept) - _log2_factorial(num - kept)
        for num, kept in counts
    )


def of_weights(control: str, leaves: Iterable[np.ndarray]) -> float:
    """Bits of a control in `REINITS`.

    Args:
      control: its name.
      leaves: the ticket's kept weights [num] of every leaf that may be pruned.
    """
    bits = BITS.get(control, _of_noise)
    return sum(bits(kept) for kept in leaves)


def _log2_factorial(num: int) -> float:
    return math.lgamma(num + 1) / math.log(2)


def _orders(kept):
    """Of an order of values: `permute` takes some from pruned places and `resample`
    draws with replacement, which both hit it less often."""
    _, counts = np.unique(kept, return_counts=True)
    return _log2_factorial(len(kept)) - sum(map(_log2_factorial, counts))


def _of_noise(kept):
    """Of a continuous law, where layers have a spread; those of one value may not."""
    return math.inf if _differ(kept) else 0


def _of_fresh_draw(kept):
    """Of a continuous law, or of one size with signs by fair coins."""
    return math.inf if _differ(np.abs(kept)) else len(kept) * _differ(kept)


def _of_sizes(kept):
    """Of sizes that are not drawn from the ticket's own."""
    return math.inf if _differ(np.abs(kept)) else 0


def _differ(values) -> bool:
    return len(np.unique(values)) > 1


BITS = {
    "constant": lambda kept: _of_sizes(kept) + len(kept),
    "constant_signed": _of_sizes,
    "permute": _orders,
    "permute_signed": lambda kept: _orders(np.abs(kept)),
    "reinit": _of_fresh_draw,
    "reinit_signed": _of_sizes,
    "resample": _orders,
    "resample_signed": lambda kept: _orders(np.abs(kept)),
    "reshuffle": _orders,
    "reshuffle_signed": lambda kept: (
        _orders(kept[kept < 0]) + _orders(kept[~(kept < 0)])
    ),
}
"""Name in `REINITS` -> `bits(kept weights of a leaf)`; all others add noise."""
