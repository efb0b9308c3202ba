"""MNIST and Fashion-MNIST from their original IDX files, gzipped or not.

The format: two zero bytes, a type byte (8 = unsigned byte), the number of dimensions,
each dimension as a big-endian 32-bit integer, then the values. Nothing in a header is
believed before the bytes are there.
"""

import gzip
import math
import struct
import zlib
from pathlib import Path

import numpy as np

from lottery_jax.data import tfds
from lottery_jax.data.base import Raw
from lottery_jax.errors import DataError
from lottery_jax.types import Key

BLOCK = 1 << 20


def mnist(folder: Path | None, key: Key) -> Raw:
    """MNIST (LeCun et al.), 60,000 and 10,000 images [28, 28, 1], values 0 to 255."""
    del key
    return _load(folder, "mnist")


def fashion_mnist(folder: Path | None, key: Key) -> Raw:
    """Fashion-MNIST (Xiao et al., arXiv:1708.07747), the same shapes as MNIST."""
    del key
    return _load(folder, "fashion_mnist")


def _load(folder: Path | None, name: str) -> Raw:
    if folder is None or not _find(folder / name, "train-images-idx3-ubyte"):
        return tfds.load(name, folder, files=f"{name}/train-images-idx3-ubyte[.gz]")
    pairs = [_load_pair(folder / name, prefix) for prefix in ("train", "t10k")]
    return Raw(*pairs, num_classes=10)


def _load_pair(folder: Path, prefix: str) -> tuple[np.ndarray, np.ndarray]:
    files = []
    for kind in (f"{prefix}-images-idx3-ubyte", f"{prefix}-labels-idx1-ubyte"):
        path = _find(folder, kind)
        if path is None:
            raise DataError(f"{folder / kind}[.gz] is missing")
        files.append(path)
    images, labels = read_idx(files[0], 3), read_idx(files[1], 1)
    if images.shape[1:] != (28, 28):
        raise DataError(f"{files[0]}: images of {images.shape[1:]}, expected (28, 28)")
    if len(images) != len(labels):
        raise DataError(
            f"{files[0]} has {len(images)} images, {files[1]} {len(labels)} labels"
        )
    if labels.max(initial=0) > 9:
        raise DataError(f"{files[1]}: label {labels.max()}, expected 0 to 9")
    return images[..., None], labels


def _find(folder: Path, name: str) -> Path | None:
    for path in (folder / name, folder / f"{name}.gz"):
        if path.is_file():
            return path
    return None


def read_idx(path: Path, ndim: int) -> np.ndarray:
    """Reads one IDX file of unsigned bytes with `ndim` dimensions.

    Raises:
      DataError: wrong magic number or dimensions, no examples, too few or too many
        bytes, damaged compression.
    """
    opener = gzip.open if path.suffix == ".gz" else open
    try:
        with opener(path, "rb") as file:
            header = file.read(4 + 4 * ndim)
            if header[:4] != bytes([0, 0, 8, ndim]):
                expected = bytes([0, 0, 8, ndim]).hex()
                raise DataError(
                    f"{path}: magic number {header[:4].hex()}, expected {expected}"
                )
            if len(header) < 4 + 4 * ndim:
                raise DataError(f"{path}: truncated inside its header")
            shape = struct.unpack(f">{ndim}I", header[4:])
            size = math.prod(shape)
            if size == 0:
                raise DataError(f"{path}: no examples, the header says {shape}")
            values = _read_at_most(file, size + 1)
    except (OSError, EOFError, zlib.error) as error:
        raise DataError(f"{path}: cannot be read: {error}") from error
    if len(values) != size:
        state = "truncated" if len(values) < size else "longer than its header says"
        raise DataError(f"{path}: {state}, the header {shape} asks for {size:,} bytes")
    return np.frombuffer(values, np.uint8).reshape(shape)


def _read_at_most(file, limit: int) -> bytearray:
    """Grows with the bytes that are really there, not with what is asked for."""
    values = bytearray()
    while len(values) < limit:
        block = file.read(min(BLOCK, limit - len(values)))
        if not block:
            break
        values += block
    return values
