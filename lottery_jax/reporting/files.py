"""Files that are read with clear errors, and written whole or not at all."""

import json
import os
import zipfile
from collections.abc import Callable
from pathlib import Path

import numpy as np

from lottery_jax.errors import ResultsError


def reading(path: Path, read: Callable):
    """What `read(path)` gives.

    Raises:
      ResultsError: no such file, or a damaged one.
    """
    try:
        return read(path)
    except (OSError, ValueError, KeyError, EOFError, zipfile.BadZipFile) as error:
        raise ResultsError(f"{path} is missing or damaged: {error}") from error


def read_json(path: Path):
    """A file of JSON; raises as `reading`."""
    return reading(path, lambda path: json.loads(path.read_text()))


def read_npz(path: Path) -> dict[str, np.ndarray]:
    """Arrays by name, nothing of which is unpickled."""
    with open(path, "rb") as file, np.load(file, allow_pickle=False) as stored:
        return dict(stored)


def write_json(path: Path, value):
    """Writes a file of JSON, as `write`."""
    write(path, json.dumps(value, indent=1).encode())


def write(path: Path, content: bytes):
    """Writes a file that is there whole or as it was before."""
    beside = path.with_name(f".writing-{path.name}")
    beside.write_bytes(content)
    sync(beside)
    beside.replace(path)
    sync(path.parent)


def sync(path: Path):
    """Waits until a file or folder is on the disk."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
