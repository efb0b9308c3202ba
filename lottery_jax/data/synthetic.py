"""Data that are made, not read."""

from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np

from lottery_jax.data.base import Raw
from lottery_jax.types import Key

NUM_XOR = 2000
GAUSSIAN = (20_000, 50)  # inputs, features

NUM_PLANTED = 10_000
"""Points of the tasks of Plant 'n' Seek (Fischer & Burkholz, arXiv:2111.11153), and as
many of a second draw to test with."""

NUM_MOONS = (50_000, 16_000)
"""Points of `moons` and `circles`: to train and validate, and to test."""

NUM_BLOBS = (3750, 1250)
"""Of every class of `blobs`: to train and validate, and to test."""

NOISE = 0.01
"""Of Plant 'n' Seek's: standard deviation of targets, probability of another label."""


def xor(folder: Path | None, key: Key) -> Raw:
    """Uniform points of the unit square; the label is XOR of the rounded coordinates.

    NeTS's noisy XOR (spec: X ~ U[0, 1]^2, y = XOR(round x1, round x2)). No test split.
    """
    del folder
    x = np.asarray(jax.random.uniform(key, (NUM_XOR, 2)))
    corner = x > 0.5
    return Raw((x, corner[:, 0] ^ corner[:, 1]), test=None, num_classes=2)


def xor_corners(folder: Path | None, key: Key) -> Raw:
    """The four corners of the unit square, in all three splits: they are all of XOR."""
    del folder, key
    corners = np.array([[0, 0], [0, 1], [1, 0], [1, 1]], np.float32)
    labels = np.array([False, True, True, False])
    every = corners, labels
    return Raw(every, every, 2, validation=every)


def gaussian(folder: Path | None, key: Key) -> Raw:
    """Standard normal inputs; their targets are 0, and teachers give others.

    For the algorithm `sample_complexity` (arXiv:2110.05667). No test split.
    """
    del folder
    x = np.asarray(jax.random.normal(key, GAUSSIAN))
    return Raw((x, np.zeros(len(x))), test=None, num_classes=None)


def _twice(draw):
    """A loader of two independent draws, to train and to test."""

    def load(folder: Path | None, key: Key) -> Raw:
        del folder
        train, test = (
            tuple(np.asarray(part) for part in draw(own))
            for own in jax.random.split(key)
        )
        return Raw(train, test, 4 if draw is _circle else None)

    load.__doc__ = draw.__doc__
    return load


def _inputs(key: Key, features: int) -> jax.Array:
    return jax.random.uniform(key, (NUM_PLANTED, features), minval=-1, maxval=1)


def _relu(key):
    """y = max(x, 0) with noise, x uniform in [-1, 1]."""
    x_key, noise_key = jax.random.split(key)
    x = _inputs(x_key, 1)
    noise = NOISE * jax.random.normal(noise_key, x.shape)
    return x, jax.nn.relu(x) + noise


def _circle(key):
    """Four classes by the squared radius, which meet at 0.2, 0.5 and 0.7.

    x is uniform in [-1, 1]^2; some labels are the class that came second.
    """
    x_key, noise_key = jax.random.split(key)
    x = _inputs(x_key, 2)
    radius = jnp.square(x).sum(1, keepdims=True)
    scores = radius * jnp.array([[0.1, 0.2, 0.4, 0.8]])
    scores -= jnp.array([[0, 0.02, 0.12, 0.4]])
    order = jnp.argsort(scores, axis=1)
    wrong = jax.random.bernoulli(noise_key, NOISE, (len(x),))
    return x, jnp.where(wrong, order[:, -2], order[:, -1])


def _helix(key):
    """Points of a helix with noise, for x uniform in [-1, 1]."""
    x_key, noise_key = jax.random.split(key)
    x = _inputs(x_key, 1)
    t = 5 * jnp.pi + 3 * jnp.pi * x
    points = jnp.concatenate([t * jnp.cos(t), t * jnp.sin(t), t], 1) / (8 * jnp.pi)
    return x, points + NOISE * jax.random.normal(noise_key, points.shape)


relu, circle, helix = _twice(_relu), _twice(_circle), _twice(_helix)


def moons(folder: Path | None, key: Key) -> Raw:
    """Two interleaved half circles with noise 0.07 (SLTN-GA, arXiv:2411.04658).

    There, training and test points are drawn with the same seed; here independently.
    """
    from sklearn.datasets import make_moons

    del folder
    return Raw(*_independently(key, make_moons), num_classes=2)


def circles(folder: Path | None, key: Key) -> Raw:
    """Two circles of radii 1 and 0.8 with noise 0.07, drawn as `moons`."""
    from sklearn.datasets import make_circles

    del folder
    return Raw(*_independently(key, make_circles), num_classes=2)


def blobs(folder: Path | None, key: Key) -> Raw:
    """Ten Gaussian clouds in the plane, of unit variance (arXiv:2508.08877).

    Their centres are uniform in [-20, 40]^2; fewer with `data.classes`, the first.
    """
    from sklearn.datasets import make_blobs

    del folder
    centre_key, *keys = jax.random.split(key, 3)
    centres = np.asarray(jax.random.uniform(centre_key, (10, 2), minval=-20, maxval=40))
    splits = [
        make_blobs([num] * 10, centers=centres, random_state=_seed(own))
        for num, own in zip(NUM_BLOBS, keys, strict=True)
    ]
    return Raw(*splits, num_classes=10)


def _independently(key: Key, make):
    """Training and test points of scikit-learn's `make`, of two seeds."""
    return [
        make(num, noise=0.07, random_state=_seed(own))
        for num, own in zip(NUM_MOONS, jax.random.split(key), strict=True)
    ]


def _seed(key: Key) -> int:
    return int(jax.random.bits(key))
