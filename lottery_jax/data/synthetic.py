"""Data that are made, not read."""

from pathlib import Path

import jax
import numpy as np

from lottery_jax.data.base import Raw
from lottery_jax.types import Key

NUM_XOR = 2000
GAUSSIAN = (20_000, 50)  # inputs, features


def xor(folder: Path | None, key: Key) -> Raw:
    """Uniform points of the unit square; the label is XOR of the rounded coordinates.

    NeTS's noisy XOR (spec: X ~ U[0, 1]^2, y = XOR(round x1, round x2)). No test split.
    """
    del folder
    x = np.asarray(jax.random.uniform(key, (NUM_XOR, 2)))
    corner = x > 0.5
    return Raw((x, corner[:, 0] ^ corner[:, 1]), test=None, num_classes=2)


def gaussian(folder: Path | None, key: Key) -> Raw:
    """Standard normal inputs; their targets are 0, and teachers give others.

    For the algorithm `sample_complexity` (arXiv:2110.05667). No test split.
    """
    del folder
    x = np.asarray(jax.random.normal(key, GAUSSIAN))
    return Raw((x, np.zeros(len(x))), test=None, num_classes=None)
