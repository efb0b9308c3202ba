"""How much two masks have in common, against what chance would give."""

from collections.abc import Mapping
from typing import NamedTuple

import numpy as np


class Overlap(NamedTuple):
    """Of two masks, summed over layers.

    Attributes:
      shared: weights that both keep.
      expected: how many masks with the same counts in every layer share on average.
      z: (shared - expected) in standard deviations of that law (hypergeometric in each
        layer, layers independent); NaN where it leaves no choice.
      jaccard: shared over those that either keeps.
      chance: the same of masks that share what is expected.
    """

    shared: int
    expected: float
    z: float
    jaccard: float
    chance: float


def overlap(one: Mapping[str, np.ndarray], other: Mapping[str, np.ndarray]) -> Overlap:
    """Compares two masks: path of a leaf -> bools of its shape.

    One replicate of what `load_masks` gives: {name: leaf[0] for name, leaf in ...}.

    Raises:
      ValueError: masks of networks that are not alike.
    """
    shapes = [{name: np.shape(leaf) for name, leaf in m.items()} for m in (one, other)]
    if shapes[0] != shapes[1]:
        raise ValueError(f"masks of unlike networks: {shapes[0]} and {shapes[1]}")
    shared = kept = 0
    expected = variance = 0.0
    for name in one:
        a, b = np.asarray(one[name], bool), np.asarray(other[name], bool)
        size, kept_a, kept_b = a.size, int(a.sum()), int(b.sum())
        shared += int((a & b).sum())
        kept += kept_a + kept_b
        mean = kept_a * kept_b / size
        expected += mean
        if size > 1:
            variance += mean * (size - kept_a) * (size - kept_b) / (size * (size - 1))
    z = (shared - expected) / np.sqrt(variance) if variance else np.nan
    jaccard, chance = (
        both / (kept - both) if kept else np.nan for both in (shared, expected)
    )
    return Overlap(shared, expected, float(z), jaccard, chance)
