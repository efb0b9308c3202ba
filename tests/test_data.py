"""Loaders refuse what is damaged; splits are disjoint; scaling uses training alone."""

import gzip
import struct
import sys

import jax
import numpy as np
import pytest

from lottery_jax import data
from lottery_jax.data import cifar, idx
from lottery_jax.data import tfds as loader
from lottery_jax.data.base import Raw, make_dataset
from lottery_jax.errors import ConfigError, DataError
from tests import helpers

KEY = jax.random.key(0)


def idx_bytes(array, shape=None, magic=None):
    shape = array.shape if shape is None else shape
    magic = bytes([0, 0, 8, array.ndim]) if magic is None else magic
    return magic + struct.pack(f">{len(shape)}I", *shape) + array.tobytes()


def write_mnist(folder, *, compress=True, **replaced):
    """A tiny MNIST of 20 training and 10 test images; `replaced`: file -> bytes."""
    folder.mkdir()
    values = np.random.default_rng(0)
    for prefix, num in (("train", 20), ("t10k", 10)):
        images = values.integers(0, 256, (num, 28, 28), np.uint8)
        labels = np.arange(num, dtype=np.uint8) % 10
        for kind, array in (("images-idx3", images), ("labels-idx1", labels)):
            name = f"{prefix}-{kind}-ubyte"
            content = replaced.get(name, idx_bytes(array))
            if compress:
                (folder / f"{name}.gz").write_bytes(gzip.compress(content))
            else:
                (folder / name).write_bytes(content)


@pytest.mark.parametrize("compress", [True, False])
@pytest.mark.parametrize("name", ["mnist", "fashion_mnist"])
def test_idx_files_are_read(tmp_path, name, compress):
    write_mnist(tmp_path / name, compress=compress)
    raw = data.DATASETS[name](tmp_path, KEY)
    expected = np.random.default_rng(0).integers(0, 256, (20, 28, 28), np.uint8)
    np.testing.assert_array_equal(raw.train[0][..., 0], expected)
    np.testing.assert_array_equal(raw.test[1], np.arange(10))
    assert raw.num_classes == 10


GOOD = np.zeros((20, 28, 28), np.uint8)
LABELS = np.arange(20, dtype=np.uint8) % 10
DAMAGED = {
    "magic": ("train-images-idx3-ubyte", idx_bytes(GOOD, magic=b"\0\0\x0d\3"), "magic"),
    "labels as images": ("train-images-idx3-ubyte", idx_bytes(LABELS), "magic"),
    "truncated": ("train-images-idx3-ubyte", idx_bytes(GOOD)[:-1], "truncated"),
    "too long": ("train-images-idx3-ubyte", idx_bytes(GOOD) + b"0", "longer"),
    "header": ("train-images-idx3-ubyte", idx_bytes(GOOD)[:9], "header"),
    "empty file": ("train-images-idx3-ubyte", b"", "magic"),
    "no examples": ("train-labels-idx1-ubyte", idx_bytes(LABELS[:0]), "no examples"),
    "size": ("t10k-images-idx3-ubyte", idx_bytes(GOOD[:10, :27]), "(28, 28)"),
    "counts": ("train-labels-idx1-ubyte", idx_bytes(LABELS[:19]), "20 images"),
    "label": ("train-labels-idx1-ubyte", idx_bytes(LABELS + 1), "label 10"),
}


@pytest.mark.parametrize("compress", [True, False])
@pytest.mark.parametrize("case", DAMAGED)
def test_damaged_idx_files_are_refused(tmp_path, case, compress):
    name, content, message = DAMAGED[case]
    write_mnist(tmp_path / "mnist", compress=compress, **{name: content})
    with pytest.raises(DataError) as error:
        data.load("mnist", str(tmp_path), key=KEY, validation_size=5)
    assert message in str(error.value) and name in str(error.value)


def test_damaged_compression_is_refused(tmp_path):
    write_mnist(tmp_path / "mnist")
    path = tmp_path / "mnist" / "train-images-idx3-ubyte.gz"
    path.write_bytes(path.read_bytes()[:200])
    with pytest.raises(DataError, match="train-images"):
        data.load("mnist", str(tmp_path), key=KEY, validation_size=5)


def test_a_missing_file_is_named(tmp_path):
    write_mnist(tmp_path / "mnist")
    (tmp_path / "mnist" / "t10k-labels-idx1-ubyte.gz").unlink()
    with pytest.raises(DataError, match="t10k-labels-idx1-ubyte"):
        data.load("mnist", str(tmp_path), key=KEY, validation_size=5)


def test_a_header_is_not_believed(tmp_path):
    """A header that claims 4 TB costs no more memory than the file has."""
    path = tmp_path / "huge-idx3-ubyte"
    path.write_bytes(idx_bytes(np.zeros((1, 1, 1), np.uint8), (2**31, 2**11, 1)))
    with pytest.raises(DataError, match="truncated"):
        idx.read_idx(path, 3)


def cifar_bytes(num, label=None):
    values = np.random.default_rng(num)
    records = values.integers(0, 256, (num, cifar.RECORD), np.uint8)
    records[:, 0] = np.arange(num) % 10 if label is None else label
    return records.tobytes()


def test_cifar_batches_that_are_there_are_read(tmp_path):
    folder = tmp_path / cifar.FOLDER
    folder.mkdir()
    for name, num in (("data_batch_1", 7), ("data_batch_4", 5), ("test_batch", 3)):
        (folder / f"{name}.bin").write_bytes(cifar_bytes(num))
    raw = data.DATASETS["cifar10"](tmp_path, KEY)
    assert raw.train[0].shape == (12, 32, 32, 3) and raw.test[0].shape == (3, 32, 32, 3)
    record = np.frombuffer(cifar_bytes(5), np.uint8).reshape(5, -1)[2]
    row, column, channel = 4, 9, 2
    pixel = record[1 + channel * 1024 + row * 32 + column]
    assert raw.train[0][7 + 2, row, column, channel] == pixel
    assert raw.train[1][7 + 2] == record[0]


@pytest.mark.parametrize(
    ("content", "message"),
    [(cifar_bytes(3)[:-1], "truncated"), (b"", "0 bytes"), (cifar_bytes(3, 10), "10")],
)
def test_damaged_cifar_batches_are_refused(tmp_path, content, message):
    folder = tmp_path / cifar.FOLDER
    folder.mkdir()
    (folder / "data_batch_1.bin").write_bytes(content)
    (folder / "test_batch.bin").write_bytes(cifar_bytes(3))
    with pytest.raises(DataError, match=message):
        data.load("cifar10", str(tmp_path), key=KEY, validation_size=1)


def test_a_missing_directory_is_named(tmp_path):
    with pytest.raises(DataError, match="nowhere"):
        data.load("mnist", str(tmp_path / "nowhere"), key=KEY, validation_size=1)


def test_without_files_and_tensorflow_the_message_says_what_to_do(tmp_path):
    with pytest.raises(DataError, match="LOTTERY_DATA_DIR"):
        data.load("mnist", str(tmp_path), key=KEY, validation_size=1)


def test_tfds_reads_a_prepared_dataset_without_tensorflow(tmp_path):
    import tensorflow_datasets as tfds
    from PIL import Image

    class TinyDigits(tfds.core.GeneratorBasedBuilder):
        """Twenty and ten images, each filled with its own number."""

        VERSION = tfds.core.Version("1.0.0")

        def _info(self):
            features = {
                "image": tfds.features.Image(shape=(28, 28, 1)),
                "label": tfds.features.ClassLabel(num_classes=10),
            }
            return tfds.core.DatasetInfo(
                builder=self, features=tfds.features.FeaturesDict(features)
            )

        def _split_generators(self, manager):
            sizes = {"train": 20, "test": 10}
            return {name: self._generate_examples(n) for name, n in sizes.items()}

        def _generate_examples(self, num):
            for i in range(num):
                pixels = np.full((28, 28), i, np.uint8)
                yield i, {"image": Image.fromarray(pixels), "label": i % 10}

    TinyDigits(data_dir=tmp_path, file_format="array_record").download_and_prepare()
    assert "tensorflow" not in sys.modules
    raw = loader.load("tiny_digits", tmp_path, files="")
    assert raw.train[0].shape == (20, 28, 28, 1) and raw.num_classes == 10
    order = raw.train[0][:, 0, 0, 0]  # TFDS shuffles when it prepares
    assert sorted(order) == list(range(20))
    np.testing.assert_array_equal(raw.train[1], order % 10)
    assert raw.test[0].dtype == np.uint8 and len(raw.test[0]) == 10


def numbered(num, test=None):
    """Examples whose input is their own number."""
    x = np.arange(num, dtype=np.float64)[:, None]
    own = None if test is None else (1000 + np.arange(test)[:, None], np.zeros(test))
    return Raw((x, np.zeros(num)), own, num_classes=2)


def numbers(dataset):
    return [set(np.asarray(split.x)[:, 0]) for split in dataset[:3]]


def test_splits_are_disjoint_and_complete():
    sizes = {"validation_size": 20, "standardize": "none"}
    made = make_dataset(numbered(100), "n", key=KEY, test_size=30, **sizes)
    train, validation, test = numbers(made)
    assert (len(train), len(validation), len(test)) == (50, 20, 30)
    assert train | validation | test == set(range(100))
    own = make_dataset(numbered(100, test=10), "n", key=KEY, **sizes)
    assert numbers(own)[2] == set(range(1000, 1010)) and len(own.train.x) == 80
    other_key = jax.random.key(1)
    other = make_dataset(numbered(100), "n", key=other_key, test_size=30, **sizes)
    assert numbers(other) != numbers(made)


def test_a_part_of_the_test_split_is_drawn():
    """It may be sorted by label, as MNIST's nearly is by difficulty."""
    sizes = {"validation_size": 20, "standardize": "none", "test_size": 10}
    raw = numbered(100, test=40)
    test = numbers(make_dataset(raw, "n", key=KEY, **sizes))[2]
    other = numbers(make_dataset(raw, "n", key=jax.random.key(1), **sizes))[2]
    assert len(test) == len(other) == 10 and test != other
    assert test | other <= set(range(1000, 1040))


def test_train_size_takes_a_part():
    sizes = {"validation_size": 20, "standardize": "none"}
    small = make_dataset(numbered(100, 10), "n", key=KEY, train_size=30, **sizes)
    whole = make_dataset(numbered(100, 10), "n", key=KEY, **sizes)
    assert len(small.train.x) == 30 and numbers(small)[0] < numbers(whole)[0]
    assert numbers(small)[1] == numbers(whole)[1]


@pytest.mark.parametrize(
    ("field", "sizes"),
    [
        ("data.test_size", {"validation_size": 10}),
        ("data.test_size", {"validation_size": 10, "test_size": 100}),
        ("data.validation_size", {"validation_size": 90, "test_size": 10}),
        ("data.validation_size", {"validation_size": 0, "test_size": 10}),
        ("data.train_size", {"validation_size": 9, "test_size": 10, "train_size": 82}),
    ],
)
def test_impossible_sizes_name_their_field(field, sizes):
    with pytest.raises(ConfigError, match=field):
        make_dataset(numbered(100), "n", key=KEY, **sizes)


@pytest.mark.parametrize(
    ("labels", "message"),
    [
        (np.ones(99), "100 inputs, 99 labels"),
        (np.arange(100) % 2 + 1, "labels from 1 to 2"),
        (np.arange(100) % 2 - 1, "labels from -1 to 0"),
    ],
)
def test_labels_that_do_not_fit_are_refused(labels, message):
    raw = numbered(100)._replace(train=(np.zeros((100, 1)), labels))
    with pytest.raises(DataError, match=message):
        make_dataset(raw, "n", key=KEY, test_size=10, validation_size=10)


def test_standardisation_uses_the_training_split_alone():
    values = np.random.default_rng(0)
    x = values.normal(3, 2, (40, 4, 4, 2)) * np.array([1.0, 5.0])
    raw = Raw((x, np.zeros(40)), (x * 100, np.zeros(40)), 2)

    def made(kind):
        return make_dataset(raw, "n", key=KEY, validation_size=10, standardize=kind)

    plain = np.asarray(made("none").train.x, np.float64)
    scaled = made("mean_std")
    for channel in range(2):
        column = plain[..., channel]
        expected = (column - column.mean()) / column.std()
        np.testing.assert_allclose(scaled.train.x[..., channel], expected, atol=1e-5)
    assert np.abs(np.asarray(scaled.test.x)).max() > 50  # scaled by training numbers
    for kind, ends in (("unit", (0, 1)), ("range_0.7", (-0.7, 0.7))):
        found = np.asarray(made(kind).train.x)
        np.testing.assert_allclose((found.min(), found.max()), ends, atol=1e-6)
    norms = np.sqrt((np.asarray(made("l2_image").test.x) ** 2).sum((1, 2, 3)))
    np.testing.assert_allclose(norms, 1, rtol=1e-5)


def test_constant_inputs_are_scaled_without_dividing_by_zero():
    raw = Raw((np.zeros((20, 3)), np.zeros(20)), (np.zeros((5, 3)), np.zeros(5)), 2)
    for kind in data.STANDARDIZE:
        made = make_dataset(raw, "n", key=KEY, validation_size=5, standardize=kind)
        assert np.isfinite(np.asarray(made.train.x)).all(), kind


def test_xor_is_balanced_and_right():
    x, y = data.DATASETS["xor"](None, KEY).train
    np.testing.assert_array_equal(y, np.round(x[:, 0]) != np.round(x[:, 1]))
    assert 0.45 < y.mean() < 0.55 and x.min() >= 0 and x.max() <= 1


def test_gaussian_inputs_are_standard_normal_and_have_no_targets():
    x, y = data.DATASETS["gaussian"](None, KEY).train
    assert x.shape == (20_000, 50) and not y.any()
    off = np.cov(x.T) - np.eye(50)
    assert np.abs(x.mean(0)).max() < 0.04 and np.abs(off).max() < 0.06
    made = data.load("gaussian", key=KEY, validation_size=5, test_size=5)
    assert made.num_classes is None and made.train.y.dtype == np.float32


@helpers.needs_mnist
def test_the_real_mnist():
    made = data.load("mnist", key=KEY, validation_size=5000)
    assert [len(split.x) for split in made[:3]] == [55_000, 5_000, 10_000]
    raw = data.DATASETS["mnist"](helpers.MNIST.parent, KEY)
    scaled = raw.train[0] / 255
    assert abs(scaled.mean() - 0.1307) < 1e-4 and abs(scaled.std() - 0.3081) < 1e-4
    counts = np.bincount(raw.train[1])
    assert counts[1] == 6742 and counts[5] == 5421
