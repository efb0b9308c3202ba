"""Learned masks against numpy: straight-through steps, counts, freezing, whole runs."""

import math
import zlib
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import pandas as pd
import pytest

from lottery_jax import assembly, experiment
from lottery_jax import config as configs
from lottery_jax.algorithms import edge_popup, gem_miner, score_search
from lottery_jax.algorithms.base import RoundInfo
from lottery_jax.algorithms.methods import METHODS, RULES, Strand
from lottery_jax.analysis import columns
from lottery_jax.analysis.certificates import certify
from lottery_jax.errors import ConfigError, ScoreError
from lottery_jax.models import MODELS
from lottery_jax.reporting import tables
from lottery_jax.tickets import masks, selection
from lottery_jax.training import loop, losses, score_learning
from lottery_jax.training.optimizers import OPTIMIZERS, constant
from lottery_jax.types import Dataset, Lane, Split, Task, Trained
from tests import helpers

LEARNED = [name for name, method in METHODS.items() if method.learns]


def linear_task(seed=0):
    """One layer, 6 inputs and 3 classes, of which a gradient is a line of numpy."""
    keys = jax.random.split(jax.random.key(seed), 6)
    train, validation, test = (
        Split(jax.random.normal(a, (8, 6)), jax.random.randint(b, (8,), 0, 3))
        for a, b in zip(keys[::2], keys[1::2], strict=True)
    )
    model = MODELS["mlp"](
        (6,), 3, hidden=(), initializer="signed_constant", biases="none"
    )
    return losses.make_task(Dataset(train, validation, test, 3, "linear"), model)


def learn(task, rule, scores, num_keep, grid, **settings):
    """(weights, what the search returns) of one lane; keywords of search and lane."""
    weights, _ = task.model.init(jax.random.key(1))
    rate = settings.pop("learning_rate", 0.1)
    inverted = settings.pop("inverted", False)
    scores = {"output/kernel": jnp.asarray(scores, jnp.float32)}
    mask = {
        "scores": masks.full(scores),
        "weights": jax.tree.map(jnp.logical_not, masks.full(weights)),
    }
    hypers = {
        "learning_rate": jnp.float32(rate),
        "regularization": jnp.float32(settings.pop("regularization", 0.0)),
        "num_keep": {"all": jnp.array(num_keep)},
        "inverted": jnp.bool(inverted),
    }
    train = score_learning.make_train(
        task,
        OPTIMIZERS[settings.pop("optimizer", "sgd")](0.9, 0.0),
        settings.pop("schedule", constant(0, (), 0.0)),
        steps=grid[-1],
        batch_size=8,
        rule=rule,
        groups={"all": ("output/kernel",)},
        **settings,
    )
    lane = Lane({"scores": scores, "weights": weights}, mask, jax.random.key(2), hypers)
    data = task.dataset.train, task.dataset.validation, task.dataset.test
    return weights["output"]["kernel"], jax.jit(train)(lane, data, jnp.array(grid))


def outputs(split, weights, mask):
    """(x, y as one-hot rows, what the network makes of x), in float64."""
    x, y = (np.asarray(leaf) for leaf in split)
    logits = x @ (np.asarray(weights, np.float64) * mask)
    p = np.exp(logits - logits.max(1, keepdims=True))
    return x, np.eye(3)[y], p / p.sum(1, keepdims=True)


def through(task, weights, mask):
    """Gradient of the loss in the effective weights, times the weights, in float64."""
    x, y, p = outputs(task.dataset.train, weights, mask)
    return x.T @ (p - y) / len(x) * np.asarray(weights, np.float64)


def best(scores, num):
    """The mask of the largest, ties by position."""
    kept = np.zeros(scores.size, bool)
    kept[np.argsort(-scores.ravel(), kind="stable")[:num]] = True
    return kept.reshape(scores.shape)


def test_edge_popup_steps_as_in_numpy():
    task = linear_task()
    scores = np.asarray(edge_popup.draw(jax.random.key(3), (6, 3)), np.float64)
    assert abs(scores).max() <= 1 / math.sqrt(6) and len(np.unique(scores)) == 18
    # The rule's ranks are |s|; the sign is what a second rule with plain scores tells.
    rule = edge_popup.EDGE_POPUP._replace(ranks=lambda scores, active: scores)
    num_keep = [7, 7, 7]
    weights, found = learn(
        task, rule, scores, num_keep, [0, 2, 5],
        learning_rate=4.0, schedule=lambda step: 1 / (1 + step),
    )  # fmt: skip
    for step in range(5):
        gradient = through(task, weights, best(abs(scores), 7)) * np.sign(scores)
        scores = scores - 4.0 / (1 + step) * gradient
    final = found.final["scores"]["output/kernel"]
    np.testing.assert_allclose(final, scores, atol=1e-5)
    assert (np.sign(final) != np.sign(np.asarray(edge_popup.draw(
        jax.random.key(3), (6, 3))))).any()  # fmt: skip
    np.testing.assert_array_equal(found.final["weights"]["output"]["kernel"], weights)
    np.testing.assert_allclose(found.history["used_density"], [7 / 18] * 3, rtol=1e-6)
    _, y, p = outputs(task.dataset.validation, weights, best(abs(scores), 7))
    loss, accuracy = -np.log(p[y > 0]).mean(), (p.argmax(1) == y.argmax(1)).mean()
    np.testing.assert_allclose(found.history["validation_loss"][-1], loss, rtol=1e-4)
    np.testing.assert_allclose(found.history["validation_accuracy"][-1], accuracy)
    shown = edge_popup.ranks({"a": jnp.array([-2.0, 1.0])}, None)
    np.testing.assert_array_equal(shown["a"], [2, 1])


def test_a_score_of_zero_moves():
    task = linear_task()
    _, found = learn(
        task, edge_popup.EDGE_POPUP, np.zeros((6, 3)), [9, 9], [0, 3]
    )  # fmt: skip
    assert (np.asarray(found.final["scores"]["output/kernel"]) > 0).mean() > 0.9


@pytest.mark.parametrize("inverted", [False, True])
def test_gem_miner_freezes_as_in_numpy(inverted):
    task, rate, weight = linear_task(), 6.0, 0.01
    p = np.asarray(gem_miner.draw(jax.random.key(4), (6, 3)), np.float64)
    grid, num_keep = [0, 2, 4, 6, 8], [18, 12, 8, 5, 5]
    # The ranks do not tell p; these do.
    rule = gem_miner.GEM_MINER._replace(
        ranks=lambda p, active: {"p": p, "active": active}
    )
    weights, found = learn(
        task, rule, p, num_keep, grid, inverted=inverted,
        learning_rate=rate, regularization=weight,
    )  # fmt: skip
    key = jax.random.fold_in(jax.random.key(2), zlib.crc32(b"ties"))
    lots = np.asarray(jax.random.uniform(jax.random.fold_in(key, 0), (6, 3)))
    active, seen, tied = np.ones((6, 3), bool), [], []
    for num in num_keep[1:]:
        for _ in range(2):
            gradient = np.where(active, through(task, weights, active & (p > 0.5)), 0)
            p = np.clip(p - rate * (gradient + 2 * weight * p), 0, 1)
        rank = np.where(p <= 0, -lots, np.where(p >= 1, 1 + lots, p))
        after = best(np.where(active, -rank if inverted else rank, -np.inf), num)
        by_position = best(np.where(active, -p if inverted else p, -np.inf), num)
        tied.append((after != by_position).any())
        assert not (after & ~active).any()
        active = after
        seen.append((active & (p > 0.5)).mean())
    final = {k: v["output/kernel"] for k, v in found.final["scores"].items()}
    np.testing.assert_allclose(final["p"], p, atol=1e-5)
    np.testing.assert_array_equal(final["active"], active)
    assert any(tied)
    assert final["p"].min() >= 0 and (inverted or final["p"].max() == 1)
    np.testing.assert_allclose(found.history["used_density"][1:], seen, rtol=1e-6)
    np.testing.assert_allclose(
        found.history["density"], np.array(num_keep) / 18, rtol=1e-6
    )
    np.testing.assert_array_equal(found.final["weights"]["output"]["kernel"], weights)


@pytest.mark.parametrize("inverted", [False, True])
@pytest.mark.parametrize("value", [0.0, 1.0])
def test_ties_are_frozen_by_lot_to_the_exact_count(value, inverted):
    scores = {"a": jnp.full((60, 50), value), "b": jnp.full((300,), value)}
    groups = {"all": ("a", "b")}

    @jax.jit
    def freeze(lots, active, num):
        counts = {"all": num}
        return gem_miner.freeze(scores, lots, active, counts, groups, inverted)

    tickets = []
    for seed in range(2):
        lots = score_learning.draw_lots(jax.random.key(seed), scores)
        active = masks.full(scores)
        for num in (1650, 330):
            active = freeze(lots, active, num)
            assert sum(int(leaf.sum()) for leaf in active.values()) == num
            # 4 standard deviations of what a fair lot gives the small layer.
            assert abs(int(active["b"].sum()) - num / 11) < 4 * math.sqrt(num / 11)
        tickets.append(active)
    assert all((tickets[0][name] != tickets[1][name]).any() for name in scores)
    # The mask of a step keeps them all; the ticket does not.
    used = edge_popup.used(scores, None, {"all": 4}, groups)
    assert all(leaf.all() for leaf in used.values())


@pytest.mark.parametrize("inverted", [False, True])
def test_what_is_frozen_out_never_returns(inverted):
    p = jnp.array([1.0, 0.7, 0.6, 0.2])  # the first is out, and scores best
    scores, active = {"a": 1 - p if inverted else p}, {"a": jnp.arange(4) > 0}
    lots = {"a": jnp.array([0.9, 0.1, 0.2, 0.3])}
    groups = {"all": ("a",)}
    found = gem_miner.freeze(scores, lots, active, {"all": 2}, groups, inverted)
    np.testing.assert_array_equal(found["a"], [False, True, True, False])


def test_the_threshold_of_a_step_is_that_of_the_ticket():
    scores = {"a": jax.random.normal(jax.random.key(0), (40, 5))}
    scores["a"] = scores["a"].at[0].set(jnp.array([0.0, -0.0, 1e-40, -3e4, 3e4]))
    groups = {"all": ("a",)}

    @jax.jit
    def both(num):
        exact = selection.select(scores, masks.full(scores), {"all": num}, groups)
        return exact, selection.at_least(scores, {"all": num}, groups)

    for num in (1, 2, 77, 199, 200):
        exact, fast = both(num)
        different = np.asarray(fast["a"] != exact["a"])
        # The two zeros tie.
        assert different.sum() <= 1 and (np.asarray(scores["a"])[different] == 0).all()


# Epochs, T and target -> q: the configurations of the paper's public code.
RATES = [
    (150, 5, 0.2, 0.05399), (150, 5, 0.0372, 0.10729), (150, 5, 0.0144, 0.13604),
    (150, 5, 0.0059, 0.16221), (150, 8, 0.5, 0.03778), (150, 8, 0.0059, 0.24810),
    (300, 5, 0.05, 0.04951), (200, 10, 0.05, 0.14587),
]  # fmt: skip


@pytest.mark.parametrize(("epochs", "every", "target", "q"), RATES)
def test_freeze_rates_of_the_paper(epochs, every, target, q):
    rounds = len(loop.evaluation_grid(epochs, every, {})) - 2
    assert rounds == (epochs - 1) // every
    assert gem_miner.freeze_rate(target, rounds) == pytest.approx(q, abs=5e-6)
    size = 268_336
    counts = gem_miner.freezing(size, round(target * size), rounds + 1)
    active = size
    for number, count in enumerate(counts[1:-1], 1):
        assert count == max(round(target * size), active - math.ceil(
            gem_miner.freeze_rate(round(target * size) / size, rounds) * active
        )) or number == rounds  # fmt: skip
        assert count < active
        assert count / size == pytest.approx(target ** (number / rounds), rel=0.02)
        active = count
    assert counts[0] == size and counts[-2:] == [round(target * size)] * 2
    assert len(counts) == rounds + 2


def test_annealed_densities_are_those_of_the_formula():
    counts = edge_popup.annealed(1000, 100, 10)
    assert counts == [round(1000 * 0.1 ** (e / 10)) for e in range(11)]
    assert edge_popup.constant(1000, 100, 3) == [100] * 4


class Asked(NamedTuple):
    """What a search was asked: rule, lanes of all its strands, grid."""

    rule: score_learning.Rule
    lanes: Lane
    grid: jax.Array


def searches(regularization=(0.0,), broken=0, round=1, **settings):
    """Searches of a round of two replicates that learn nothing: by rule, and keys."""
    asked, order = [], jax.random.split(jax.random.key(8), 2)

    def make_run(rule, **others):
        del others

        def run(lanes, grid):
            asked.append(Asked(rule, lanes, grid))
            num = len(lanes.key)
            history = {"step": jnp.tile(grid, (num, 1))}
            # The last replicate alone has diverged.
            diverged = jnp.zeros(num, int).at[num - 1].set(broken)
            return Trained(
                lanes.params, lanes.params, {}, history, {"broken": diverged}
            )

        return run

    names = ("edge_popup_global", "gem_miner")
    strands = [Strand(name, METHODS[name]) for name in names]
    theta = {name: {"kernel": jnp.ones((2, 4, 3))} for name in "ab"}
    sizes = {f"{name}/kernel": 12 for name in "ab"}
    learn = score_search.make_learn(
        make_run, strands, sizes, {"clean": None}, learning_rate=0.5,
        steps=4, update_every=2, regularization=regularization,
        **{"gem_miner_learning_rate": None, **settings},
    )  # fmt: skip
    keys = dict.fromkeys(strands, jax.random.split(jax.random.key(9), 2))
    learn(round, theta, keys, order, dict.fromkeys(strands, {"all": 6}))
    assert len(asked) == 2
    return {"gem_miner" if a.rule.bounded else "edge_popup": a for a in asked}, order


@pytest.mark.parametrize(("own", "rate"), [(2.0, 2.0), (None, 0.5)])
def test_scores_between_0_and_1_have_a_learning_rate_of_their_own(own, rate):
    asked, _ = searches(gem_miner_learning_rate=own)
    rates = {
        name: a.lanes.hypers["learning_rate"].tolist() for name, a in asked.items()
    }
    assert rates == {"edge_popup": [0.5] * 2, "gem_miner": [rate] * 2}


def test_every_density_has_its_own_regularization():
    for round, weight in [(1, 0.25), (2, 0.5)]:
        for weights in [(0.25, 0.5), (weight,)]:
            asked, _ = searches(weights, round=round)
            for a in asked.values():
                assert a.lanes.hypers["regularization"].tolist() == [weight] * 2


def test_kernels_replicates_and_orders_are_drawn_apart():
    asked, order = searches()
    for a in asked.values():
        one, other = (np.asarray(leaf) for leaf in a.lanes.params["scores"].values())
        assert (one != other).all() and (one[0] != one[1]).all()
        data = np.concatenate([jax.random.key_data(k) for k in (order, a.lanes.key)])
        assert len(np.unique(data, axis=0)) == 4


def test_a_search_that_diverged_is_refused():
    problem = "round 2: 3 scores .* edge_popup_global .* replicate 1 .*learning_rate"
    with pytest.raises(ScoreError, match=problem):
        searches(broken=3, round=2)


@pytest.mark.parametrize("rule", [edge_popup.EDGE_POPUP, gem_miner.GEM_MINER])
def test_scores_that_are_no_numbers_are_counted(rule):
    task = linear_task()
    scores = np.asarray(gem_miner.draw(jax.random.key(3), (6, 3)))
    assert learn(task, rule, scores, [18, 18], [0, 2])[1].summary["broken"] == 0
    broken = task.dataset.train._replace(x=task.dataset.train.x.at[0, 0].set(jnp.nan))
    task = task._replace(dataset=task.dataset._replace(train=broken))
    assert learn(task, rule, scores, [18, 18], [0, 2])[1].summary["broken"] == 18


def tiny(**changes):
    config = configs.default("compare")
    config.data.validation_size = 100
    config.data.test_size = 400
    config.model.hidden = (32,)
    config.model.initializer = "signed_constant"
    config.model.biases = "none"
    config.train.steps = 30
    config.train.eval_every = 10
    config.lanes.plan = "map"
    config.replicates = 2
    config.algorithm.methods = (*LEARNED, "snip")
    config.algorithm.checks = ("inverted", "hybrid")
    config.algorithm.densities = (0.5, 0.2)
    config.algorithm.search.steps = 120
    config.algorithm.search.update_every = 20
    config.algorithm.search.gem_miner_learning_rate = 1.0
    config.algorithm.search.regularization = (1e-4,)
    config.controls.shuffle = 1
    for name, value in changes.items():
        config.update_from_flattened_dict({name.replace("__", "."): value})
    return config


@pytest.mark.parametrize("name", ["edge_popup_annealed", "gem_miner"])
def test_convolutions_learn_scores_too(name):
    """LeNet-5 on noise it has seen: the masks fit it, and keep what they may."""
    rule = RULES[name]
    x = jax.random.normal(jax.random.key(0), (20, 12, 12, 1))
    split = Split(x, jnp.arange(20) % 2)
    model = MODELS["lenet_5"](
        (12, 12, 1), 2, initializer="signed_constant", biases="none"
    )
    task = losses.make_task(Dataset(split, split, split, 2, "noise"), model)
    weights, _ = model.init(jax.random.key(1))
    kernels = masks.named_leaves(weights)
    scores = {
        path: rule.draw(jax.random.key(i), leaf.shape)
        for i, (path, leaf) in enumerate(kernels.items())
    }
    size = sum(leaf.size for leaf in scores.values())
    grid, num = [0, 15, 30, 45], size // 5
    none = jax.tree.map(jnp.logical_not, masks.full(weights))
    hypers = {
        "learning_rate": jnp.float32(1.0),
        "regularization": jnp.float32(1e-4),
        "num_keep": {"all": jnp.array(rule.counts(size, num, 3))},
        "inverted": jnp.bool(False),
    }
    mask = {"scores": masks.full(scores), "weights": none}
    lane = Lane({"scores": scores, "weights": weights}, mask, jax.random.key(2), hypers)
    train = score_learning.make_train(
        task, OPTIMIZERS["momentum"](0.9, 0.0), constant(0, (), 0.0),
        steps=45, batch_size=20, rule=rule, groups={"all": tuple(kernels)},
    )  # fmt: skip
    found = jax.jit(train)(lane, (split, split, split), jnp.array(grid))
    accuracy = found.history["validation_accuracy"]
    assert accuracy[0] < 0.7 and accuracy[-1] >= 0.85
    helpers.assert_trees_equal(found.final["weights"], weights)
    ticket = selection.select(
        found.final["scores"], mask["scores"], {"all": num}, {"all": tuple(kernels)}
    )
    assert sum(int(leaf.sum()) for leaf in ticket.values()) == num
    assert found.history["used_density"][-1] <= num / size + 1e-3


class Rounds(NamedTuple):
    """Certified rounds: tables of all, and masks of the last."""

    summary: pd.DataFrame
    search: pd.DataFrame
    ladder: list
    info: RoundInfo
    task: Task


def rounds(config):
    task, algorithm, roots = helpers.tiny_algorithm(config)
    state, summaries, searches = algorithm.init(roots), [], []
    for _ in algorithm.ladder:
        state, info = algorithm.step(state)
        certify(info)
        found = columns.of_round(task, info)
        summaries.append(tables.of_round(info, found)[0])
        searches.append(tables.search(info))
    together = pd.concat(summaries), pd.concat(searches, ignore_index=True)
    return Rounds(*together, algorithm.ladder, info, task)


@pytest.fixture(scope="module")
def run():
    return rounds(tiny())


def test_the_work_of_a_round_counts_its_searches():
    config = tiny(algorithm__checks=(), algorithm__densities=(0.5,))
    config.algorithm.methods = (*LEARNED, "snip")
    _, algorithm, _ = helpers.tiny_algorithm(config)
    assert algorithm.work == [30, 6 * 2 * 30 + 5 * 120]  # with shuffles


@pytest.mark.parametrize("method", LEARNED)
def test_digits_are_told_apart_by_masks_alone(method, run):
    at = run.summary[run.summary["round"] == 1].groupby("lane")
    untrained = at.untrained_test_accuracy.mean()
    assert untrained[method] > 0.6
    for other in (f"{method}/inverted", "snip"):
        assert untrained[other] < 0.35, other


def test_masks_are_judged_on_the_test_split(run):
    lanes = masks.apply(run.info.lanes.params, run.info.mask)
    x, y = run.task.dataset.test
    table = run.summary[run.summary["round"] == run.info.round]
    for place in (0, -1):
        params = jax.tree.map(lambda leaf, at=place: leaf[at], lanes)
        guess = run.task.model.apply(params, {}, x, train=False)[0].argmax(1)
        accuracy = table.untrained_test_accuracy.iloc[place]
        np.testing.assert_allclose(accuracy, (guess == y).mean(), atol=1e-6)


def test_every_search_is_in_the_table(run):
    table = run.search
    # An inverted edge-popup is the same search, of which the lowest are kept.
    lanes = {
        *LEARNED,
        *(f"{method}/hybrid" for method in LEARNED),
        "gem_miner/inverted",
    }
    assert set(table.lane) == lanes
    assert len(table) == len(lanes) * 2 * 2 * 7
    assert table["round"].dtype == np.int64
    last = table[table.step == 120]
    for number, rows in last.groupby("round"):
        kept = run.ladder[number]["all"] / run.ladder[0]["all"]
        np.testing.assert_allclose(rows.density, kept, rtol=1e-6)
    gem = table[(table.lane == "gem_miner") & (table["round"] == 2)]
    own = gem[gem.replicate == 0].sort_values("step")
    assert (np.diff(own.density) <= 0).all() and own.used_density.iloc[0] < 0.6
    annealed = table[(table.lane == "edge_popup_annealed") & (table["round"] == 2)]
    np.testing.assert_allclose(
        annealed[annealed.replicate == 0].density,
        0.2 ** (np.arange(7) / 6), atol=2e-3,
    )  # fmt: skip


def test_layers_keep_their_share_or_compete(run):
    lanes = [label.lane for label in run.info.labels]
    for name, leaf in masks.named_leaves(run.info.mask).items():
        kept = np.asarray(leaf).reshape(len(lanes), -1)
        place, size = lanes.index("edge_popup"), kept.shape[1]
        wanted = size - int((1 - 0.2) * size)
        assert (abs(kept[place : place + 2].sum(1) - wanted) <= 1).all(), name
    assert abs(kept[lanes.index("gem_miner")].mean() - 0.2) > 0.02


def test_another_density_replicate_or_plan_moves_no_search(run):
    config = tiny(algorithm__methods=("gem_miner",))
    config.algorithm.checks = ("random_labels",)
    config.algorithm.densities = (0.5,)
    config.replicates = 1
    config.lanes.plan = "vmap"
    alone = rounds(config).search

    def own(table):
        chosen = (table.lane == "gem_miner") & (table["round"] == 1)
        return table[chosen & (table.replicate == 0)].reset_index(drop=True)

    np.testing.assert_allclose(
        own(alone).validation_loss, own(run.search).validation_loss, rtol=1e-4
    )
    noise = alone[alone.lane == "gem_miner/random_labels"]
    assert own(alone).validation_accuracy.max() > 0.6
    assert noise.validation_accuracy.max() < 0.4


BAD = {
    "algorithm.search.update_every": [0, 120],
    "algorithm.search.regularization": [(-1.0,), (), (1e-4, 1e-5, 1e-6)],
    "algorithm.search.learning_rate": [0.0],
    "algorithm.search.gem_miner_learning_rate": [-1.0],
    "algorithm.search.optimizer": ["sdg"],
    "algorithm.search.batch_size": [5000],
    "algorithm.search.milestones": [(10,)],
    "algorithm.densities": [(0.0005,)],
    "model.prune_biases": [True],
}


@pytest.mark.parametrize(
    ("field", "value"), [(field, v) for field, many in BAD.items() for v in many]
)
def test_wrong_searches_are_refused(field, value, tmp_path):
    config = tiny(algorithm__methods=("gem_miner",), algorithm__checks=())
    config.update_from_flattened_dict({field: value})
    with pytest.raises(ConfigError, match=rf"config\.{field}: "):
        experiment.run(config, tmp_path / "run")
    assert not (tmp_path / "run").exists()


def test_networks_with_state_are_refused():
    config, task = tiny(), linear_task()
    plain = task.model.init

    def init(key):
        return plain(key)[0], {"mean": jnp.zeros(3)}

    task = task._replace(model=task.model._replace(init=init))
    with pytest.raises(ConfigError, match=r"methods: .* \(edge_popup\) are learned"):
        assembly.check_batch_statistics(config, task)
    config.algorithm.methods = ("snip", "imp")
    assembly.check_batch_statistics(config, task)
    for name in ("nets", "strong_tickets", "supermask"):
        with pytest.raises(ConfigError, match=r"model.name: .* networks without"):
            assembly.check_batch_statistics(configs.default(name), task)


def test_methods_that_learn_have_rules_and_say_so():
    assert {METHODS[name].score for name in LEARNED} == set(RULES)
    assert all(METHODS[name].uses_data for name in LEARNED)
