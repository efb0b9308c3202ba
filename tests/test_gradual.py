"""Pruning within one training: schedule, link, tickets, stopping by patience."""

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from lottery_jax import config as configs
from lottery_jax import experiment, validation
from lottery_jax.algorithms.base import Label
from lottery_jax.algorithms.gradual import as_published, prune_gradually, stop
from lottery_jax.analysis.certificates import certify
from lottery_jax.errors import CertificateError, ConfigError
from lottery_jax.models import MODELS
from lottery_jax.stacks import take
from lottery_jax.tickets import masks, schedules, selection
from lottery_jax.types import Trained
from tests import helpers


def tiny_config(**changes):
    config = helpers.tiny_config()
    config.algorithm = configs.default("gradual").algorithm
    config.algorithm.densities = (0.4, 0.1)
    config.algorithm.updates = 5
    config.controls.random = 0
    config.update_from_flattened_dict(
        {name.replace("__", "."): value for name, value in changes.items()}
    )
    return config


@pytest.fixture(scope="module")
def rounds():
    """(task, algorithm, [info of every round], [state before it])."""
    config = tiny_config(train__test_curve=True, algorithm__patience=1)
    task, algorithm, roots = helpers.tiny_algorithm(config)
    state, infos, states = algorithm.init(roots), [], []
    for _ in algorithm.ladder:
        states.append(state)
        state, info = algorithm.step(state)
        infos.append(info)
    return task, algorithm, infos, states


def lanes_of(info, name):
    return [i for i, label in enumerate(info.labels) if label.lane == name]


# --- the schedule


@pytest.mark.parametrize(
    ("density", "sparsities"),
    [
        ("0.5", [0.0713, 0.1355, 0.1929, 0.2440, 0.2891, 0.3285, 0.3627, 0.3920]),
        ("0.1", [0.1284, 0.2439, 0.3473, 0.4392, 0.5203, 0.5913]),
        ("0.01", [0.1412, 0.2683, 0.3820, 0.4831, 0.5723, 0.6504]),
    ],
)
def test_the_published_schedule(density, sparsities):
    sizes = {"large": 10**9, "small": 48_000}
    ladder = schedules.polynomial(sizes, dict.fromkeys(sizes, float(density)), 20)
    assert len(ladder) == 21 and ladder[0] == sizes
    found = [1 - rung["large"] / 10**9 for rung in ladder]
    np.testing.assert_allclose(found[1 : 1 + len(sparsities)], sparsities, atol=5e-5)
    assert ladder[-1]["small"] == round(48_000 * float(density))


def test_lenet_5_counts():
    model = MODELS["lenet_5"]((28, 28, 1), 10)
    shapes, _ = jax.eval_shape(model.init, jax.random.key(0))
    leaves = masks.named_leaves(shapes)
    assert sum(leaf.size for leaf in leaves.values()) == 61_706
    names = ["dense_0/kernel", "dense_1/kernel"]
    sizes = {name: leaves[name].size for name in names}
    assert sum(sizes.values()) == 58_080
    # Density of all weights and biases, in percent, at that of the two layers.
    whole = {0.5: 52.9, 0.33: 36.9, 0.2: 24.7, 0.1: 15.3, 0.05: 10.6, 0.02: 7.8}
    for density, percent in whole.items():
        last = schedules.polynomial(sizes, dict.fromkeys(names, density), 20)[-1]
        left = 61_706 - 58_080 + sum(last.values())
        assert round(100 * left / 61_706, 1) == percent


# --- the link


def test_the_link_prunes_as_a_loop_would():
    """Against numpy: what every step does to every weight."""
    rng = np.random.default_rng(0)
    params = {"a": rng.normal(size=(6, 5)), "b": rng.normal(size=4)}
    at, counts = (2, 4, 5), [25, 10, 3]
    link = prune_gradually({"a": jnp.array(counts)}, at, selection.layerwise(["a"]))
    state = link.init(jax.tree.map(jnp.asarray, params))
    weights, kept = (
        {k: v.astype(np.float32) for k, v in params.items()},
        np.ones(30, bool),
    )
    found = jax.tree.map(jnp.asarray, weights)
    for step in range(1, 8):
        updates = {k: rng.normal(size=v.shape).astype("f4") for k, v in params.items()}
        given, state = link.update(jax.tree.map(jnp.asarray, updates), state, found)
        found = optax.apply_updates(found, given)
        weights = {name: weights[name] + updates[name] for name in weights}
        if step in at:
            size = np.where(kept, np.abs(weights["a"].ravel()), -1)
            best = np.argsort(-size)[: counts[at.index(step)]]
            kept = np.isin(np.arange(30), best)
        weights["a"] = np.where(kept.reshape(6, 5), weights["a"], 0)
        for name, expected in weights.items():
            np.testing.assert_allclose(found[name], expected, rtol=1e-5, atol=1e-6)
        assert (np.asarray(found["a"])[~kept.reshape(6, 5)] == 0).all()
    assert kept.sum() == 3


def test_pruning_is_a_branch_for_many_lanes_too():
    """Under vmap a branch on what differs between lanes would prune at every step."""
    link = prune_gradually({"a": jnp.array([5])}, (3,), selection.layerwise(["a"]))
    params = {"a": jnp.ones((4, 9))}
    state = link.init({"a": jnp.ones(9)})

    def step(params):
        return link.update(params, state, params)[0]

    assert "cond" in str(jax.make_jaxpr(jax.vmap(step))(params))


# --- the algorithm


def test_the_ticket_has_the_mask_that_pruning_ends_with(rounds):
    _, algorithm, infos, _ = rounds
    theta = take(infos[0].lanes.params, slice(0, 2))
    for number, info in enumerate(infos[1:], 1):
        certify(info)
        tickets, pruned = lanes_of(info, "ticket"), lanes_of(info, "gradual")
        assert [info.labels[i].replicate for i in pruned] == [0, 1]
        helpers.assert_trees_equal(take(info.lanes.params, slice(0, 2)), theta)
        keys = jax.random.key_data(info.lanes.key)
        np.testing.assert_array_equal(keys[np.array(pruned)], keys[np.array(tickets)])
        assert (keys[tickets[0]] != keys[tickets[1]]).any()
        final = take(info.trained.final, np.array(pruned))
        assert helpers.trees_differ(final, take(info.trained.final, np.array(tickets)))
        kept = masks.named_leaves(take(info.mask, np.array(tickets)))
        for name, num in algorithm.ladder[number].items():
            weights = masks.named_leaves(final)[name]
            assert ((weights != 0) == kept[name]).all()
            assert (kept[name].sum((1, 2)) == num).all()
    assert algorithm.ladder[1] == {"dense_0/kernel": 410, "output/kernel": 64}


def test_pruning_while_training_is_a_plain_loop(rounds):
    """Adam by hand and numpy's selection, on the batches of the lane."""
    task, algorithm, infos, _ = rounds
    from lottery_jax.training.loop import batches

    info = infos[2]
    lane = lanes_of(info, "gradual")[0]
    params = take(info.lanes.params, lane)
    order = batches(info.lanes.key[lane], len(task.dataset.train.x), 60, 30)
    plan = schedules.polynomial(
        algorithm.ladder[0], dict.fromkeys(algorithm.ladder[0], 0.1), 5
    )
    at = [6 + 12 * i // 5 for i in range(6)]
    tx = optax.adam(1.2e-3)
    opt_state = tx.init(params)
    mask = jax.tree.map(lambda leaf: np.ones(leaf.shape, bool), params)

    @jax.jit
    def gradient(params, x, y):
        return jax.grad(
            lambda p: task.loss(task.model.apply(p, {}, x, train=True)[0], y)
        )(params)

    examples = task.dataset.train
    for step, batch in enumerate(np.asarray(order), 1):
        grads = gradient(params, examples.x[batch], examples.y[batch])
        updates, opt_state = tx.update(grads, opt_state)
        params = jax.tree.map(np.array, optax.apply_updates(params, updates))
        if step in at:
            for layer in ("dense_0", "output"):
                num = plan[at.index(step)][f"{layer}/kernel"]
                kept = mask[layer]["kernel"]
                size = np.where(kept, np.abs(params[layer]["kernel"]), -1).ravel()
                best = np.argsort(-size, kind="stable")[:num]
                kept[:] = np.isin(np.arange(size.size), best).reshape(kept.shape)
        params = jax.tree.map(lambda leaf, m: np.where(m, leaf, 0), params, mask)
    found = take(info.trained.final, lane)
    jax.tree.map(
        lambda a, b: np.testing.assert_allclose(a, b, rtol=2e-3, atol=2e-5),
        found,
        params,
    )
    helpers.assert_trees_equal(take(info.mask, lane), mask)


def test_the_work_of_a_round_is_that_of_its_lanes(rounds):
    _, algorithm, infos, _ = rounds
    assert algorithm.work == [len(info.labels) for info in infos]


def test_the_pruned_network_stops_early_after_its_pruning_only(rounds):
    _, _, infos, _ = rounds
    for info in infos[1:]:
        steps = np.asarray(info.trained.summary["early_stop_step"])
        assert (steps[lanes_of(info, "gradual")] >= 18).all()


def test_a_diverged_network_is_flagged_and_the_others_go_on():
    config = tiny_config(train__optimizer="sgd", train__learning_rate=1e30)
    _, algorithm, roots = helpers.tiny_algorithm(config)
    state, _ = algorithm.step(algorithm.init(roots))
    _, info = algorithm.step(state)
    flagged = {lane for lane, *_ in certify(info)["diverged"]}
    assert "gradual" in flagged
    steps = np.asarray(info.trained.summary["early_stop_step"])
    assert (steps[lanes_of(info, "gradual")] == 20).all()  # the first after pruning


def test_layers_that_stay_whole():
    config = tiny_config(algorithm__whole=("output",))
    _, algorithm, _ = helpers.tiny_algorithm(config)
    assert algorithm.ladder[2] == {"dense_0/kernel": 102, "output/kernel": 160}


def test_a_round_depends_on_its_number_and_the_roots_alone(rounds):
    """So that a run that goes on does as it would have done."""
    _, algorithm, infos, states = rounds
    _, again = algorithm.step(states[2])
    helpers.assert_trees_equal(again.trained.final, infos[2].trained.final)


def test_a_mask_that_is_not_the_pruned_networks_is_caught(rounds):
    info = rounds[2][1]
    moved = jax.tree.map(lambda leaf: jnp.roll(leaf, 1, axis=-1), info.found_mask)
    pruned = np.array([label.lane == "gradual" for label in info.labels])
    spoiled = jax.tree.map(
        lambda right, wrong: jnp.where(
            pruned.reshape(-1, *(1,) * (right.ndim - 1)), wrong, right
        ),
        info.found_mask,
        moved,
    )
    with pytest.raises(CertificateError, match="not zero in lane gradual"):
        certify(info._replace(found_mask=spoiled))


def test_a_control_that_changes_nothing_is_caught(rounds):
    info = rounds[2][2]
    for lane in ("reinit", "gradual"):
        with pytest.raises(CertificateError, match=f"nothing .* in lane {lane} 0"):
            certify(helpers.with_idle(info, lane))


# --- stopping by patience


@pytest.mark.parametrize(
    ("values", "patience", "stops"),
    [
        ([1, 2, 3, 4], 1, 3),  # never
        ([1, 2, 2, 2, 5], 2, 3),  # no improvement is not one
        ([3, 1, 2, 2, 9], 2, 2),  # nor is half of the way back
        ([1, 0, 2, 0, 0, 9], 2, 4),
        ([5, 1], 1, 1),
        ([5], 1, 0),
    ],
)
def test_patience(values, patience, stops):
    assert stop(np.array(values), patience) == stops


def test_the_published_comparison_stops_each_lane_on_another_split():
    steps = np.arange(6) * 10
    history = {
        "step": np.tile(steps, (3, 1)),
        "train_accuracy": np.tile([9, 1, 2, 2, 2, 2], (3, 1)),
        "validation_accuracy": np.tile([9, 1, 2, 3, 3, 3], (3, 1)),
        "test_accuracy": np.array([steps, steps + 100, steps + 200]),
    }
    trained = Trained(None, None, {}, history, {})
    labels = [Label(name, 0, 0) for name in ("ticket", "reinit", "gradual")]
    found = as_published(trained, labels, 2, dense=False)
    assert list(found["reported_step"]) == [40, 40, 50]
    assert list(found["reported_test_accuracy"]) == [40, 140, 250]
    dense = as_published(trained, labels[:2], 2, dense=True)
    assert list(dense["reported_step"]) == [50, 50]


def test_training_accuracy_is_that_of_the_batches(rounds):
    """The mean over batches while they were trained on, not of the whole split."""
    info = rounds[2][0]
    accuracy = np.asarray(info.trained.history["train_accuracy"])
    per_interval = accuracy[:, 1:] * 10 * 60
    np.testing.assert_allclose(per_interval, np.round(per_interval), atol=1e-2)
    assert (accuracy[:, -1] > accuracy[:, 1]).all()


# --- as a run


def test_a_run_reports_both_comparisons(tmp_path):
    config = tiny_config(train__test_curve=True, algorithm__patience=1)
    config.claims = (
        dict(id="T", statement="pruned against its ticket", round=1, lane="gradual",
             quantity="reported_test_accuracy", versus_round=1, relation="about",
             expected=0.0, tolerance=1.0),
    )  # fmt: skip
    results = experiment.run(config, tmp_path / "run")
    summary = results.summary
    assert set(summary.lane[summary["round"] == 0]) == {"ticket", "reinit"}
    assert set(summary.lane[summary["round"] == 2]) == {"ticket", "reinit", "gradual"}
    pruned = summary[summary.lane == "gradual"]
    assert (pruned.reported_step == 30).all()
    assert (pruned.reported_test_accuracy == pruned.test_accuracy).all()
    assert (tmp_path / "run" / "claims.md").read_text().count("reproduced") == 1


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"algorithm__densities": ()}, "algorithm.densities: expected one"),
        ({"algorithm__densities": (1.5,)}, "algorithm.densities: 1.5"),
        ({"algorithm__densities": (0.001,)}, "would empty output/kernel"),
        ({"algorithm__whole": ("convs",)}, "algorithm.whole: no layer 'convs'"),
        ({"algorithm__densities": (0.5, 0.9999)}, "densities: 0.9999: layers"),
        ({"algorithm__whole": ("output", "dense")}, "nothing is left to prune"),
        ({"algorithm__begin": 0.7}, "algorithm.begin"),
        ({"algorithm__updates": 20}, "algorithm.updates: 20 in steps 6 to 18"),
        ({"algorithm__patience": 2}, "train.test_curve"),
        (
            {"algorithm__patience": 3, "train__test_curve": True},
            "algorithm.patience: 3: there are 3 evaluations",
        ),
        ({"level_barrier": True}, "level_barrier"),
    ],
)
def test_wrong_values_are_refused(changes, message, tmp_path):
    with pytest.raises(ConfigError, match=message):
        experiment.run(tiny_config(**changes), tmp_path / "run")
    assert not (tmp_path / "run").exists()


def test_a_claim_about_the_pruned_network_before_it_is_there_is_refused():
    config = tiny_config()
    config.claims = (
        dict(id="T", statement="s", round=0, lane="gradual", quantity="test_loss",
             relation="at_least", expected=0.0),
    )  # fmt: skip
    with pytest.raises(ConfigError, match="T.lane: no 'gradual' in round 0"):
        validation.validate(config)
