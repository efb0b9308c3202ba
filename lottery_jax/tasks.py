"""From a config to what is trained: random streams, data, network."""

from collections.abc import Mapping

from ml_collections import ConfigDict

from lottery_jax import data, rng
from lottery_jax.models import MODELS, with_biases
from lottery_jax.training import losses
from lottery_jax.types import Dataset, Key, Model


def make_roots(config: ConfigDict) -> dict[str, Key]:
    """Root keys of the random streams, seeded as `config.seed` says."""
    seeds = config.seed.to_dict()
    return rng.roots(seeds.pop("root"), **seeds)


def load_data(config: ConfigDict, roots: Mapping[str, Key]) -> Dataset:
    """The data of `config.data`, split."""
    split = config.data.to_dict()
    key = rng.stream(roots, "split")
    return data.load(split.pop("name"), split.pop("dir"), key=key, **split)


def make_model(config: ConfigDict, dataset: Dataset) -> Model:
    """The network of `config.model`, for these inputs and outputs."""
    options = {k: v for k, v in config.model.to_dict().items() if v is not None}
    num_outputs = dataset.num_classes or dataset.train.y[0].size
    if losses.loss_of(dataset, config.train.loss).one_output:
        num_outputs = 1
    prunes_biases = options.pop("prune_biases")
    make = MODELS[options.pop("name")]
    model = make(dataset.train.x.shape[1:], num_outputs, **options)
    return with_biases(model) if prunes_biases else model
