"""TensorFlow Datasets without TensorFlow: `tfds.data_source`, arrays out.

A dataset that is prepared on disk (array_record files) is read with NumPy alone. To
prepare one, TFDS itself needs TensorFlow for most image datasets.
"""

import importlib.util
from pathlib import Path

import numpy as np
from absl import logging

from lottery_jax.data.base import Raw
from lottery_jax.errors import DataError


def load(name: str, folder: Path | None, *, files: str) -> Raw:
    """Reads the splits `train` and `test` of an image classification dataset.

    Args:
      name: as TFDS names it, e.g. "mnist".
      folder: TFDS data directory to look in first; otherwise its own default
        (`TFDS_DATA_DIR` or ~/tensorflow_datasets).
      files: the original files that were looked for first, for the message.

    Raises:
      DataError: neither prepared nor preparable here.
    """
    verbosity = logging.get_verbosity()
    logging.set_verbosity(logging.ERROR)  # what is not there is no warning yet
    try:
        return _load(name, folder, files)
    finally:
        logging.set_verbosity(verbosity)


def _load(name: str, folder: Path | None, files: str) -> Raw:
    import tensorflow_datasets as tfds  # slow, and most runs do without

    format_ = {"file_format": "array_record"}
    places = ([str(folder)] if folder else []) + [None]
    try:
        builders = [tfds.builder(name, data_dir=place, **format_) for place in places]
    except tfds.core.registered.DatasetNotFoundError as error:
        raise DataError(f"TFDS has no dataset {name!r}") from error
    ready = [builder for builder in builders if builder.is_prepared()]
    if not ready and importlib.util.find_spec("tensorflow") is None:
        raise DataError(
            f"{name}: no {files} in the data directory ({folder or 'none is named'}), "
            f"nor prepared by TFDS in {builders[-1].data_path}. Name the directory by "
            "--config.data.dir or LOTTERY_DATA_DIR; or prepare the dataset once where "
            f"TensorFlow is installed: tfds.data_source({name!r})"
        )
    builder = (ready or builders)[0]
    try:
        source = tfds.data_source(
            name, data_dir=builder.data_dir_root, builder_kwargs=format_
        )
        classes = builder.info.features["label"].num_classes
        return Raw(_arrays(source["train"]), _arrays(source["test"]), classes)
    except Exception as error:  # TFDS raises many kinds for damaged or missing files
        raise DataError(f"TFDS cannot read {name}: {error}") from error


def _arrays(examples) -> tuple[np.ndarray, np.ndarray]:
    pairs = [(example["image"], example["label"]) for example in examples]
    images, labels = zip(*pairs, strict=True)
    return np.stack(images), np.asarray(labels)
