"""Training data from which nothing can be learned, or only half: to find masks on.

A method that finds as good a ticket on them has made no use of its data (Su et al.,
arXiv:2009.11094, sec. 3). Validation and test splits stay as they are.
"""

from collections.abc import Callable

import jax
import numpy as np

from lottery_jax.types import Dataset, Key


def random_labels(dataset: Dataset, key: Key) -> Dataset:
    """Every label drawn anew among the classes; targets of a regression permuted."""
    y = dataset.train.y
    if dataset.num_classes is None:
        drawn = np.asarray(y)[np.asarray(jax.random.permutation(key, len(y)))]
    else:
        drawn = np.asarray(jax.random.randint(key, y.shape, 0, dataset.num_classes))
    return dataset._replace(train=dataset.train._replace(y=drawn.astype(y.dtype)))


def shuffled_pixels(dataset: Dataset, key: Key) -> Dataset:
    """Random labels, and the values of every example in an order of their own."""
    label_key, pixel_key = jax.random.split(key)
    x = np.asarray(dataset.train.x)
    flat = x.reshape(len(x), -1)
    order = np.argsort(jax.random.uniform(pixel_key, flat.shape), axis=1)
    shuffled = np.take_along_axis(flat, order, axis=1).reshape(x.shape)
    corrupt = random_labels(dataset, label_key)
    return corrupt._replace(train=corrupt.train._replace(x=shuffled))


def half_data(dataset: Dataset, key: Key) -> Dataset:
    """A random half of the examples."""
    train = dataset.train
    chosen = jax.random.permutation(key, len(train.x))[: len(train.x) // 2]
    chosen = np.sort(np.asarray(chosen))
    x, y = (np.asarray(leaf)[chosen] for leaf in train)
    return dataset._replace(train=train._replace(x=x, y=y))


CORRUPTIONS: dict[str, Callable[[Dataset, Key], Dataset]] = {
    "half_data": half_data,
    "random_labels": random_labels,
    "shuffled_pixels": shuffled_pixels,
}
"""Name -> `corrupt(dataset, key) -> dataset`."""
