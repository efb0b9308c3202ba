"""Learned supermasks: the network under a mask, its gradient, and what is learned."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from lottery_jax import config as configs
from lottery_jax import experiment
from lottery_jax.algorithms.supermask import CERTAIN, masked_model
from lottery_jax.analysis.certificates import certify
from lottery_jax.errors import CertificateError, ConfigError
from lottery_jax.models import MODELS
from lottery_jax.reporting import results
from lottery_jax.tickets import masks
from tests import helpers


def tiny_config(**changes):
    config = configs.default("supermask")
    base = helpers.tiny_config()
    config.data, config.model, config.lanes = base.data, base.model, base.lanes
    config.train.optimizer = "momentum"
    config.train.learning_rate = 100.0
    config.train.batch_size = 100
    config.train.steps, config.train.eval_every = 300, 100
    config.algorithm.samples = 3
    config.replicates = 2
    config.update_from_flattened_dict(
        {name.replace("__", "."): value for name, value in changes.items()}
    )
    return config


@pytest.fixture(scope="module")
def model():
    return MODELS["mlp"]((6,), 3, hidden=(8,))


def params_of(model, mask):
    weights, _ = model.init(jax.random.key(1))
    logits = jax.tree.map(lambda kept: jnp.where(kept, CERTAIN, -CERTAIN), mask)
    return {"logits": logits, "weights": weights}


def noise(seed):
    return {"noise": jax.random.key_data(jax.random.key(seed))}


@pytest.mark.parametrize("rescale", [False, True])
@pytest.mark.parametrize("train", [False, True])
def test_certain_logits_are_a_mask(model, rescale, train):
    weights, _ = model.init(jax.random.key(1))
    mask = helpers.random_mask(weights, 2)
    x = jax.random.normal(jax.random.key(3), (5, 6))
    masked = masks.apply(weights, mask)
    for name in ("dense_0", "output"):
        kept = mask[name]["kernel"]
        factor = kept.size / kept.sum() if rescale else 1
        masked[name] = {**masked[name], "kernel": masked[name]["kernel"] * factor}
    expected, _ = model.apply(masked, {}, x, train=train)
    found, state = masked_model(model, rescale).apply(
        params_of(model, mask), noise(0), x, train=train
    )
    np.testing.assert_allclose(found, expected, rtol=1e-5, atol=1e-6)
    assert (state["noise"] != noise(0)["noise"]).any() == train


def test_the_gradient_passes_straight_through_the_draw():
    """d loss / d v = d loss / d w_effective * w * p (1 - p), for every entry."""
    linear = MODELS["mlp"]((4,), 2, hidden=())
    weights, _ = linear.init(jax.random.key(0))
    logits = jax.tree.map(lambda w: 0.5 * jnp.ones_like(w), weights)
    x = jax.random.normal(jax.random.key(1), (7, 4))
    out = jax.random.normal(jax.random.key(2), (7, 2))
    masked = masked_model(linear, rescale=False)

    def loss(logits):
        params = {"logits": logits, "weights": weights}
        return jnp.sum(out * masked.apply(params, noise(5), x, train=True)[0])

    found = jax.grad(loss)(logits)["output"]["kernel"]
    p = 1 / (1 + np.exp(-0.5))
    expected = (x.T @ out) * weights["output"]["kernel"] * p * (1 - p)
    np.testing.assert_allclose(found, expected, rtol=1e-4)


def test_the_gradient_sees_the_rescaling():
    """With g continuous: d/dg of out * x (w g size / sum(g)), at the mask drawn."""
    linear = MODELS["mlp"]((4,), 2, hidden=())
    weights, _ = linear.init(jax.random.key(0))
    weights["output"]["bias"] = jnp.zeros(2)
    logits = jax.tree.map(lambda w: 0.3 * jnp.ones_like(w), weights)
    x = jax.random.normal(jax.random.key(1), (7, 4))
    out = jax.random.normal(jax.random.key(2), (7, 2))
    masked = masked_model(linear, rescale=True)

    def apply(logits, x):
        params = {"logits": logits, "weights": weights}
        return masked.apply(params, noise(5), x, train=True)[0]

    drawn = (np.asarray(apply(logits, jnp.eye(4))) != 0).astype(np.float32)
    assert 0 < drawn.sum() < drawn.size
    w, p = np.asarray(weights["output"]["kernel"]), 1 / (1 + np.exp(-0.3))
    outer = np.asarray(x.T @ out) * w
    total = drawn.sum()
    expected = drawn.size * (outer / total - (outer * drawn).sum() / total**2)
    found = jax.grad(lambda v: jnp.sum(out * apply(v, x)))(logits)["output"]["kernel"]
    np.testing.assert_allclose(found, expected * p * (1 - p), rtol=1e-3, atol=1e-4)


@pytest.fixture(scope="module")
def short():
    """(task, info) of one round of 20 steps with three controls of the weights."""
    config = tiny_config(
        train__steps=20, train__eval_every=10, controls__reinit=1,
        controls__reinit_signed=1, controls__jitter=1,
    )  # fmt: skip
    task, algorithm, roots = helpers.tiny_algorithm(config)
    _, info = algorithm.step(algorithm.init(roots))
    certify(info)
    return task, info


def test_accuracies_are_means_over_masks_and_the_most_likely_one(short):
    task, info = short
    one = jax.tree.map(lambda leaf: leaf[0], (info.lanes.params, info.mask))
    test = task.dataset.test
    outputs, _ = task.model.apply(masks.apply(*one), {}, test.x, train=False)
    summary = info.trained.summary
    np.testing.assert_allclose(
        summary["most_likely_test_accuracy"][0], (outputs.argmax(-1) == test.y).mean()
    )
    # Of 100 examples, three masks: a mean of three has thirds of a percent.
    thirds = 300 * np.asarray(summary["test_accuracy"])
    np.testing.assert_allclose(thirds, thirds.round(), atol=1e-3)
    assert (thirds.round() % 3 > 0).any()


def test_weights_that_moved_are_caught(short):
    _, info = short
    final = jax.tree.map(lambda leaf: leaf + 1e-3, info.trained.final)
    with pytest.raises(CertificateError, match="not where they were frozen"):
        certify(info._replace(trained=info.trained._replace(final=final)))


@pytest.mark.parametrize("control", ["reinit", "reinit_signed", "jitter"])
def test_controls_that_change_nothing_are_caught(short, control):
    _, info = short
    with pytest.raises(CertificateError, match=f"nothing .* in lane {control} 0"):
        certify(helpers.with_idle(info, control))


def test_controls_draw_apart(short):
    _, info = short
    kernels = {
        label.lane: np.abs(info.lanes.params["output"]["kernel"][i])
        for i, label in enumerate(info.labels) if label.replicate == 0
    }  # fmt: skip
    assert (kernels["reinit"] != kernels["reinit_signed"]).all()
    assert (kernels["jitter"] != kernels["ticket"]).all()


def test_masks_are_drawn_with_their_probability_and_anew_at_every_step(model):
    one = MODELS["mlp"]((1000,), 1, hidden=())
    masked = masked_model(one, rescale=False)
    weights = jax.tree.map(jnp.ones_like, one.init(jax.random.key(0))[0])
    params = {"logits": jax.tree.map(jnp.ones_like, weights), "weights": weights}
    params["weights"]["output"]["bias"] = jnp.zeros(1)
    x, state, counts = jnp.ones((1, 1000)), noise(0), []
    for _ in range(20):
        output, state = masked.apply(params, state, x, train=True)
        counts.append(float(output[0, 0]))
    expected = 1000 / (1 + np.exp(-1))
    assert abs(np.mean(counts) - expected) < 4 * np.sqrt(expected * 0.27 / 20)
    assert len(set(counts)) > 10


def test_a_supermask_is_learned_and_no_weight_is(tmp_path):
    config = tiny_config(
        controls__constant_signed=1, algorithm__initial_logits=(0.0, 3.0)
    )
    found = experiment.run(config, tmp_path / "run")
    summary, curves = found.summary, found.curves
    start = curves[curves.step == 0].validation_accuracy.mean()
    assert start < 0.3
    assert summary.test_accuracy.min() > 0.6
    assert summary.most_likely_test_accuracy.min() > 0.6
    assert (summary.density.between(0.2, 0.9)).all()
    by_round = summary.groupby("round").expected_density.mean()
    assert by_round[1] > by_round[0] + 0.05
    stored = results.load_masks(tmp_path / "run", 0)
    kept = sum(mask[0].sum() for mask in stored.values())
    ticket = summary.query("lane == 'ticket' and replicate == 0 and round == 0")
    assert kept == ticket.kept.item()
    assert (found.certificates[0]["diverged"]) == []


def test_replicates_draw_masks_of_their_own(short):
    _, info = short
    first, second = np.asarray(info.mask["output"]["kernel"])[:2]
    assert (first != second).any()


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"algorithm__samples": 0}, "algorithm.samples"),
        ({"algorithm__initial_logits": ()}, "algorithm.initial_logits"),
        ({"algorithm__initial_logits": ("a",)}, "algorithm.initial_logits"),
        ({"controls__random": 1}, "controls.random: the mask is what is learned"),
        ({"train__execution": "sparse"}, "every weight takes part"),
    ],
)
def test_wrong_values_are_refused(changes, message, tmp_path):
    with pytest.raises(ConfigError, match=message):
        experiment.run(tiny_config(**changes), tmp_path / "run")
    assert not (tmp_path / "run").exists()
