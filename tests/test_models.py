"""Sizes of the papers' networks, their initialisation, and what may be pruned."""

import functools

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx

from lottery_jax.errors import ConfigError
from lottery_jax.models import INITIALIZERS, MODELS, adapters, from_linen
from lottery_jax.models.conv import convolve
from lottery_jax.tickets import masks
from tests import helpers

SHAPES = {"mlp": (8, 8, 1), "conv_2": (8, 8, 1), "lenet_5": (12, 12, 1)}


def sizes(name, input_shape, **options):
    model = MODELS[name](input_shape, 10, **options)
    params, _ = jax.eval_shape(model.init, jax.random.key(0))
    leaves = masks.named_leaves(params)
    prunable = masks.prunable_names(model.prunable(params))
    kernels = {name: leaf.size for name, leaf in leaves.items() if name in prunable}
    return kernels, sum(leaf.size for leaf in leaves.values()) - sum(kernels.values())


@pytest.mark.parametrize(
    ("name", "input_shape", "weights", "biases"),
    [
        ("lenet_300_100", (28, 28, 1), 266_200, 410),
        ("lenet_5", (28, 28, 1), 61_470, 236),
        ("conv_2", (32, 32, 3), 4_300_992, 650),
        ("conv_4", (32, 32, 3), 2_425_024, 906),
        ("conv_6", (32, 32, 3), 2_261_184, 1_418),
    ],
)
def test_weight_counts(name, input_shape, weights, biases):
    kernels, others = sizes(name, input_shape)
    assert sum(kernels.values()) == weights
    assert others == biases


@pytest.mark.parametrize(
    ("name", "conv"), [("conv_2", 38_592), ("conv_4", 259_776), ("conv_6", 1_144_512)]
)
def test_weights_in_convolutions(name, conv):
    kernels, _ = sizes(name, (32, 32, 3))
    found = sum(size for path, size in kernels.items() if path.startswith("conv"))
    assert found == conv


def test_lenet_layers():
    kernels, _ = sizes("lenet_300_100", (28, 28, 1))
    assert list(kernels.values()) == [235_200, 30_000, 1_000]
    assert list(kernels) == ["dense_0/kernel", "dense_1/kernel", "output/kernel"]


def test_mlp_takes_any_widths():
    kernels, biases = sizes("mlp", (5,), hidden=(7, 3, 2))
    assert list(kernels.values()) == [35, 21, 6, 20] and biases == 7 + 3 + 2 + 10


@pytest.mark.parametrize("name", MODELS)
def test_every_model_maps_a_batch_to_outputs(name):
    shape = SHAPES.get(name, (8, 8, 1))
    model = MODELS[name](shape, 4)
    params, state = model.init(jax.random.key(0))
    x = jax.random.normal(jax.random.key(1), (3, *shape))
    for train in (True, False):
        outputs, after = model.apply(params, state, x, train=train)
        assert outputs.shape == (3, 4) and after == state == {}
    permuted, _ = model.apply(params, state, x[::-1], train=False)
    np.testing.assert_allclose(permuted, outputs[::-1], atol=1e-5)


@pytest.mark.parametrize(
    ("name", "variance", "extreme"),
    [
        ("glorot_normal", 2 / 400, np.inf),
        ("glorot_truncated_normal", 2 / 400, 2.3),
        ("glorot_uniform", 2 / 400, np.sqrt(3) + 1e-3),
        ("kaiming_normal", 2 / 300, np.inf),
        ("normal_0.1", 0.01, np.inf),
    ],
)
def test_initial_weights_follow_their_law(name, variance, extreme):
    model = MODELS["mlp"]((300,), 10, hidden=(100,), initializer=name)
    params, _ = model.init(jax.random.key(0))
    kernel = np.asarray(params["dense_0"]["kernel"])
    std = np.sqrt(variance)
    assert abs(kernel.std() / std - 1) < 0.02 and abs(kernel.mean()) < 0.03 * std
    assert np.abs(kernel).max() <= extreme * std
    if extreme == np.inf:  # a normal law has tails
        assert np.abs(kernel).max() > 3.5 * std
    assert not np.any(params["dense_0"]["bias"])
    assert set(INITIALIZERS) >= {name}


def test_images_that_are_too_small_are_refused():
    with pytest.raises(ConfigError, match="at least 12x12"):
        MODELS["lenet_5"]((8, 8, 1), 10)
    with pytest.raises(ConfigError, match="model.name"):
        MODELS["conv_2"]((2,), 2)


def test_batch_statistics_are_state():
    class Normed(nn.Module):
        @nn.compact
        def __call__(self, x, train):
            x = nn.Dense(4, name="dense_0")(x)
            x = nn.BatchNorm(use_running_average=not train, momentum=0.5)(x)
            return nn.Dense(2, name="output")(x)

    model = from_linen(Normed(), (3,))
    params, state = model.init(jax.random.key(0))
    x = 5 + jax.random.normal(jax.random.key(1), (10, 3))
    _, same = model.apply(params, state, x, train=False)
    _, moved = model.apply(params, state, x, train=True)
    assert same is state
    mean = moved["batch_stats"]["BatchNorm_0"]["mean"]
    expected = 0.5 * (x @ params["dense_0"]["kernel"]).mean(0)
    np.testing.assert_allclose(mean, expected, rtol=1e-4)
    names = masks.prunable_names(model.prunable(params))
    assert names == ["dense_0/kernel", "output/kernel"]
    assert jnp.all(params["BatchNorm_0"]["scale"] == 1)


@pytest.mark.parametrize("padding", ["SAME", "VALID"])
@pytest.mark.parametrize("size, channels", [(3, 2), (5, 1), (4, 3), (1, 2)])
def test_a_convolution_as_a_product_is_one(size, channels, padding):
    """Values and gradients, odd and even kernels, images that are no squares."""
    keys = jax.random.split(jax.random.key(size), 3)
    x = jax.random.normal(keys[0], (2, 7, 9, channels))
    kernel = jax.random.normal(keys[1], (size, size, channels, 4))
    names = {"dimension_numbers": ("NHWC", "HWIO", "NHWC")}

    def both(function):
        def total(x, kernel):
            out = function(x, kernel, (1, 1), padding, **names)
            return jnp.sum(jnp.sin(out)), out

        return jax.grad(total, (0, 1), has_aux=True)(x, kernel)

    found, expected = both(convolve), both(jax.lax.conv_general_dilated)
    assert found[1].shape == expected[1].shape
    jax.tree.map(
        lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-4, atol=1e-4),
        found,
        expected,
    )


class Normalised(nnx.Module):
    def __init__(self, rngs):
        self.first = nnx.Linear(5, 7, rngs=rngs)
        self.norm = nnx.BatchNorm(7, rngs=rngs)
        self.last = nnx.Linear(7, 3, rngs=rngs)

    def __call__(self, x):
        return self.last(jax.nn.relu(self.norm(self.first(x))))


def test_an_nnx_module_is_a_model():
    model = adapters.from_nnx(Normalised)
    params, state = model.init(jax.random.key(0))
    again, _ = model.init(jax.random.key(0))
    other, _ = model.init(jax.random.key(1))
    helpers.assert_trees_equal(params, again)
    assert helpers.trees_differ(params["first"], other["first"])
    assert masks.prunable_names(model.prunable(params)) == [
        "first/kernel", "last/kernel",
    ]  # fmt: skip
    x = jax.random.normal(jax.random.key(2), (4, 5))

    @functools.partial(jax.jit, static_argnums=0)
    def outputs(train, params):
        with jax.numpy_rank_promotion("allow"):
            return model.apply(params, state, x, train=train)

    found, same = outputs(False, params)
    helpers.assert_trees_equal(same, state)
    hidden = x @ params["first"]["kernel"] / np.sqrt(1 + 1e-5)
    expected = np.maximum(hidden, 0) @ params["last"]["kernel"]
    np.testing.assert_allclose(found, expected, rtol=1e-4, atol=1e-5)
    _, moved = outputs(True, params)
    assert helpers.trees_differ(moved, state)
    pruned = {**params, "last": jax.tree.map(jnp.zeros_like, params["last"])}
    assert not outputs(False, pruned)[0].any()


def test_pure_functions_are_a_model():
    model = adapters.from_functions(
        lambda key: {
            "kernel": jax.random.normal(key, (5, 3)),
            "shift": jnp.ones((1, 3)),
        },
        lambda params, x: x @ params["kernel"] + params["shift"],
    )
    params, state = model.init(jax.random.key(0))
    x = jnp.ones((2, 5))
    for train in (True, False):
        found, after = model.apply(params, state, x, train=train)
        np.testing.assert_allclose(found, x @ params["kernel"] + 1, rtol=1e-6)
        assert after == state == {}
    assert model.prunable(params) == {"kernel": True, "shift": False}
