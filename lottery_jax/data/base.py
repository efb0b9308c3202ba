"""From raw arrays to a `Dataset`: seeded splits and standardisation.

Everything is computed on the training split alone; validation and test are transformed
with its numbers.
"""

from collections.abc import Callable
from typing import NamedTuple

import jax
import numpy as np

from lottery_jax.errors import ConfigError, DataError
from lottery_jax.types import Dataset, Key, Split


class Raw(NamedTuple):
    """What a loader returns: arrays as they are stored.

    Attributes:
      train: (x [n, ...], y [n]); images are [n, height, width, channels].
      test: the dataset's own test split, or None where it has none.
      num_classes: None for regression.
      validation: examples of its own, or None: they are held out of `train`.
    """

    train: tuple[np.ndarray, np.ndarray]
    test: tuple[np.ndarray, np.ndarray] | None
    num_classes: int | None
    validation: tuple[np.ndarray, np.ndarray] | None = None


def make_dataset(
    raw: Raw,
    name: str,
    *,
    key: Key,
    validation_size: int,
    test_size: int | None = None,
    train_size: int | None = None,
    standardize: str = "mean_std",
    classes: int | None = None,
) -> Dataset:
    """Splits at random, then standardises with the numbers of the training split.

    Args:
      raw: arrays of a loader.
      name: of the dataset, for messages and tables.
      key: decides which example goes where.
      validation_size: examples held out of the training data.
      test_size: examples to use for testing: cut from the dataset's own test split, or
        held out of the training data where it has none. None: all of its own.
      train_size: examples to train on; None: all that are left.
      standardize: name in `STANDARDIZE`.
      classes: how many of the classes to use, the first; None: all.

    Raises:
      ConfigError: a size that the data do not have.
      DataError: not as many labels as inputs, labels out of range.
    """
    for x, y in filter(None, (raw.train, raw.test, raw.validation)):
        _check_examples(name, x, y, raw.num_classes)
    if classes is not None:
        raw = _first_classes(raw, classes)
    x, y = raw.train
    order_key, test_key = jax.random.split(key)
    order = np.asarray(jax.random.permutation(order_key, len(x)))
    if raw.test is None:
        if test_size is None:
            problem = f"{name} has no test split of its own: say how many examples"
            raise ConfigError("data.test_size", problem)
        _check_size("data.test_size", test_size, len(order) - 2)
        test = x[order[:test_size]], y[order[:test_size]]
        order = order[test_size:]
    else:
        test_size = len(raw.test[0]) if test_size is None else test_size
        _check_size("data.test_size", test_size, len(raw.test[0]))
        test = raw.test
        if test_size < len(test[0]):
            chosen = np.asarray(jax.random.permutation(test_key, len(test[0])))
            chosen = np.sort(chosen[:test_size])
            test = test[0][chosen], test[1][chosen]
    if raw.validation is None:
        _check_size("data.validation_size", validation_size, len(order) - 1)
        held_out, order = np.split(order, [validation_size])
        validation = x[held_out], y[held_out]
    else:
        _check_size("data.validation_size", validation_size, len(raw.validation[0]))
        validation = tuple(part[:validation_size] for part in raw.validation)
    train_size = len(order) if train_size is None else train_size
    _check_size("data.train_size", train_size, len(order))

    train = x[order[:train_size]], y[order[:train_size]]
    transform = STANDARDIZE[standardize](train[0])
    splits = [train, validation, test]
    y_dtype = np.float32 if raw.num_classes is None else np.int32
    return Dataset(
        *(
            Split(transform(x).astype(np.float32, copy=False), y.astype(y_dtype))
            for x, y in splits
        ),
        num_classes=raw.num_classes,
        name=name,
    )


def _first_classes(raw: Raw, classes: int) -> Raw:
    if raw.num_classes is None:
        raise ConfigError("data.classes", f"{classes}: these data have no classes")
    if not 2 <= classes <= raw.num_classes:
        problem = f"{classes}: of {raw.num_classes} classes take 2 or more"
        raise ConfigError("data.classes", problem)

    def first(split):
        if split is None:
            return None
        x, y = split
        return x[y < classes], y[y < classes]

    train, test, validation = map(first, (raw.train, raw.test, raw.validation))
    return Raw(train, test, classes, validation)


def _check_examples(name: str, x, y, num_classes: int | None):
    if len(x) != len(y):
        raise DataError(f"{name}: {len(x)} inputs, {len(y)} labels")
    if num_classes is not None and not 0 <= y.min() <= y.max() < num_classes:
        problem = f"labels from {y.min()} to {y.max()}, expected 0 to {num_classes - 1}"
        raise DataError(f"{name}: {problem}")


def _check_size(field: str, size: int, available: int):
    if not 1 <= size <= available:
        problem = f"{size} examples asked for, 1 to {available} can be had"
        raise ConfigError(field, problem)


def mean_std(train: np.ndarray) -> Callable[[np.ndarray], np.ndarray]:
    """Zero mean, unit variance, per channel (images) or per feature (vectors)."""
    axes = tuple(range(train.ndim - 1))
    precision = _precision(train)
    mean = train.mean(axes, dtype=np.float64).astype(precision)
    # In blocks: a copy of all inputs as floats costs more than the arithmetic.
    blocks = np.array_split(train, -(-train.size // 2**18))
    squares = (np.square(x - mean).sum(axes, dtype=np.float64) for x in blocks)
    variance = sum(squares) * (mean.size / train.size)
    std = np.sqrt(np.where(variance > 0, variance, 1.0)).astype(precision)
    return lambda x: _scale(x, mean, std)


def unit(train: np.ndarray) -> Callable[[np.ndarray], np.ndarray]:
    """The range of the training split becomes [0, 1], one scale for all features."""
    low, high = (_precision(train).type(end) for end in (train.min(), train.max()))
    scale = high - low if high > low else np.ones_like(low)
    return lambda x: _scale(x, low, scale)


def range_07(train: np.ndarray) -> Callable[[np.ndarray], np.ndarray]:
    """The range of the training split becomes [-0.7, 0.7], one scale for all features.

    As SLTN-GA has its moons, but there the test points by their own range.
    """
    low, high = (_precision(train).type(end) for end in (train.min(), train.max()))
    middle = (low + high) / 2
    scale = (high - low) / 1.4 if high > low else np.ones_like(low)
    return lambda x: _scale(x, middle, scale)


def l2_image(train: np.ndarray) -> Callable[[np.ndarray], np.ndarray]:
    """Each example divided by its own L2 norm (Frankle & Carbin's released code)."""
    precision = _precision(train)

    def transform(x):
        x = x.astype(precision)
        norm = np.linalg.norm(x.reshape(len(x), -1), axis=1)
        norm = np.where(norm > 0, norm, np.ones_like(norm))
        x /= norm.reshape((-1,) + (1,) * (x.ndim - 1))
        return x

    return transform


def none(train: np.ndarray) -> Callable[[np.ndarray], np.ndarray]:
    """Values as they are stored (MNIST: 0 to 255)."""
    del train
    return lambda x: x


def _precision(x: np.ndarray) -> np.dtype:
    """float32 where it holds the inputs exactly (bytes do): ten times as fast."""
    return np.result_type(x, np.float32)


def _scale(x: np.ndarray, offset, scale) -> np.ndarray:
    x = x - offset
    x /= scale  # in place: fresh memory is what takes the time
    return x


STANDARDIZE = {
    "l2_image": l2_image,
    "mean_std": mean_std,
    "none": none,
    "range_0.7": range_07,
    "unit": unit,
}
"""Name -> function of the training inputs that returns the transform of any inputs."""
