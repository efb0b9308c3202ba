"""CIFAR-10 from its original binary batches.

A record is one label byte and 3,072 pixel bytes, channel by channel. The training
batches that are there are used, one to five of them.
"""

from pathlib import Path

import numpy as np

from lottery_jax.data import tfds
from lottery_jax.data.base import Raw
from lottery_jax.errors import DataError
from lottery_jax.types import Key

FOLDER = "cifar-10-batches-bin"
RECORD = 1 + 3 * 32 * 32


def cifar10(folder: Path | None, key: Key) -> Raw:
    """CIFAR-10 (Krizhevsky, 2009): images [32, 32, 3], values 0 to 255."""
    del key
    batches = sorted((folder / FOLDER).glob("data_batch_[1-5].bin")) if folder else []
    if not batches:
        return tfds.load("cifar10", folder, files=f"{FOLDER}/data_batch_1.bin")
    parts = [read_batch(path) for path in batches]
    train = tuple(np.concatenate(arrays) for arrays in zip(*parts, strict=True))
    return Raw(train, read_batch(folder / FOLDER / "test_batch.bin"), num_classes=10)


def read_batch(path: Path) -> tuple[np.ndarray, np.ndarray]:
    """Images uint8 [n, 32, 32, 3] and labels uint8 [n] of one binary batch.

    Raises:
      DataError: missing, empty, not whole records, more records than a batch holds, a
        label above 9.
    """
    try:
        size = path.stat().st_size
        if size == 0 or size % RECORD:
            raise DataError(
                f"{path}: {size:,} bytes are no whole records of {RECORD:,}: truncated?"
            )
        if size > 10_000 * RECORD:
            raise DataError(f"{path}: more than the 10,000 records of a batch")
        records = np.frombuffer(path.read_bytes(), np.uint8).reshape(-1, RECORD)
    except OSError as error:
        raise DataError(f"{path}: cannot be read: {error.strerror}") from error
    labels, pixels = records[:, 0], records[:, 1:]
    if labels.max() > 9:
        raise DataError(f"{path}: label {labels.max()}, expected 0 to 9")
    return pixels.reshape(-1, 3, 32, 32).transpose(0, 2, 3, 1), labels
