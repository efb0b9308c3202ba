"""Faults of published code, as properties that hold here; docstrings name the project.

Most are about what happens between trainings: there the training itself is a stand-in
that computes no step.
"""

import functools
import itertools
import types
from pathlib import Path

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import pandas as pd
import pytest

import lottery_jax
from lottery_jax import assembly, experiment, main, rng, tasks, validation
from lottery_jax import config as configs
from lottery_jax.algorithms.imp import REWIND_POINT, layer_fractions
from lottery_jax.algorithms.supermask import CERTAIN, masked_model
from lottery_jax.analysis import columns
from lottery_jax.data import DATASETS, Raw
from lottery_jax.errors import CertificateError, ConfigError, ResultsError
from lottery_jax.models import INITIALIZERS, MODELS, from_linen
from lottery_jax.reporting import progress, run_directory
from lottery_jax.tickets import (
    CONTROLS,
    FREEZES,
    REINITS,
    REWINDS,
    SCOPES,
    SCORES,
    masks,
    schedules,
)
from lottery_jax.tickets.controls import OF_THE_MASK
from lottery_jax.tickets.saliency import SALIENCIES
from lottery_jax.tickets.selection import select
from lottery_jax.training import execution, loop, optimizers
from lottery_jax.types import Trained
from tests import helpers
from tests.test_config import load

STEPS = 12
"""Of real training, in the few tests that need it."""

SPLITS = ("train", "validation", "test")


def drift(lanes):
    """What a stand-in for training makes of stacked lanes: kept weights move."""
    start = masks.apply(lanes.params, lanes.mask)
    return jax.tree.map(
        lambda x, kept: jnp.where(kept, x + 0.1 * jnp.cos(50 * x), x), start, lanes.mask
    )


@pytest.fixture
def no_training(monkeypatch):
    """Rounds take no training; the dict says what stands in for it."""
    stand_in = {"train": drift}

    def make_runner(build, task, data, **options):
        def run(lanes, grid):
            final = stand_in["train"](lanes)
            steps = jnp.tile(grid, (len(lanes.key), 1))
            losses = {f"{split}_loss": 1.0 / (1 + steps) for split in SPLITS[:2]}
            ends = {f"{split}_loss": jnp.ones(len(steps)) for split in SPLITS}
            ends |= {"early_stop_test_loss": ends["test_loss"]}
            ends |= {"early_stop_step": steps[:, -1]}
            snapshots = {REWIND_POINT: final}  # whether it was asked for or not
            return Trained(final, final, snapshots, {"step": steps, **losses}, ends)

        return run

    monkeypatch.setattr(execution, "make_runner", make_runner)
    return stand_in


def rounds_of(algorithm, roots, num):
    state, infos = algorithm.init(roots), []
    for _ in range(num):
        state, info = algorithm.step(state)
        infos.append(info)
    return infos


def kernel(tree, layer="dense_0"):
    return np.asarray(tree[layer]["kernel"])


# --- trials, replicates and pairs


def test_replicates_and_draws_share_no_signs(no_training):
    """In the Keras LTH API every trial has the signs of the first one."""
    config = helpers.tiny_config(
        algorithm__rewind="reinit", replicates=3, controls__random=0,
        controls__reinit=2, controls__reinit_signed=1,
    )  # fmt: skip
    _, algorithm, roots = helpers.tiny_algorithm(config)
    for info in rounds_of(algorithm, roots, 2):
        lanes = zip(
            info.labels, kernel(info.lanes.params), kernel(info.lanes.mask), strict=True
        )
        for (one, a, kept_a), (other, b, kept_b) in itertools.combinations(lanes, 2):
            agree = ((a < 0) == (b < 0))[kept_a & kept_b].mean()
            same = info.round == 0 and one.replicate == other.replicate
            if same and {one.lane, other.lane} == {"ticket", "reinit_signed"}:
                assert agree == 1
            else:
                assert abs(agree - 0.5) < 0.1, (info.round, one, other)


def fields_of(config, prefix=()):
    for name, value in config.items():
        if isinstance(value, dict):
            yield from fields_of(value, (*prefix, name))
        else:
            yield (*prefix, name)


def test_a_directory_never_mixes_methods(tmp_path):
    """The Keras LTH API adds trials whatever their criterion and their reset were."""

    def opened(config):
        with run_directory.open_run(tmp_path / "run", config, [{"a": 1}]):
            return True

    config = helpers.tiny_config().to_dict()
    assert opened(config)
    fields = {".".join(path): path for path in fields_of(config)}
    assert {"algorithm.score", "algorithm.rewind", "replicates"} < set(fields)
    for field, path in fields.items():
        config = group = helpers.tiny_config().to_dict()
        for name in path[:-1]:
            group = group[name]
        group[path[-1]] = "another value"
        if field in run_directory.CHANGE_NO_NUMBER:
            assert opened(config)
            continue
        with pytest.raises(ResultsError, match=rf"differ:\n  {field}: "):
            opened(config)


def test_deviations_are_of_a_sample_of_replicates(capsys):
    """The Keras LTH API divides by n; Frankle et al. count what shares an init."""
    values = {
        "ticket": [[0.90], [0.91], [0.93]],
        "reinit": [[0.78, 0.82], [0.80, 0.84], [0.82, 0.86]],
    }
    rows = [
        (0, lane, sample, replicate, 1.0, value)
        for lane, replicates in values.items()
        for replicate, draws in enumerate(replicates)
        for sample, value in enumerate(draws)
    ]
    names = ["round", "lane", "sample", "replicate", "density"]
    summary = pd.DataFrame(rows, columns=[*names, "early_stop_test_accuracy"])
    progress.show_end(summary, [], Path("run"))
    shown = capsys.readouterr().out
    assert "91.33 +- 1.53" in shown and "82.00 +- 2.00" in shown


def test_pairs_are_within_their_replicate(no_training):
    """Frankle et al.'s nine pairs of orders have three inits, and are no nine runs."""
    config = helpers.tiny_config(
        replicates=3, controls__order=2, controls__random=0, controls__reinit=0
    )
    no_training["train"] = lambda lanes: jax.tree.map(
        lambda x: x + 0.1 * jax.random.normal(jax.random.key(x.size), x.shape),
        lanes.params,
    )
    task, algorithm, roots = helpers.tiny_algorithm(config)
    (info,) = rounds_of(algorithm, roots, 1)
    found = columns.of_round(task, info)["distance"]
    final = np.concatenate(
        [np.reshape(leaf, (9, -1)) for leaf in jax.tree.leaves(info.trained.final)], 1
    )
    assert [label.lane for label in info.labels] == ["ticket"] * 3 + ["order"] * 6
    assert np.isnan(found[:3]).all()
    for lane in range(3, 9):
        ticket = info.labels[lane].replicate
        expected = np.linalg.norm(final[lane] - final[ticket])
        np.testing.assert_allclose(found[lane], expected, rtol=1e-5)
        assert expected < 0.8 * np.linalg.norm(final[lane] - final[ticket - 1])


# --- seeds


def test_streams_replicates_and_rounds_have_keys_of_their_own():
    """jaxpruner has a default key, so that replicates share their masks."""
    roots = rng.roots(0)
    keys = {
        tuple(jax.random.key_data(rng.stream(roots, name, replicate, number)).tolist())
        for name in rng.STREAMS for replicate in range(3) for number in range(3)
    }  # fmt: skip
    assert len(keys) == 9 * len(rng.STREAMS)


def test_every_seed_moves_its_own_stream_and_no_other(no_training):
    """OpenLTH and Zhou et al.'s code leave the init and the shuffles without a seed."""
    base = helpers.tiny_config(controls__reinit=0)
    _, algorithm, _ = helpers.tiny_algorithm(base)

    def streams(**seed):
        config = base.copy_and_resolve_references()
        config.seed.update(seed)
        roots = tasks.make_roots(config)
        infos = rounds_of(algorithm, roots, 2)
        lanes = infos[1].lanes
        return {
            "init": kernel(infos[0].lanes.params)[:2],
            "order": jax.random.key_data(lanes.key),
            "control": kernel(lanes.mask)[2:],
            "split": assembly.make_task(config, roots).dataset.train.x,
        }

    before = streams()
    helpers.assert_trees_equal(before, streams())
    for seed in ("init", "order", "control", "split", "root"):
        after = streams(**{seed: 7})
        moved = {name for name in before if (before[name] != after[name]).any()}
        assert moved == (set(before) if seed == "root" else {seed})


def test_random_zeros_are_keyed():
    """Zhou et al.'s code shuffles without a seed."""
    context = helpers.make_context()
    draw = FREEZES["zero_at_random"]
    helpers.assert_trees_equal(draw(context), draw(context))
    other = context._replace(key=jax.random.key(5))
    assert helpers.trees_differ(draw(context), draw(other))


# --- what to keep


@functools.cache
def choose(*names):
    """A compiled `select` within each leaf."""
    groups = SCOPES["layerwise"](names)
    return jax.jit(lambda scores, mask, num: select(scores, mask, num, groups))


@pytest.mark.parametrize("score", [name for name in SCORES if name not in SALIENCIES])
def test_every_score_hits_its_slices(score):
    """In the Keras LTH API `lilf` and `lfss` miss them, and a zero drops a layer."""
    context = helpers.make_context()
    start = jax.tree.map(lambda x: jnp.where(x > 0.5, 0, x), context.init)
    assert (kernel(start) == 0).any()
    fractions = {"dense_0/kernel": 0.16, "dense_1/kernel": 0.16, "output/kernel": 0.08}
    sizes = {name: masks.named_leaves(start)[name].size for name in fractions}
    ladder = schedules.linear(sizes, fractions, 5)
    mask = masks.full(start)
    for number, rung in enumerate(ladder[1:], 1):
        values = np.random.default_rng(number)
        final = jax.tree.map(
            lambda x, values=values: x + 0.3 * values.normal(size=x.shape), start
        )
        final["dense_0"]["kernel"] = final["dense_0"]["kernel"].at[:2].set(0)
        context = context._replace(
            key=jax.random.key(number), start=start, old_mask=mask, mask=mask,
            final=masks.apply(final, mask),
        )  # fmt: skip
        scores = SCORES[score](context)
        assert all(np.isfinite(leaf).all() for leaf in jax.tree.leaves(scores))
        new = choose(*fractions)(scores, mask, rung)
        revived = jax.tree.map(lambda new, old: new & ~old, new, mask)
        assert not any(leaf.any() for leaf in jax.tree.leaves(revived))
        mask = new
        for name, num in masks.num_kept(mask, context.prunable).items():
            exact = (1 - number * fractions[name]) * sizes[name]
            assert abs(int(num) - exact) <= 0.5, name


def test_the_output_layer_is_told_by_its_name():
    """In the Keras LTH API the last layer is whatever stands last."""
    names = ["conv_0/kernel", "output/kernel", "z_0/kernel"]
    found = layer_fractions(
        names, default=0.2, conv=None, output=None, scope="layerwise"
    )
    assert list(found.values()) == [0.2, 0.1, 0.2]


def test_the_global_rate_does_not_drift():
    """OpenLTH counts layers that it never prunes, and fails after 24 rounds."""
    config = helpers.tiny_config(
        algorithm__scope="global", algorithm__output_prune_fraction=0.0,
        algorithm__rounds=27,
    )  # fmt: skip
    _, algorithm, _ = helpers.tiny_algorithm(config)
    assert len(algorithm.ladder) == 28
    num = 1024
    for rung in algorithm.ladder:
        assert rung == {"all": num, "output/kernel": 160}
        num -= round(num / 5)


def test_global_magnitude_is_that_of_the_weights():
    """jaxpruner normalises each layer first, unless it is told not to."""
    values = np.random.default_rng(0)
    final = {
        name: jnp.asarray(scale * values.normal(size=(20, 20)), jnp.float32)
        for name, scale in (("small", 1.0), ("large", 3.0))
    }
    context = helpers.make_context()._replace(final=final)
    mask = masks.full(final)
    groups = SCOPES["global"](list(final))
    kept = select(SCORES["magnitude"](context), mask, {"all": 200}, groups)
    sizes = np.concatenate([np.abs(final[name]).ravel() for name in final])
    flat = np.concatenate([np.asarray(kept[name]).ravel() for name in final])
    assert flat.sum() == 200 and sizes[flat].min() > sizes[~flat].max()
    assert kept["large"].sum() > 150


# --- what to reset it to


def test_a_fresh_draw_is_no_permutation():
    """Zhou et al.'s code permutes the old values and calls it a random reinit."""
    context = helpers.make_context()
    theta = kernel(context.rewind_point).ravel()
    permuted = kernel(REINITS["permute"](context)).ravel()
    np.testing.assert_array_equal(np.sort(permuted), np.sort(theta))
    for name in ("reinit", "reinit_signed"):
        drawn = kernel(REINITS[name](context))
        for known in (theta, kernel(context.init)):
            assert not np.isin(np.abs(drawn), np.abs(known)).any()


FANS = {
    "glorot_normal": lambda fan_in, fan_out: 2 / (fan_in + fan_out),
    "glorot_truncated_normal": lambda fan_in, fan_out: 2 / (fan_in + fan_out),
    "glorot_uniform": lambda fan_in, fan_out: 2 / (fan_in + fan_out),
    "kaiming_normal": lambda fan_in, fan_out: 2 / fan_in,
}


@pytest.mark.parametrize("name", FANS)
def test_convolutions_are_scaled_by_what_a_unit_sees(name):
    """The Keras LTH API takes the image for the fan of a convolution."""
    height, width, inputs, outputs = shape = (3, 3, 64, 32)
    kernel = INITIALIZERS[name](jax.random.key(0), shape)
    variance = FANS[name](height * width * inputs, height * width * outputs)
    np.testing.assert_allclose(np.std(kernel), np.sqrt(variance), rtol=0.03)


class Normed(nn.Module):
    @nn.compact
    def __call__(self, x, train):
        x = nn.Dense(8, use_bias=False, name="dense_0")(x)
        x = nn.relu(nn.BatchNorm(use_running_average=not train)(x))
        return nn.Dense(3, name="output")(x)


def test_layers_without_a_kernel_are_left_alone():
    """The Keras LTH API takes normalisations for kernels, or crashes on them."""
    model = from_linen(Normed(), (6,))
    keys = jax.random.split(jax.random.key(0), 3)
    init, theta, final = (
        jax.tree.map(lambda x, k=k: x + 0.1 * jax.random.normal(k, x.shape), params)
        for k, (params, _) in zip(keys, map(jax.jit(model.init), keys), strict=True)
    )
    mask = helpers.random_mask(init)
    context = helpers.make_context()._replace(
        model=model, prunable=model.prunable(init), init=init, rewind_point=theta,
        start=theta, final=final, old_mask=masks.full(init), mask=mask,
        lane=helpers.make_lane(theta, mask),
    )  # fmt: skip
    names = ["dense_0/kernel", "output/kernel"]
    assert masks.prunable_names(context.prunable) == names

    def others(params):
        leaves = masks.named_leaves(params)
        return {name: leaf for name, leaf in leaves.items() if name not in names}

    expected = others(theta)
    assert len(expected) == 3

    @jax.jit
    def everything(key):
        keyed = context._replace(key=key)
        names = ("constant", "jitter", "permute", "reinit", "reshuffle_signed")
        found = {name: REINITS[name](keyed) for name in names}
        for name in ("zero_if_shrunk", "zero_if_grown", "zero_at_random"):
            found[name] = FREEZES[name](keyed)
        drawn = {name: CONTROLS[name](keyed).mask for name in OF_THE_MASK}
        return found, drawn

    found, drawn = everything(jax.random.key(3))
    for name, params in found.items():
        fresh = {"BatchNorm_0/scale": 1, "BatchNorm_0/bias": 0, "output/bias": 0}
        for leaf, value in others(params).items():
            law = fresh[leaf] if name.startswith("reinit") else expected[leaf]
            np.testing.assert_array_equal(value, np.broadcast_to(law, value.shape))
    for mask in drawn.values():
        assert all(leaf.all() for leaf in others(mask).values())


@pytest.mark.parametrize("field", ["controls.order", "level_barrier", "model.name"])
def test_batch_statistics_are_refused_where_they_have_no_meaning(
    field, monkeypatch, tmp_path
):
    """Here it was: a crash after round 0 had been trained."""

    def normed(input_shape, num_outputs, *, initializer):
        return from_linen(Normed(), input_shape)

    monkeypatch.setitem(MODELS, "normed", normed)
    config = helpers.tiny_config(model__name="normed", model__hidden=None)
    if field == "model.name":
        config.algorithm = configs.default("supermask").algorithm
        config.controls.random = config.controls.reinit = 0
    else:
        wanted = True if field == "level_barrier" else 1
        config.update_from_flattened_dict({field: wanted})
    with pytest.raises(ConfigError, match=f"{field}: this network has batch stat"):
        experiment.run(config, tmp_path / "run")
    assert not (tmp_path / "run").exists()


def test_a_control_like_the_ticket_is_refused():
    """Here it was: a certificate stopped the run after its first round."""
    config = helpers.tiny_config(
        algorithm__rewind="constant_signed", controls__constant_signed=1
    )
    with pytest.raises(ConfigError, match="controls.constant_signed: the ticket"):
        validation.validate(config)


@pytest.mark.parametrize("path", ["theys.py:smoke", "strong_tickets.py:smoke"])
def test_what_is_drawn_is_drawn_in_one_program(path, tmp_path):
    """With one replicate two programs drew theta_0 here with other last bits."""
    config = load(path)
    config.model.initializer = "glorot_truncated_normal"
    config.replicates = 1
    config.controls = {"permute": 1, "reinit": 1}
    experiment.run(config, tmp_path / "run")


STEPS_OF = {
    "weights": (20, 30),
    "learning_rate": (20, 30),
    "fine_tune": (20, 30),
    "reinit": (20, 30),
    "continue": (0, 30),
    "zero_if_shrunk": (0, 30),
}


@pytest.mark.parametrize("rewind", STEPS_OF)
def test_rewinding_kinds_train_as_many_steps_as_they_say(rewind, no_training):
    """Unequal budgets of public code; a default rate in the Keras LTH API's reset."""
    first, last = STEPS_OF[rewind]
    config = helpers.tiny_config(
        data__name="xor", model__hidden=(4,), algorithm__rewind=rewind,
        algorithm__rewind_step=20, train__learning_rate=0.0123, replicates=1,
    )  # fmt: skip
    _, algorithm, roots = helpers.tiny_algorithm(config)
    dense, *rest = rounds_of(algorithm, roots, 3)
    assert [dense.start, *dense.trained.history["step"][0, [0, -1]]] == [0, 0, 30]
    rate = np.float32(0.0123)
    assert (dense.lanes.hypers["learning_rate"] == rate).all()
    for info in rest:
        assert (info.lanes.hypers["learning_rate"] == rate).all()
        steps = np.asarray(info.trained.history["step"])
        assert info.start == first and (steps[:, 0] == first).all()
        assert (steps[:, -1] == last).all() and len(steps) == len(info.labels)
        offset = info.lanes.hypers["schedule_offset"]
        assert (offset == (last if rewind == "fine_tune" else 0)).all()


def test_all_other_rewinds_are_like_those():
    """The same fault, for the rewinds that are too many to be run."""
    steps = {name: rewind._replace(params=None) for name, rewind in REWINDS.items()}
    assert all(steps[name] == steps["reinit"] for name in REINITS)
    assert set(steps) == {*STEPS_OF, *REINITS}, "a new rewind has its steps above"


# --- what the rest is frozen at, and controls


@pytest.mark.parametrize("name", ["reinit", "constant", "jitter", "reshuffle_signed"])
def test_controls_of_the_values_leave_the_frozen_weights(name):
    """A fault of our own: under Zhou et al.'s variants they were frozen at its draw."""
    context = helpers.make_context()
    lane = context.lane._replace(params=FREEZES["final"](context))
    control = CONTROLS[name](context._replace(lane=lane))
    pruned = jax.tree.map(jnp.logical_not, lane.mask)
    helpers.assert_trees_equal(
        masks.apply(control.params, pruned), masks.apply(lane.params, pruned)
    )
    kept = [masks.apply(x.params, lane.mask) for x in (control, lane)]
    assert helpers.trees_differ(*kept)


class Convolution(nn.Module):
    @nn.compact
    def __call__(self, x):
        x = nn.relu(nn.Conv(3, (2, 2), name="conv_0")(x))
        return nn.Dense(2, name="output")(x.reshape((len(x), -1)))


def test_learned_masks_leave_the_biases_of_convolutions():
    """Zhou et al.'s mask convolution drops them."""
    model = from_linen(Convolution(), (4, 4, 2))
    weights, _ = model.init(jax.random.key(0))
    weights = jax.tree.map(
        lambda x: x + 0.1 * np.sin(np.arange(x.size).reshape(x.shape)), weights
    )
    mask = helpers.random_mask(weights)
    logits = jax.tree.map(lambda kept: jnp.where(kept, CERTAIN, -CERTAIN), mask)
    x = jax.random.normal(jax.random.key(1), (3, 4, 4, 2))
    noise = {"noise": jax.random.key_data(jax.random.key(2))}
    params = {"logits": logits, "weights": weights}
    masked = masked_model(model, rescale=False)
    found = jax.jit(lambda x: masked.apply(params, noise, x, train=False)[0])(x)
    plain = masks.apply(weights, mask)
    expected = jax.jit(lambda x: model.apply(plain, {}, x, train=False)[0])(x)
    np.testing.assert_allclose(found, expected, rtol=1e-4, atol=1e-5)


# --- training


@pytest.fixture(scope="module")
def training():
    """(task, run): steps with momentum and decay, and a snapshot after each."""
    task = helpers.random_task()
    train = loop.make_train(
        task, optimizers.momentum(0.9, 0.1), lambda step: 1.0, steps=STEPS,
        batch_size=16, snapshots={str(i): i for i in range(STEPS + 1)},
    )  # fmt: skip
    compiled = jax.jit(train)

    def run(lane, data=None, every=1):
        data = tuple(task.dataset[:3]) if data is None else data
        return compiled(lane, data, jnp.arange(STEPS + 1) // every * every)

    return task, run


def test_pruned_weights_are_zero_after_every_step(training):
    """Not held in retraining by CoursIA; OpenLTH masks when it evaluates."""
    task, run = training
    params, _ = task.model.init(jax.random.key(1))
    lane = helpers.make_lane(params, helpers.random_mask(params))
    trained = run(lane)
    pruned = jax.tree.map(jnp.logical_not, lane.mask)
    for number in range(STEPS + 1):
        at = masks.apply(trained.snapshots[str(number)], pruned)
        assert not any(leaf.any() for leaf in jax.tree.leaves(at)), number
    assert helpers.trees_differ(trained.snapshots["11"], trained.snapshots["12"])
    helpers.assert_trees_equal(run(lane, every=STEPS).final, trained.final)


def test_what_pruned_weights_were_does_not_matter(training):
    """In OpenLTH they live on in the gradients and in the optimizer."""
    task, run = training
    params, _ = task.model.init(jax.random.key(1))
    lane = helpers.make_lane(params, helpers.random_mask(params))
    clean = run(lane)
    wild = jax.tree.map(lambda x, kept: jnp.where(kept, x, jnp.nan), params, lane.mask)
    helpers.assert_trees_equal(run(lane._replace(params=wild)), clean)
    assert np.isfinite(clean.summary["test_loss"])


def test_a_mask_is_not_read_off_the_values(training):
    """rahulvigneswaran's code freezes whatever is below 1e-6, negative weights too."""
    task, run = training
    params, _ = task.model.init(jax.random.key(1))
    place = jnp.arange(5)[:, None] + jnp.arange(8)[None]  # no unit has zeros alone
    tiny = jnp.array([0.0, 1e-8, -1e-8, -0.3])[place % 4]
    params["dense_0"]["kernel"] = tiny
    lane = helpers.make_lane(params, helpers.random_mask(params))
    moved = kernel(run(lane).final) != tiny
    kept = kernel(lane.mask)
    for value in (0.0, 1e-8, -1e-8, -0.3):
        own = kept & (np.asarray(tiny) == np.float32(value))
        assert own.sum() > 2 and moved[own].mean() > 0.7, value


def test_the_test_split_decides_nothing(training):
    """Stopping and choosing by it: Zhou et al.'s masks, rahulvigneswaran's tickets."""
    task, run = training
    params, _ = task.model.init(jax.random.key(1))
    lane = helpers.make_lane(params, learning_rate=0.3)
    train, validation, test = task.dataset[:3]
    other = test._replace(y=(test.y + 1) % 3, x=-test.x)
    one, another = run(lane), run(lane, (train, validation, other))
    reported = {name for name in one.summary if "test" in name}
    assert reported == {
        *("test_loss", "test_accuracy"),
        *("early_stop_test_loss", "early_stop_test_accuracy"),
    }
    for name in one.summary:
        assert (one.summary[name] != another.summary[name]) == (name in reported), name
    empty = dict.fromkeys(one.summary)
    helpers.assert_trees_equal(
        one._replace(summary=empty), another._replace(summary=empty)
    )
    assert one.summary["early_stop_step"] not in (0, STEPS)


def three_classes(folder, key):
    x = np.random.default_rng(0).normal(size=(900, 4))
    return Raw((x, np.arange(900) % 3), test=None, num_classes=3)


def two_targets(folder, key):
    x = np.random.default_rng(0).normal(size=(900, 4))
    return Raw((x, x[:, :2]), test=None, num_classes=None)


def test_a_network_has_an_output_for_every_class(monkeypatch):
    """OpenLTH forgets how many there are and takes 10 or 1000."""
    monkeypatch.setitem(DATASETS, "three_classes", three_classes)
    monkeypatch.setitem(DATASETS, "two_targets", two_targets)
    outputs = {"digits": 10, "xor": 2, "three_classes": 3, "two_targets": 2}
    for name, num in outputs.items():
        config = helpers.tiny_config(data__name=name)
        task = assembly.make_task(config, rng.roots(0))
        params, _ = jax.eval_shape(task.model.init, jax.random.key(0))
        assert params["output"]["kernel"].shape == (16, num)


# --- what is kept on disk


def test_nothing_is_saved_of_pruned_weights_that_moved(no_training, tmp_path):
    """Not held in retraining by CoursIA, and found in its saved files."""
    no_training["train"] = lambda lanes: jax.tree.map(lambda x: x + 0.1, lanes.params)
    with pytest.raises(CertificateError, match="round 1: .*\n.*that are not zero"):
        experiment.run(helpers.tiny_config(), tmp_path / "run")
    assert set(lottery_jax.load_results(tmp_path / "run").summary["round"]) == {0}


def test_fractions_that_round_alike_have_directories_of_their_own(monkeypatch):
    """In the Keras LTH API 99 % and 99.4 % overwrite each other."""
    found = set()
    for fraction in (0.99, 0.994, 0.9941):
        config = helpers.tiny_config(algorithm__prune_fraction=fraction)
        monkeypatch.setattr(main, "CONFIG", types.SimpleNamespace(value=config))
        monkeypatch.setattr(main, "_config_path", lambda: "configs/quickstart.py")
        found.add(main.default_workdir())
    assert len(found) == 3


def test_an_empty_path_is_the_working_directory(tmp_path, monkeypatch):
    """The Keras LTH API writes to the root of the file system."""
    monkeypatch.chdir(tmp_path)
    with run_directory.open_run(Path(""), {"a": 1}, [{"w": 1}]) as done:
        assert done == 0
    assert (tmp_path / "config.json").is_file() and (tmp_path / "rounds").is_dir()
    with pytest.raises(ResultsError, match="no whole round yet"):
        lottery_jax.load_results("")
