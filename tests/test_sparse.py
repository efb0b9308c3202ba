"""Sparse execution against dense matrix products and against dense training."""

import functools

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from lottery_jax import experiment
from lottery_jax.errors import ConfigError
from lottery_jax.models import MODELS, from_linen
from lottery_jax.reporting import results
from lottery_jax.stacks import stack
from lottery_jax.tickets import masks
from lottery_jax.training import execution, lanes, loop, optimizers, sparse
from tests import helpers
from tests.test_config import load

STEPS = 500


def some_mask(inputs, units, density, seed=0):
    """Uneven rows, an empty row and an empty column."""
    key = jax.random.key(seed)
    slope = jnp.linspace(0, 2 * density, units)[None]
    mask = jax.random.uniform(key, (inputs, units)) < slope
    if units == 1:
        return jax.random.uniform(key, (inputs, 1)) < density
    return mask.at[0].set(False).at[:, units // 2].set(False)


@pytest.mark.parametrize(
    "inputs, units, batch", [(7, 5, 3), (40, 30, 128), (33, 1, 1), (70, 65, 150)]
)
@pytest.mark.parametrize("density", [0.0, 0.1, 0.5, 1.0])
def test_products_and_gradients_are_those_of_the_masked_matrix(
    inputs, units, batch, density
):
    keys = jax.random.split(jax.random.key(1), 3)
    kernel = jax.random.normal(keys[0], (inputs, units)) / inputs**0.5
    x = jax.random.normal(keys[1], (batch, inputs))
    weights = jax.random.normal(keys[2], (batch, units))
    mask = some_mask(inputs, units, density)
    where = sparse.pattern(mask, capacity=int(mask.sum()) + 3)
    values = sparse.compress(kernel, where)
    masked = jnp.where(mask, kernel, 0)
    assert (sparse.expand(values, where, kernel.shape) == masked).all()

    def thin(x, values):
        return jnp.sum(weights * jnp.sin(sparse.product(x, values, where)))

    def thick(x, kernel):
        return jnp.sum(weights * jnp.sin(x @ kernel))

    close = functools.partial(np.testing.assert_allclose, rtol=1e-4, atol=1e-5)
    close(sparse.product(x, values, where), x @ masked)
    found, expected = (
        jax.grad(thin, (0, 1))(x, values),
        jax.grad(thick, (0, 1))(x, masked),
    )
    close(found[0], expected[0])
    assert mask.any() == (density > 0)
    padding = values.size - int(mask.sum())
    assert padding == 3
    assert not found[1][-padding:].any()
    spread = sparse.expand(found[1], where, kernel.shape)
    close(spread, jnp.where(mask, expected[1], 0))


def test_loops_are_given_what_they_trust():
    """They would read foreign memory otherwise."""
    mask = some_mask(40, 30, 0.5)
    where = sparse.pattern(mask, int(mask.sum()))
    values = sparse.compress(jnp.ones((40, 30)), where)
    multiply = sparse.multiply_by(where, (40, 30))
    assert multiply(jnp.ones((3, 40)), values).shape == (3, 30)
    for x, kept in [
        (jnp.ones((3, 4)), values),
        (jnp.ones(40), values),
        (jnp.ones((3, 40)), values[:-1]),
        (jnp.ones((3, 40), jnp.bfloat16), values),
    ]:
        with pytest.raises(TypeError):
            multiply(x, kept)
    rows = where.rows.astype(jnp.float32)
    with pytest.raises(TypeError, match="expected .*int32"):
        sparse.product(jnp.ones((3, 40)), values, where._replace(rows=rows))


def test_products_of_many_lanes():
    """Under vmap every lane has its own pattern."""
    x = jax.random.normal(jax.random.key(0), (3, 8, 12))
    kernel = jax.random.normal(jax.random.key(1), (3, 12, 9))
    mask = jnp.stack([some_mask(12, 9, 0.5, seed) for seed in range(3)])
    assert (mask[0] != mask[1]).any()

    def product(x, kernel, mask):
        where = sparse.pattern(mask, 12 * 9)
        return sparse.product(x, sparse.compress(kernel, where), where)

    np.testing.assert_allclose(
        jax.vmap(product)(x, kernel, mask), x @ jnp.where(mask, kernel, 0), rtol=1e-4
    )


def builder(name="adam", steps=STEPS, **options):
    factory = optimizers.OPTIMIZERS[name](0.9, 0.0 if name == "adam" else 0.1)
    shape = optimizers.SCHEDULES["constant"](steps, (), 0.1)
    snapshots = {"early": 10}
    return functools.partial(
        loop.make_train,
        optimizer=factory,
        schedule=shape,
        steps=steps,
        batch_size=16,
        snapshots=snapshots,
        **options,
    )


def uneven_lanes(task, density, num=3):
    """Lanes with masks of their own; the second layer's first unit has no input."""
    made = []
    for seed in range(num):
        params, _ = task.model.init(jax.random.key(seed))
        mask = helpers.random_mask(params, seed, density)
        second = mask["dense_1"]["kernel"]
        mask["dense_1"]["kernel"] = second.at[:, 0].set(False)
        mask["dense_0"]["kernel"] = mask["dense_0"]["kernel"].at[1].set(False)
        made.append(helpers.make_lane(params, mask, seed, 0.01))
    return stack(made)


def room_for(lane, task):
    return sparse.capacities(*sparse.count(lane.mask, task.model.dense), (0.6,))


@pytest.mark.parametrize(
    ("name", "density", "kind"),
    [
        ("adam", 0.3, "map"),
        ("adamw", 0.05, "vmap"),
        ("sgd", 0.5, "vmap"),
        ("momentum", 0.1, "map"),
    ],
)
def test_sparse_training_is_dense_training(name, density, kind):
    # Enough examples: where all are fitted, gradients are rounding errors.
    task = helpers.random_task(num=2048, hidden=(40, 20))
    stacked = uneven_lanes(task, density)
    data, grid = tuple(task.dataset[:3]), jnp.array([0, 10, 250, STEPS])
    build = builder(name)
    trained = {}
    forms = {
        "dense": build(task),
        "sparse": sparse.make_train(build, task, room_for(stacked, task)),
    }
    for form, train in forms.items():
        run = lanes.make_runner(train, data, lanes.Plan(kind), jax.devices())
        trained[form] = run(stacked, grid)
    start = masks.apply(stacked.params, stacked.mask)
    assert helpers.trees_differ(trained["dense"].final, start)
    jax.tree.map(
        lambda a, b: np.testing.assert_allclose(a, b, rtol=2e-3, atol=2e-4),
        trained["sparse"],
        trained["dense"],
    )
    outside = jax.tree.map(
        lambda leaf, kept: jnp.where(kept, 0, leaf),
        trained["sparse"].final,
        stacked.mask,
    )
    assert not any(leaf.any() for leaf in jax.tree.leaves(outside))


def test_the_optimizer_holds_kept_weights_alone():
    task = helpers.random_task(features=100, hidden=(100,))
    params, _ = task.model.init(jax.random.key(0))
    lane = helpers.make_lane(params, helpers.random_mask(params, 0, 0.01))
    seen = []

    def build(task):
        def init(params):
            seen.append(params["dense_0"]["kernel"].shape)
            return optax.EmptyState()

        tx = optax.GradientTransformation(init, lambda grads, state, _: (grads, state))
        return builder(steps=5)(task, optimizer=lambda rate: tx)

    capacities = (("dense_0/kernel", 200), ("output/kernel", 300))
    train = sparse.make_train(build, task, capacities)
    train(lane, tuple(task.dataset[:3]), jnp.array([0, 5]))
    assert seen == [(200,)]


def test_convolutions_stay_dense():
    task = helpers.random_task()
    x = jax.random.normal(jax.random.key(0), (4, 12, 12, 1))
    model = MODELS["lenet_5"]((12, 12, 1), 10)
    assert model.dense == ("dense_0/kernel", "dense_1/kernel", "output/kernel")
    params, _ = model.init(jax.random.key(0))
    doubled, _ = model.apply(
        params, {}, x, train=False, products={"output/kernel": lambda x, w: 2 * (x @ w)}
    )
    single, _ = model.apply(params, {}, x, train=False)
    np.testing.assert_allclose(doubled, 2 * single, rtol=1e-5)
    assert task.model.dense == ("dense_0/kernel", "output/kernel")


def test_dense_layers_are_found_however_they_are_nested():
    class Block(nn.Module):
        @nn.compact
        def __call__(self, x):
            return nn.Dense(4, use_bias=False)(nn.relu(nn.Dense(6)(x)))

    class Two(nn.Module):
        @nn.compact
        def __call__(self, x):
            return nn.Dense(2, name="output")(Block(name="inner")(x) + x)

    model = from_linen(Two(), (3, 4))
    assert sorted(model.dense) == [
        "inner/Dense_0/kernel",
        "inner/Dense_1/kernel",
        "output/kernel",
    ]
    params, _ = model.init(jax.random.key(0))
    x = jax.random.normal(jax.random.key(1), (5, 3, 4))
    products = dict.fromkeys(model.dense, lambda x, kernel: x @ kernel)
    plain, _ = model.apply(params, {}, x, train=False)
    replaced, _ = model.apply(params, {}, x, train=False, products=products)
    np.testing.assert_allclose(replaced, plain, rtol=1e-5)


def test_capacities_are_few():
    """Twenty rounds of LeNet's ladder need one dense and three sparse programs."""
    sizes = {"dense_0": 235_200, "dense_1": 30_000, "output": 1000}
    found = []
    for number in range(21):
        kept = {name: round(size * 0.8**number) for name, size in sizes.items()}
        kept["output"] = round(1000 * 0.9**number)
        room = sparse.capacities(sizes, kept, sparse.LEVELS)
        assert room is None or all(kept[name] <= size for name, size in room)
        found.append(room)
    assert found[0] is None
    assert len(set(found)) == 4
    assert sparse.capacities(sizes, sizes, (*sparse.LEVELS, 1.0)) == tuple(
        sizes.items()
    )


@pytest.mark.parametrize("won", [None, "first", "second"])
def test_auto_stays_with_sparse_execution_once_it_has_won(won, monkeypatch):
    """Trials go on round by round until one is won, and that is remembered."""
    monkeypatch.setattr(execution, "WORTH_A_TRIAL", 0)
    monkeypatch.setattr(sparse, "SMALL", 0)
    monkeypatch.setattr(sparse, "LEVELS", (0.6, 0.3))
    task = helpers.random_task(hidden=(40, 20))
    trials, built = [], []
    memory = {}

    def seconds(*args):
        trials.append(args)
        sparse_is_faster = {None: False, "first": True, "second": len(trials) > 2}[won]
        return -len(trials) if sparse_is_faster else len(trials)

    def remember(name, choose):
        if name not in memory:
            chosen = choose()
            if chosen is None:
                return None
            memory[name] = chosen
        return memory[name]

    def make_train(build, task, capacities):
        built.append(capacities)
        return original(build, task, capacities)

    original = sparse.make_train
    monkeypatch.setattr(lanes, "step_seconds", seconds)
    monkeypatch.setattr(sparse, "make_train", make_train)
    run = execution.make_runner(
        builder(steps=20),
        task,
        tuple(task.dataset[:3]),
        plan=lanes.Plan("map"),
        memory=None,
        trial=lanes.trial_data(task.dataset[:3], 16),
        execution="auto",
        remember=remember,
    )
    rounds = [uneven_lanes(task, density) for density in (0.9, 0.45, 0.4, 0.15)]
    found = [run(stacked, jnp.array([0, 10, 20])) for stacked in rounds]
    levels = {None: 0, "first": 2, "second": 2}[won]
    rooms = [sparse.count(s.mask, task.model.dense) for s in rounds]
    rooms = [sparse.capacities(*found, sparse.LEVELS) for found in rooms]
    # For trials and for rounds apart; 0.45 and 0.4 share a level.
    assert built.count(rooms[1]) == 1 + (levels > 0)
    assert built.count(rooms[3]) == 1
    expected = {None: 6, "first": 2, "second": 4}
    assert len(trials) == expected[won]  # none at 0.9: no level holds it
    kept = [sum(sparse.count(s.mask, task.model.dense)[1].values()) for s in rounds]
    assert (
        memory.get("sparse_below")
        == {None: None, "first": kept[1], "second": kept[2]}[won]
    )
    for stacked, trained in zip(rounds, found, strict=True):
        dense = lanes.make_runner(
            builder(steps=20)(task),
            tuple(task.dataset[:3]),
            lanes.Plan("map"),
            jax.devices(),
        )(stacked, jnp.array([0, 10, 20]))
        np.testing.assert_allclose(
            trained.summary["test_loss"], dense.summary["test_loss"], rtol=1e-4
        )


def test_a_whole_run_gives_the_same_tickets_either_way(tmp_path):
    changes = {"algorithm__rounds": 5, "algorithm__prune_fraction": 0.5}
    found = {}
    for name in ("dense", "sparse"):
        config = helpers.tiny_config(train__execution=name, **changes)
        found[name] = experiment.run(config, tmp_path / name)
    one, other = (found[name].summary for name in ("dense", "sparse"))
    assert (one.kept == other.kept).all()
    np.testing.assert_allclose(one.test_loss, other.test_loss, rtol=1e-3)
    for name, mask in results.load_masks(tmp_path / "dense", 5).items():
        same = mask == results.load_masks(tmp_path / "sparse", 5)[name]
        assert same.mean() > 0.999


@pytest.mark.parametrize(("steps", "expected"), [(999, "dense"), (1000, "auto")])
def test_short_rounds_are_over_before_a_trial_is(steps, expected, monkeypatch):
    chosen = []
    monkeypatch.setattr(
        execution, "make_runner", lambda *_, **options: chosen.append(options)
    )
    config = helpers.tiny_config(train__steps=steps)
    assert config.train.execution == "auto"
    helpers.tiny_algorithm(config)
    assert [options["execution"] for options in chosen] == [expected]


def test_sparse_execution_needs_a_dense_layer(tmp_path):
    class Convolutions(nn.Module):
        @nn.compact
        def __call__(self, x):
            return nn.Conv(10, (8, 8), padding="VALID")(x)[:, 0, 0]

    MODELS["only_conv"] = lambda shape, num, initializer: from_linen(
        Convolutions(), shape
    )
    try:
        config = helpers.tiny_config(
            model__name="only_conv", model__hidden=None, train__execution="sparse"
        )
        with pytest.raises(ConfigError, match="train.execution.*no dense layer"):
            experiment.run(config, tmp_path / "run")
    finally:
        del MODELS["only_conv"]
    assert not (tmp_path / "run").exists()


def test_layers_of_another_precision_stay_dense():
    class Mixed(nn.Module):
        @nn.compact
        def __call__(self, x):
            x = nn.Dense(8, param_dtype=jnp.bfloat16, name="low")(x)
            x = nn.Dense(8, dtype=jnp.bfloat16, name="computed_low")(x)
            return nn.Dense(2, name="output")(x.astype(jnp.float32))

    assert from_linen(Mixed(), (4,)).dense == ("output/kernel",)
    where = sparse.pattern(jnp.ones((4, 8), bool), 32)
    with pytest.raises(TypeError, match="float32"):
        sparse.product(jnp.ones((3, 4), jnp.bfloat16), jnp.ones(32), where)


def test_too_little_room_writes_nothing_elsewhere():
    where = sparse.pattern(jnp.ones((4, 8), bool), 5)
    assert where.starts.max() == 5
    assert sparse.product(jnp.ones((3, 4)), jnp.ones(5), where).sum() == 15


def test_a_denser_small_layer_does_not_hold_the_others_back():
    """Global pruning leaves the second layer denser than the first."""
    sizes = {"dense_0": 235_200, "dense_1": 30_000, "output": 1000}
    kept = {"dense_0": 19_000, "dense_1": 9_000, "output": 800}
    assert dict(sparse.capacities(sizes, kept, (0.22, 0.09))) == {
        "dense_0": 21_168,
        "dense_1": 30_000,
        "output": 1000,
    }


@pytest.mark.parametrize(
    ("path", "expected"),
    [
        ("pruning_at_init.py:snip,smoke", ["sparse"]),
        ("theys.py:smoke", ["sparse", "dense"]),  # pruned while it trains
        ("gem_miner.py:smoke", ["sparse", "dense", "dense"]),  # learns scores
        ("nets.py:xor10,smoke", ["sparse", "sparse"]),  # the search, and what follows
        ("topologies.py:smoke", ["sparse"]),
        ("zhou_fc.py:supermask,smoke", ["dense"]),
        ("sample_complexity.py:smoke", ["dense"]),
    ],
)
def test_programs_are_sparse_where_pruned_weights_are_zero(path, expected, monkeypatch):
    """Of every algorithm that trains, in the order in which it makes its programs."""
    config, made = load(path), []

    def make_runner(*arguments, execution, **options):
        made.append(execution)

    monkeypatch.setattr(execution, "make_runner", make_runner)
    config.train.execution = "sparse"
    helpers.tiny_algorithm(config)
    assert made == expected


@pytest.mark.parametrize(("generations", "expected"), [(4, "dense"), (5, "auto")])
def test_a_trial_is_worth_it_where_lanes_are_trained_often(
    generations, expected, monkeypatch
):
    """From a thousand steps on, of all generations together."""
    config, made = load("nets.py:xor10,smoke"), []

    def make_runner(*arguments, execution, **options):
        made.append(execution)

    monkeypatch.setattr(execution, "make_runner", make_runner)
    config.algorithm.generations, config.algorithm.search.steps = generations, 200
    helpers.tiny_algorithm(config)
    assert made == [expected, "dense"]
