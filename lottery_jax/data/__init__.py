"""Datasets by name: every loader returns plain arrays, `load` makes a `Dataset`."""

import os
from pathlib import Path

import jax

from lottery_jax.data.base import STANDARDIZE, Raw, make_dataset
from lottery_jax.data.cifar import cifar10
from lottery_jax.data.digits import digits
from lottery_jax.data.idx import fashion_mnist, mnist
from lottery_jax.data.synthetic import (
    blobs,
    circle,
    circles,
    gaussian,
    helix,
    moons,
    relu,
    xor,
    xor_corners,
)
from lottery_jax.errors import DataError
from lottery_jax.types import Dataset, Key

__all__ = ["DATASETS", "STANDARDIZE", "Raw", "load", "make_dataset"]

DATASETS = {
    "blobs": blobs,
    "cifar10": cifar10,
    "circle": circle,
    "circles": circles,
    "digits": digits,
    "fashion_mnist": fashion_mnist,
    "gaussian": gaussian,
    "helix": helix,
    "mnist": mnist,
    "moons": moons,
    "relu": relu,
    "xor": xor,
    "xor_corners": xor_corners,
}
"""Name -> `loader(folder, key) -> Raw`; key is for data that are drawn."""


def load(name: str, folder: str = "", *, key: Key, **split) -> Dataset:
    """Loads a dataset by name and splits it.

    Args:
      name: in `DATASETS`.
      folder: where local files are; "": the environment's `LOTTERY_DATA_DIR`.
      key: random key of the splits (and of data that are drawn).
      **split: arguments of `make_dataset`.

    Raises:
      DataError: files missing, damaged or truncated.
      ConfigError: sizes of splits that the data do not have.
    """
    folder = folder or os.environ.get("LOTTERY_DATA_DIR", "")
    path = Path(folder).expanduser() if folder else None
    if path is not None and not path.is_dir():
        raise DataError(f"data directory {path} does not exist (config.data.dir)")
    draw_key, split_key = jax.random.split(key)
    return make_dataset(DATASETS[name](path, draw_key), name, key=split_key, **split)
