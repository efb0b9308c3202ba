"""The compiled loop against plain loops, and lanes against single runs."""

import time

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from lottery_jax.models import MODELS, from_linen
from lottery_jax.stacks import stack
from lottery_jax.tickets import masks
from lottery_jax.training import lanes, loop, losses, optimizers
from lottery_jax.types import Dataset, Split, Task
from tests import helpers

STEPS, BATCH = 25, 16


def build(task, name="adam", schedule="constant", steps=STEPS, decay=0.0, **options):
    shape = optimizers.SCHEDULES[schedule](steps, (10, 20), 0.1)
    options.setdefault("batch_size", BATCH)
    optimizer = optimizers.OPTIMIZERS[name](0.9, decay)
    return loop.make_train(task, optimizer, shape, steps=steps, **options)


def splits(task):
    return tuple(task.dataset[:3])


def grid(*steps):
    return jnp.array(steps)


def plain_loop(task, tx, lane, steps):
    """The same training as a Python loop; masks the params instead of the updates."""
    train = task.dataset.train
    order = loop.batches(lane.key, len(train.x), BATCH, steps)
    params = masks.apply(lane.params, lane.mask)
    state = tx.init(params)

    def loss(params, x, y):
        outputs, _ = task.model.apply(params, {}, x, train=True)
        return task.loss(outputs, y)

    for batch in order:
        gradients = jax.grad(loss)(params, train.x[batch], train.y[batch])
        updates, state = tx.update(gradients, state, params)
        params = masks.apply(optax.apply_updates(params, updates), lane.mask)
    return params


PLAIN = {
    "adam": optax.adam(0.01),
    "adamw": optax.adamw(0.01, weight_decay=0.1),
    "momentum": optax.chain(optax.add_decayed_weights(0.1), optax.sgd(0.01, 0.9)),
    "sgd": optax.chain(optax.add_decayed_weights(0.1), optax.sgd(0.01)),
}


@pytest.mark.parametrize("name", optimizers.OPTIMIZERS)
def test_the_loop_equals_a_plain_loop_and_keeps_zeros(name):
    task = helpers.random_task()
    params, _ = task.model.init(jax.random.key(1))
    lane = helpers.make_lane(params, helpers.random_mask(params))
    decay = 0.0 if name == "adam" else 0.1
    train = build(task, name, decay=decay, snapshots={"early": 10})
    trained = jax.jit(train)(lane, splits(task), grid(0, 10, 25))
    expected = plain_loop(task, PLAIN[name], lane, STEPS)
    assert helpers.trees_differ(trained.final, masks.apply(params, lane.mask))
    jax.tree.map(
        lambda a, b: np.testing.assert_allclose(a, b, rtol=2e-4, atol=1e-6),
        trained.final,
        expected,
    )
    for tree in (trained.final, trained.best, trained.snapshots["early"]):
        outside = jax.tree.map(lambda leaf, m: jnp.where(m, 0, leaf), tree, lane.mask)
        assert not any(leaf.any() for leaf in jax.tree.leaves(outside))


def test_surviving_weights_of_both_signs_move():
    task = helpers.random_task()
    params, _ = task.model.init(jax.random.key(1))
    lane = helpers.make_lane(params, helpers.random_mask(params))
    final = build(task)(lane, splits(task), grid(0, STEPS)).final
    kernel, kept = params["dense_0"]["kernel"], lane.mask["dense_0"]["kernel"]
    moved = final["dense_0"]["kernel"] != kernel
    for sign in (kernel > 0, kernel < 0):
        assert moved[sign & kept].mean() > 0.7  # but for units that are never active


def test_a_masked_network_trains_like_its_smaller_self():
    """Pruning whole hidden units equals building the network without them."""
    task = helpers.random_task(hidden=(8,))
    small = helpers.random_task(hidden=(5,))
    units = np.array([0, 2, 3, 6, 7])
    params, _ = task.model.init(jax.random.key(1))

    def shrink(tree):
        first, output = tree["dense_0"], tree["output"]
        return {
            "dense_0": {"kernel": first["kernel"][:, units],
                        "bias": first["bias"][units]},
            "output": {"kernel": output["kernel"][units], "bias": output["bias"]},
        }  # fmt: skip

    gone = np.setdiff1d(np.arange(8), units)
    mask = jax.tree.map(np.ones_like, masks.full(params))
    mask = jax.tree.map(np.array, mask)
    mask["dense_0"]["kernel"][:, gone] = False
    mask["output"]["kernel"][gone] = False
    mask = jax.tree.map(jnp.array, mask)
    run = grid(0, STEPS)
    wide = build(task)(helpers.make_lane(params, mask), splits(task), run)
    narrow = build(small)(helpers.make_lane(shrink(params)), splits(small), run)
    jax.tree.map(
        lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-4, atol=1e-6),
        shrink(wide.final),
        narrow.final,
    )
    np.testing.assert_allclose(
        wide.history["validation_loss"], narrow.history["validation_loss"], rtol=1e-5
    )


def test_history_summary_and_early_stop():
    task = helpers.random_task()
    params, _ = task.model.init(jax.random.key(1))
    lane = helpers.make_lane(params, learning_rate=0.1)  # overfits random labels
    points = list(range(0, 101, 5))
    train = build(task, steps=100, snapshots={str(s): s for s in points},
                  test_curve=True)  # fmt: skip
    trained = jax.jit(train)(lane, splits(task), grid(*points))
    history, summary = trained.history, trained.summary

    def evaluate(params, split):
        outputs, _ = task.model.apply(params, {}, split.x, train=False)
        logits = np.asarray(outputs, np.float64)
        logits = logits - np.log(np.exp(logits).sum(1, keepdims=True))
        loss = -np.mean(
            [row[label] for row, label in zip(logits, split.y, strict=True)]
        )
        return loss, np.mean(logits.argmax(1) == np.asarray(split.y))

    data = task.dataset
    validation = [evaluate(trained.snapshots[str(s)], data.validation) for s in points]
    found = np.stack([history["validation_loss"], history["validation_accuracy"]], 1)
    np.testing.assert_allclose(found, validation, rtol=1e-4, atol=1e-6)
    best = int(np.argmin([loss for loss, _ in validation]))
    assert 0 < best < len(points) - 1  # neither the start nor the end
    assert summary["early_stop_step"] == points[best]
    helpers.assert_trees_equal(trained.best, trained.snapshots[str(points[best])])
    expected = {
        "early_stop_test": evaluate(trained.best, data.test),
        "test": evaluate(trained.final, data.test),
        "train": evaluate(trained.final, data.train),
        "validation": validation[-1],
    }
    for name, (loss, accuracy) in expected.items():
        np.testing.assert_allclose(summary[f"{name}_loss"], loss, rtol=1e-4)
        np.testing.assert_allclose(summary[f"{name}_accuracy"], accuracy, rtol=1e-5)
    np.testing.assert_allclose(history["test_loss"][-1], summary["test_loss"])
    np.testing.assert_array_equal(history["step"], points)


def test_train_loss_is_the_mean_over_the_interval():
    task = helpers.random_task()
    params, _ = task.model.init(jax.random.key(1))
    lane = helpers.make_lane(params, learning_rate=0.05)
    train = build(task)
    each = train(lane, splits(task), grid(*range(STEPS + 1))).history["train_loss"]
    few = train(lane, splits(task), grid(0, 10, 25)).history["train_loss"]
    expected = [0, each[1:11].mean(), each[11:].mean()]
    np.testing.assert_allclose(few, expected, rtol=1e-5)


def test_training_from_a_rewind_step_goes_on_where_it_was():
    """Without optimizer state, k steps and then the rest are all steps."""
    task = helpers.random_task()
    params, _ = task.model.init(jax.random.key(1))
    lane = helpers.make_lane(params)
    train = jax.jit(build(task, "sgd", "cosine", snapshots={"k": 10}))
    whole = train(lane, splits(task), grid(0, 10, 25))
    point = whole.snapshots["k"]
    assert helpers.trees_differ(point, whole.final)
    rest = train(lane._replace(params=point), splits(task), grid(10, 10, 25))
    helpers.assert_trees_equal(rest.final, whole.final)


@pytest.mark.parametrize("name", optimizers.SCHEDULES)
def test_schedules_scale_the_learning_rate(name):
    """With plain gradient descent one step's update is rate(step) * gradient."""
    task = helpers.random_task()
    params, _ = task.model.init(jax.random.key(1))
    train = jax.jit(build(task, "sgd", name))
    factors = {
        "constant": lambda t: 1.0,
        "cosine": lambda t: (1 + np.cos(np.pi * t / STEPS)) / 2,
        "piecewise": lambda t: 0.1 ** ((t >= 10) + (t >= 20)),
    }

    def update(step, offset=0):
        lane = helpers.make_lane(params, schedule_offset=offset)
        final = train(lane, splits(task), grid(step, step + 1)).final
        return final["output"]["bias"] - params["output"]["bias"]

    def gradient_step(step):
        """The same batch at the full rate."""
        constant = build(task, "sgd")
        lane = helpers.make_lane(params)
        final = constant(lane, splits(task), grid(step, step + 1)).final
        return final["output"]["bias"] - params["output"]["bias"]

    for step in (0, 7, 10, 15, 24):
        expected = factors[name](step) * gradient_step(step)
        np.testing.assert_allclose(update(step), expected, rtol=1e-3, atol=1e-8)
    frozen = factors[name](STEPS - 1) * gradient_step(3)
    np.testing.assert_allclose(update(3, STEPS), frozen, rtol=1e-3, atol=1e-8)


def test_adam_is_optaxs_adam():
    """Over 200 steps, from gradients of very different sizes, tiny ones too."""
    scales = jnp.array([1e-9, 1e-6, 1e-3, 1.0, 1e3])
    ours, theirs = optimizers.scale_by_adam(0.9, 0.999, 1e-8), optax.scale_by_adam()
    params = {"w": jnp.zeros(5)}
    states = [ours.init(params), theirs.init(params)]
    updates = [jax.jit(ours.update), jax.jit(theirs.update)]
    for step in range(200):
        noise = jax.random.normal(jax.random.key(step), (5,))
        grads = {"w": scales * (noise + 0.3)}
        one, states[0] = updates[0](grads, states[0])
        other, states[1] = updates[1](grads, states[1])
        np.testing.assert_allclose(one["w"], other["w"], rtol=1e-4)


def test_warmup_rises_linearly():
    shape = optimizers.with_warmup(lambda step: 0.5, 4)
    np.testing.assert_allclose([shape(s) for s in (0, 1, 4, 9)], [0, 0.125, 0.5, 0.5])


@pytest.mark.parametrize("num", [1, 1000, 2**16, 2**16 + 1])
def test_argsort_keeps_equal_numbers_in_order(num):
    """Few different values in either half, so that there are ties in each and both."""
    upper, lower = np.random.default_rng(0).integers(0, 40, (2, num), np.uint32)
    bits = upper << 27 | lower
    assert num == 1 or len(np.unique(bits)) < num
    found = np.asarray(loop.argsort(jnp.asarray(bits)))
    assert (found == np.argsort(bits, kind="stable")).all()


def test_batches_are_epochs_without_replacement():
    order = np.asarray(loop.batches(jax.random.key(0), 50, 16, 7))
    assert order.shape == (7, 16)
    first, second = order[:3].ravel(), order[3:6].ravel()
    assert len(set(first)) == len(set(second)) == 48
    assert list(first) != list(second)
    longer = np.asarray(loop.batches(jax.random.key(0), 50, 16, 20))
    np.testing.assert_array_equal(longer[:7], order)


@pytest.mark.parametrize("limit", [1, 7, 50, 1000])
def test_chunks_change_nothing(limit, monkeypatch):
    x = jax.random.normal(jax.random.key(0), (23, 5))
    found = loop.in_chunks(
        lambda x: x.reshape(len(x), -1).sum(1, keepdims=True), x, max(limit, 5)
    )
    np.testing.assert_allclose(found, x.sum(1, keepdims=True), rtol=1e-5)


def test_the_grid_has_one_length_whatever_the_start():
    snapshots = {"k": 33}
    whole = loop.evaluation_grid(100, 25, snapshots)
    assert whole == [0, 25, 33, 50, 75, 100]
    assert loop.evaluation_grid(100, 25, snapshots, start=33) == [
        33,
        33,
        33,
        50,
        75,
        100,
    ]
    assert loop.evaluation_grid(90, 40, {}) == [0, 40, 80, 90]


def test_regression_has_losses_only():
    x = jax.random.normal(jax.random.key(0), (40, 3))
    y = (x @ jnp.array([1.0, -2.0, 0.5])).astype(jnp.float32)
    dataset = Dataset(*(Split(x[i::3], y[i::3]) for i in range(3)), None, "line")
    task = losses.make_task(dataset, MODELS["mlp"]((3,), 1, hidden=(8,)))
    params, _ = task.model.init(jax.random.key(1))
    train = build(task, steps=300, batch_size=8)
    lane = helpers.make_lane(params, learning_rate=0.02)
    summary = jax.jit(train)(lane, splits(task), grid(0, 150, 300)).summary
    assert not any("accuracy" in name for name in summary)
    assert summary["test_loss"] < 0.1 * jnp.var(y)


def test_batch_statistics_are_carried_through_the_loop():
    class Normed(nn.Module):
        @nn.compact
        def __call__(self, x, train: bool):
            x = nn.Dense(8, name="dense_0")(x)
            x = nn.relu(nn.BatchNorm(use_running_average=not train, momentum=0.5)(x))
            return nn.Dense(3, name="output")(x)

    plain = helpers.random_task()
    model = from_linen(Normed(), (5,))
    task = Task(plain.dataset, model, plain.loss, plain.metrics)
    params, state = model.init(jax.random.key(1))
    lane = helpers.make_lane(params)
    trained = build(task)(lane, splits(task), grid(0, STEPS))
    x = task.dataset.validation.x
    outputs, _ = model.apply(trained.final, state, x, train=False)
    without = task.loss(outputs, task.dataset.validation.y)
    assert abs(trained.history["validation_loss"][-1] - without) > 1e-3


def test_a_diverging_lane_leaves_the_others_alone():
    task = helpers.random_task()
    params, _ = task.model.init(jax.random.key(1))
    train = build(task, "sgd")
    good = helpers.make_lane(params)
    bad = helpers.make_lane(params, learning_rate=1e30)
    for plan in (lanes.Plan("vmap"), lanes.Plan("map")):
        run = lanes.make_runner(train, splits(task), plan, jax.devices())
        trained = run(stack([good, bad]), grid(0, 10, STEPS))
        assert np.isnan(trained.summary["test_loss"][1])
        alone = run(stack([good, good]), grid(0, 10, STEPS))
        np.testing.assert_array_equal(
            trained.summary["test_loss"][0], alone.summary["test_loss"][0]
        )
        assert trained.summary["test_accuracy"][1] == 0
        assert np.isfinite(jax.tree.leaves(trained.best)[0][1]).all()


def some_lanes(task, num):
    made = []
    for i in range(num):
        params, _ = task.model.init(jax.random.key(i))
        mask = helpers.random_mask(params, i)
        made.append(helpers.make_lane(params, mask, i, 0.01 * (i + 1)))
    return made


@pytest.mark.parametrize("devices", [1, 2])
@pytest.mark.parametrize(
    "plan", [lanes.Plan("vmap"), lanes.Plan("map"), lanes.Plan("map", 2)], ids=str
)
def test_every_plan_gives_the_same_numbers(plan, devices):
    task = helpers.random_task()
    train = build(task)
    several = some_lanes(task, 5)
    run = lanes.make_runner(train, splits(task), plan, jax.devices()[:devices])
    trained = run(stack(several), grid(0, 10, STEPS))
    single = jax.jit(train)
    for i, lane in enumerate(several):
        alone = single(lane, splits(task), grid(0, 10, STEPS))
        jax.tree.map(
            lambda a, b, i=i: np.testing.assert_allclose(a[i], b, rtol=1e-4, atol=1e-6),
            (trained.final, trained.summary, trained.history),
            (alone.final, alone.summary, alone.history),
        )
    assert len(trained.summary["test_loss"]) == 5


def test_two_runs_are_one_stacked_run():
    """Bit for bit: a lane does not feel its neighbours."""
    task = helpers.random_task()
    run = lanes.make_runner(build(task), splits(task), lanes.Plan("map"), jax.devices())
    several = some_lanes(task, 6)
    whole = run(stack(several), grid(0, STEPS))
    parts = [run(stack(several[i : i + 2]), grid(0, STEPS)) for i in (0, 2, 4)]
    joined = jax.tree.map(lambda *leaves: jnp.concatenate(leaves), *parts)
    helpers.assert_trees_equal(whole.final, joined.final)
    first = jax.tree.map(lambda leaf: leaf[0], whole.final)
    assert helpers.trees_differ(first, jax.tree.map(lambda leaf: leaf[1], whole.final))


def test_auto_chooses_a_plan_that_runs():
    task = helpers.random_task()
    stacked = stack(some_lanes(task, 3))
    trial = lanes.trial_data(splits(task), BATCH)
    assert [len(split.x) for split in trial] == [64, 1, 1]
    plan = lanes.choose(build(task), splits(task), trial, stacked, jax.devices())
    assert plan in (lanes.Plan("vmap"), lanes.Plan("map"))


def test_auto_leaves_out_what_memory_does_not_hold(monkeypatch):
    """One byte holds one lane at a time at most; a full device ends the search."""
    task = helpers.random_task()
    stacked = stack(some_lanes(task, 40))
    tried = []

    def make_runner(train, data, plan, devices):
        tried.append(plan)
        if plan == lanes.Plan("map", 16):
            raise jax.errors.JaxRuntimeError("RESOURCE_EXHAUSTED: out of memory")

    monkeypatch.setattr(lanes, "make_runner", make_runner)
    monkeypatch.setattr(
        lanes, "step_seconds", lambda run, several, steps: 1 / len(tried)
    )
    args = (build(task), splits(task), splits(task), stacked, jax.devices())
    assert lanes.choose(*args, memory=1) == lanes.Plan("map")
    assert tried == [lanes.Plan("map")]
    assert lanes.choose(*args) == lanes.Plan("map", 4)
    assert tried[1:] == [lanes.Plan("map", chunk) for chunk in (1, 4, 16)]


def test_step_seconds_leaves_out_what_is_no_step():
    """Of runs that wait 0.2 s and 1 ms a step, only the steps count."""
    task = helpers.random_task()
    stacked = stack(some_lanes(task, 1))

    def slow(lane, data, grid):
        def wait(steps):
            time.sleep(0.2 + 0.001 * int(steps))
            return np.float32(0)

        scalar = jax.ShapeDtypeStruct((), jnp.float32)
        return jax.pure_callback(wait, scalar, grid[-1], vmap_method="sequential")

    plan = lanes.Plan("map")
    run = lanes.make_runner(slow, splits(task), plan, jax.devices()[:1])
    seconds = lanes.step_seconds(run, stacked)
    assert 0.08 < seconds < 0.3  # a hundred steps
