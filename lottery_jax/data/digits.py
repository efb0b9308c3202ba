"""scikit-learn's 8x8 digits: 1,797 images that come with the package."""

from pathlib import Path

from lottery_jax.data.base import Raw
from lottery_jax.types import Key


def digits(folder: Path | None, key: Key) -> Raw:
    """UCI digits, images [1797, 8, 8, 1] with values 0 to 16; no test split."""
    del folder, key
    from sklearn.datasets import load_digits  # half a second that others need not pay

    data = load_digits()
    return Raw((data.images[..., None], data.target), test=None, num_classes=10)
