"""NeTS: what a candidate is worth, how generations follow, what is compared."""

import functools
import logging
import re
import types

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from lottery_jax import assembly, experiment, validation
from lottery_jax import config as configs
from lottery_jax.analysis.certificates import certify
from lottery_jax.errors import CertificateError, ConfigError
from lottery_jax.models import MODELS
from lottery_jax.tickets import masks
from lottery_jax.training import fitness, losses, sparse
from tests import helpers
from tests.test_config import load


def tiny_config(**changes):
    """Digits, 12 hidden units, populations of 6, 3 generations, 2 levels."""
    config = configs.default("nets")
    base = helpers.tiny_config()
    config.data, config.lanes, config.train = base.data, base.lanes, base.train
    config.model.hidden = (12,)
    config.train.steps, config.train.eval_every = 20, 10
    config.algorithm.population = 6
    config.algorithm.generations = 3
    config.algorithm.imp_rounds = 2
    config.algorithm.search.steps = 5
    config.replicates = 2
    config.update_from_flattened_dict(
        {name.replace("__", "."): value for name, value in changes.items()}
    )
    return config


def search(config, generations=None):
    """(task, algorithm, states by generation, infos)."""
    validation.validate(config)
    task, algorithm, roots = helpers.tiny_algorithm(config)
    states, infos = [algorithm.init(roots)], []
    last = config.algorithm.generations if generations is None else generations
    for _ in range(last + 1):
        state, info = algorithm.step(states[-1])
        certify(info)
        states.append(state)
        infos.append(info)
    return task, algorithm, states[1:], infos


@pytest.mark.parametrize(
    ("density", "expected"),
    [(1, 1), (0.8, 0.5625), (0.512, 0.1521), (0.2, 0), (0.1, 0.0156)],
)
def test_the_penalty_is_the_published_one(density, expected):
    found = {
        name: float(f(jnp.float32(density), 0.2))
        for name, f in fitness.PENALTIES.items()
    }
    assert abs(found["quadratic"] - expected) < 1e-4
    assert found["none"] == 0
    assert found["one_sided"] == (0 if density < 0.2 else found["quadratic"])


def test_a_candidate_is_trained_on_the_split_as_it_stands():
    task = helpers.random_task(num=160, hidden=(7,))
    params, _ = task.model.init(jax.random.key(0))
    mask = helpers.random_mask(params, 1)
    measure = fitness.make_train(
        task, optax.sgd, lambda step: jnp.where(step < 3, 1.0, 0.1), steps=7,
        batch_size=30, splits=("train", "validation"),
    )  # fmt: skip
    splits = task.dataset[:3]
    lane = helpers.make_lane(params, mask, learning_rate=0.5)
    found = jax.jit(measure)(lane, splits, jnp.array([7])).summary

    def loss(params, x, y):
        return task.loss(task.model.apply(params, {}, x, train=True)[0], y)

    trained = masks.apply(params, mask)
    for step in range(7):
        batch = slice(step % 2 * 30, step % 2 * 30 + 30)  # 80 hold two of 30
        own = [part[batch] for part in splits[0]]
        last, grads = jax.value_and_grad(loss)(trained, *own)
        rate = 0.5 if step < 3 else 0.05
        trained = jax.tree.map(
            lambda w, g, m, rate=rate: w - rate * g * m, trained, grads, mask
        )
    np.testing.assert_allclose(found["last_batch_loss"], last, rtol=1e-5)
    for name, split in zip(("train", "validation"), splits, strict=False):
        np.testing.assert_allclose(
            found[f"{name}_loss"], loss(trained, *split), rtol=1e-5
        )
    untrained = fitness.make_train(
        task, optax.sgd, lambda step: 1.0, steps=7, batch_size=30, trained=False
    )
    found = jax.jit(untrained)(lane, splits, jnp.array([7])).summary
    expected = loss(masks.apply(params, mask), *splits[1])
    np.testing.assert_allclose(found["validation_loss"], expected, rtol=1e-5)
    assert set(found) == {"validation_loss", "validation_accuracy"}


def test_tiny_products_are_the_same_network():
    model = MODELS["mlp"]((2,), 1, hidden=(10, 30))
    params, _ = model.init(jax.random.key(0))
    x = jax.random.normal(jax.random.key(1), (4, 2))

    def products(model):
        def apply(params):
            return model.apply(params, {}, x, train=True)[0]

        return apply(params), str(jax.make_jaxpr(apply)(params)).count("dot_general")

    plain, calls = products(model)
    tiny, fewer = products(fitness.with_tiny_products(model, 4))
    np.testing.assert_allclose(tiny, plain, rtol=1e-5)
    assert (calls, fewer) == (3, 1)  # 4 x 10 x 30 is more than a call
    assert fitness.with_tiny_products(model, 1000) is model


def test_sparse_execution_finds_the_same_fitness(monkeypatch):
    """With batches of one also where tiny products stand in place of matrices."""
    found, built, make_train = {}, [], sparse.make_train

    def noted(*arguments):
        built.append(arguments)
        return make_train(*arguments)

    monkeypatch.setattr(sparse, "make_train", noted)
    for execution in ("dense", "sparse"):
        config = tiny_config(
            train__execution=execution, algorithm__initial_density=0.3,
            algorithm__search__learning_rate=0.1, algorithm__search__batch_size=1,
        )  # fmt: skip
        *_, (state,), _ = search(config, generations=0)
        found[execution] = state.measured["validation_loss"]
        assert bool(built) == (execution == "sparse")
    np.testing.assert_allclose(found["sparse"], found["dense"], rtol=1e-4)


@pytest.fixture(scope="module")
def found():
    return search(tiny_config())


def test_elites_go_on_as_they_are_and_the_best_never_worsens(found):
    _, _, states, _ = found
    for before, after in zip(states, states[1:], strict=False):
        order = np.argsort(before.measured["fitness"], axis=1)[:, :2]
        for replicate, places in enumerate(order):
            for place, old in enumerate(places):
                jax.tree.map(
                    lambda a, b, r=replicate, n=place, o=old: (
                        np.testing.assert_array_equal(a[r, n], b[r, o])
                    ),
                    after.genomes,
                    before.genomes,
                )
        assert (after.found["fitness"] <= before.found["fitness"]).all()
    first, last = states[0].genomes.weights, states[-1].genomes.weights
    assert helpers.trees_differ(first, last)


def test_fitness_is_the_loss_and_the_penalty(found):
    task, _, states, infos = found
    state = states[-1]
    np.testing.assert_allclose(
        state.measured["fitness"],
        state.measured["validation_loss"] + state.measured["penalty"],
        rtol=1e-6,
    )
    kept = np.asarray(
        state.genomes.mask["dense_0"]["kernel"].sum((2, 3))
        + state.genomes.mask["output"]["kernel"].sum((2, 3))
    )
    density = kept / (64 * 12 + 120)
    np.testing.assert_allclose(state.measured["density"], density, rtol=1e-6)
    penalty = ((density - 0.2) / 0.8) ** 2
    np.testing.assert_allclose(state.measured["penalty"], penalty, rtol=1e-4)
    table = infos[-1].search
    np.testing.assert_array_equal(table["fitness"], np.ravel(state.measured["fitness"]))
    best = np.asarray(state.measured["fitness"]).min(1)
    assert (np.asarray(state.found["fitness"]) <= best).all()


def test_the_first_generation_is_dense_and_children_are_sparser(found):
    _, _, states, _ = found
    assert (np.asarray(states[0].measured["density"]) == 1).all()
    children = np.asarray(states[1].measured["density"])[:, 2:]
    np.testing.assert_allclose(children, 0.8, atol=0.06)
    biases = states[-1].genomes.mask["dense_0"]["bias"]
    assert biases.all()


def test_replicates_and_candidates_differ(found):
    _, _, states, _ = found
    weights = np.asarray(states[0].genomes.weights["output"]["kernel"])
    flat = weights.reshape(12, -1)
    assert len(np.unique(flat, axis=0)) == 12


@pytest.fixture(scope="module")
def compared():
    """A whole run, with 8 hidden units: (config, infos of the comparison, state)."""
    config = tiny_config(
        algorithm__generations=1, algorithm__initial_density=0.6,
        algorithm__weights="flat_kaiming", controls__reinit=1, controls__shuffle=0,
    )  # fmt: skip
    task, algorithm, states, _ = search(config)
    state, infos = states[-1], []
    while int(state.round) < len(algorithm.ladder):
        state, info = algorithm.step(state)
        certify(info)
        infos.append(info)
    return config, infos, states[-1]


def largest(weights, mask, num):
    """The kernels' `num` largest weights of what a mask keeps, by sorting."""
    sizes = [
        np.where(mask[name]["kernel"], np.abs(weights[name]["kernel"]), -1).ravel()
        for name in ("dense_0", "output")
    ]
    flat = np.concatenate(sizes)
    return flat >= np.sort(flat)[-num]


def test_pruning_is_by_magnitude_of_what_was_trained(compared):
    _, infos, _ = compared
    dense, half, last = infos

    def one(tree, info, lane):
        at = info.labels.index((lane, 0, 1))
        return jax.tree.map(lambda leaf: np.asarray(leaf[at]), tree)

    def flat(info, lane):
        mask = one(info.mask, info, lane)
        return np.concatenate(
            [mask[n]["kernel"].ravel() for n in ("dense_0", "output")]
        )

    final, whole = (
        one(tree, dense, "dense") for tree in (dense.trained.final, dense.mask)
    )
    for found in (flat(half, "imp"), flat(last, "one_shot")):
        np.testing.assert_array_equal(found, largest(final, whole, found.sum()))
    final, mask = (one(tree, half, "imp") for tree in (half.trained.final, half.mask))
    found = flat(last, "imp")
    np.testing.assert_array_equal(found, largest(final, mask, found.sum()))


def test_what_is_drawn_has_the_law_of_the_search(compared):
    _, infos, _ = compared
    bound = (64 * 12 + 120) ** -0.5
    for info, lane in ((infos[0], "dense"), (infos[2], "random_ticket")):
        at = info.labels.index((lane, 0, 0))
        weights = np.asarray(info.lanes.params["dense_0"]["kernel"][at])
        assert 0.95 * bound < np.abs(weights).max() <= bound


def test_all_have_as_many_weights_as_the_ticket(compared):
    _, infos, found = compared
    assert [dict.fromkeys(x.lane for x in info.labels) for info in infos] == [
        {"dense": None},
        {"imp": None},
        dict.fromkeys(
            ["ticket", "random_ticket", "scaled_random_ticket", "imp", "one_shot"]
            + ["random", "reinit"]
        ),
    ]
    last = infos[-1]
    kept = sum(masks.density(last.mask, last.prunable).reshape(-1, 2).T)
    ticket = masks.density(found.best.mask, last.prunable)
    np.testing.assert_allclose(kept, [sum(ticket)] * 7, rtol=1e-5)
    halfway = masks.density(infos[1].mask, last.prunable)
    np.testing.assert_allclose(halfway, np.sqrt(ticket), atol=2e-3)


def test_baselines_differ_from_the_ticket_as_they_say(compared):
    _, infos, found = compared
    last = infos[-1]
    lanes = {
        label.lane: jax.tree.map(
            lambda leaf, i=i: np.asarray(leaf[i]), last.lanes._replace(key=None)
        )
        for i, label in enumerate(last.labels) if label.replicate == 1
    }  # fmt: skip

    def kernel(name, part="params"):
        return getattr(lanes[name], part)["dense_0"]["kernel"]

    ticket, mask = kernel("ticket"), kernel("ticket", "mask")
    np.testing.assert_array_equal(ticket, found.best.weights["dense_0"]["kernel"][1])
    for name in ("random_ticket", "scaled_random_ticket", "random"):
        assert (kernel(name, "mask") != mask).any()
        assert kernel(name, "mask").sum() == mask.sum()
    np.testing.assert_array_equal(kernel("random"), ticket)
    assert (kernel("random_ticket") != ticket).all()
    assert np.isin(kernel("scaled_random_ticket"), ticket[mask]).all()
    np.testing.assert_array_equal(kernel("reinit", "mask"), mask)
    dense = np.asarray(infos[0].lanes.params["dense_0"]["kernel"][1])
    for name in ("imp", "one_shot"):
        np.testing.assert_array_equal(kernel(name), dense)


def test_a_matched_count_that_is_wrong_is_caught(compared):
    _, infos, _ = compared
    last = infos[-1]
    wrong = last.num_keep["all"].copy()
    wrong[3] += 1
    with pytest.raises(CertificateError, match="as many weights as it should"):
        certify(last._replace(num_keep={"all": wrong}))


@pytest.mark.parametrize("control", ["random", "reinit"])
def test_controls_that_change_nothing_are_caught(compared, control):
    _, infos, _ = compared
    with pytest.raises(CertificateError, match=f"nothing .* in lane {control} 0"):
        certify(helpers.with_idle(infos[-1], control))


def test_compat_does_as_the_published_code_did():
    config = load("nets.py:compat,smoke")
    config.algorithm.population, config.algorithm.initial_density = 6, 0.5
    config.algorithm.enable = 0.001
    task, _, states, infos = search(config, 1)
    mask = np.asarray(states[0].genomes.mask["dense_0"]["kernel"])
    assert (mask == mask[:, :1]).all()
    weights = np.asarray(states[0].genomes.weights["dense_0"]["kernel"])
    bound = (64 * 16 + 160) ** -0.5
    assert np.abs(weights).max() <= bound and weights.std() > 0.9 * bound / 3**0.5
    assert "bias" not in states[0].genomes.weights["dense_0"]
    measured = states[0].measured
    means = np.mean(
        [
            states[0].genomes.mask[name]["kernel"].mean((2, 3))
            for name in ("dense_0", "output")
        ],
        axis=0,
    )
    off = ((means - 0.2) / 0.8) ** 2
    np.testing.assert_allclose(measured["penalty"], off, rtol=1e-4)
    np.testing.assert_allclose(
        measured["fitness"], measured["last_batch_loss"] + off, rtol=1e-5
    )


@pytest.mark.parametrize("forget", [True, False])
def test_the_last_generation_counts_unless_it_is_forgotten(forget):
    config = tiny_config(algorithm__forget_last=forget, algorithm__generations=1)
    _, _, states, _ = search(config)
    first, last = (np.asarray(state.measured["fitness"]).min(1) for state in states)
    assert (last < first).all()
    expected = first if forget else last
    np.testing.assert_array_equal(states[-1].found["fitness"], expected)


def test_a_search_that_has_stopped_changes_nothing_more():
    _, _, states, _ = search(tiny_config(algorithm__generations=0))
    first = np.asarray(states[0].found["fitness"])
    config = tiny_config(algorithm__generations=2)
    config.algorithm.target_fitness = float(first.mean())
    _, _, states, _ = search(config)
    stopped = np.asarray(states[0].stopped)
    assert stopped.sum() == 1
    one = jax.tree.map(lambda leaf: leaf[stopped], states[0].genomes)
    other = jax.tree.map(lambda leaf: leaf[stopped], states[-1].genomes)
    helpers.assert_trees_equal(one, other)
    rest = [
        jax.tree.map(lambda leaf: leaf[~stopped], state.genomes) for state in states[:2]
    ]
    assert helpers.trees_differ(*rest)


def test_patience_ends_a_search():
    config = tiny_config(
        algorithm__patience=0, algorithm__generations=8, algorithm__penalty="none",
        algorithm__noise_std=3.0, algorithm__noise=1.0,
    )  # fmt: skip
    _, _, states, _ = search(config)
    best = np.array([state.found["fitness"] for state in states])
    stopped = np.array([state.stopped for state in states])
    assert stopped[-1].all()
    for replicate in range(2):
        end = stopped[:, replicate].argmax()
        assert best[end, replicate] == best[end - 1, replicate]
        assert (np.diff(best[:end, replicate]) < 0).all()


@pytest.mark.parametrize("better", [True, False])
def test_patience_counts_from_the_last_better_one(better):
    """A search that has waited for one generation, and then the children come."""
    config = tiny_config(algorithm__patience=1, algorithm__trains=False)
    _, algorithm, roots = helpers.tiny_algorithm(config)
    state, _ = algorithm.step(algorithm.init(roots))
    best = jnp.full(2, jnp.inf if better else -jnp.inf)
    state = state._replace(
        found=state.found | {"fitness": best}, waited=jnp.ones(2, jnp.int32)
    )
    state, _ = algorithm.step(state)
    assert (state.waited == (0 if better else 2)).all()
    assert (state.stopped == (not better)).all()


def test_candidates_without_a_number_never_win():
    config = tiny_config(algorithm__search__learning_rate=1e30)
    config.algorithm.search.optimizer = "sgd"
    _, _, states, infos = search(config, 2)
    assert np.isinf(states[0].measured["fitness"]).any()
    assert not np.isnan(states[-1].measured["fitness"]).any()
    config.algorithm.search.learning_rate = 1e38
    lost = search(config, 0)[2][0]
    assert np.isinf(lost.found["fitness"]).all()  # then it is the first of them
    first = jax.tree.map(lambda leaf: leaf[:, 0], lost.genomes)
    helpers.assert_trees_equal(lost.best, first)


def test_the_first_candidate_with_a_number_is_the_best():
    """Though all of generation 0 had none."""
    config = tiny_config(algorithm__trains=False, algorithm__generations=1)
    _, algorithm, roots = helpers.tiny_algorithm(config)
    state, _ = algorithm.step(algorithm.init(roots))
    lost = dict.fromkeys(state.measured, jnp.full((2, 6), jnp.inf))
    found = dict.fromkeys(state.found, jnp.full(2, jnp.inf))
    state, _ = algorithm.step(state._replace(measured=lost, found=found))
    assert np.isfinite(state.found["fitness"]).all()
    np.testing.assert_array_equal(
        state.found["fitness"], state.measured["fitness"].min(1)
    )


@functools.cache
def generation_1(**changes):
    """(genomes [2, 6], their fitness, children [2, 4]), nothing mutating but these."""
    quiet = dict.fromkeys(("noise", "resample", "disable"), 0.0)
    fields = {"initial_density": 0.5, "crossover": 1.0, "trains": False, **quiet}
    fields |= {"disable": 1e-9, "enable": 1e-9, "generations": 1, **changes}
    config = tiny_config(**{f"algorithm__{k}": value for k, value in fields.items()})
    _, _, states, _ = search(config)
    children = jax.tree.map(lambda leaf: leaf[:, 2:], states[1].genomes)
    return states[0].genomes, np.asarray(states[0].measured["fitness"]), children


def kernels(genomes, part="weights"):
    leaf = np.asarray(getattr(genomes, part)["dense_0"]["kernel"])
    return leaf.reshape(*leaf.shape[:2], -1)


def parents(**changes):
    """Which candidate each child is a copy of, [2, 4]; and fitness."""
    genomes, fitness, children = generation_1(**changes)
    same = (kernels(children)[:, :, None] == kernels(genomes)[:, None]).all(-1)
    assert (same.sum(-1) == 1).all()
    return same.argmax(-1), fitness


def test_parents_are_chosen_as_the_config_says():
    chosen, fitness = parents(select="roulette_inverted")
    assert not (chosen == fitness.argmin(1)[:, None]).any()
    chosen, fitness = parents(select="roulette")
    assert not (chosen == fitness.argmax(1)[:, None]).any()
    chosen, fitness = parents(select="truncation", tournament=1)
    np.testing.assert_array_equal(chosen, fitness.argmin(1)[:, None].repeat(4, 1))


def test_second_parents_stand_in_a_ring_or_are_chosen():
    first, _ = parents(select="roulette")
    ring, _ = parents(select="roulette", pairs="ring", crossover=0.0)
    np.testing.assert_array_equal(ring, np.roll(first, -1, axis=1))
    other, _ = parents(select="roulette", crossover=0.0)
    assert (other != ring).any() and (other != first).any()


@pytest.mark.parametrize("coupled", [True, False])
def test_weight_and_mask_come_from_one_parent_or_do_not(coupled):
    genomes, _, children = generation_1(crossover=0.5, coupled=coupled)
    genes = [
        (kernels(children)[:, :, None] == kernels(genomes)[:, None])
        & (kernels(children, "mask")[:, :, None] == kernels(genomes, "mask")[:, None])
    ]
    whole = np.any(genes[0], axis=2)
    assert whole.all() if coupled else 0.5 < whole.mean() < 0.95


def test_every_mutation_has_its_rate():
    genomes, _, children = generation_1(noise=0.5, noise_std=3.0, disable=0.5)
    old, new = kernels(genomes), kernels(children)
    moved = ~(new[:, :, None] == old[:, None]).any(2)
    assert abs(moved.mean() - 0.5) < 0.03
    assert abs(new[moved].std() - 3.0) < 0.2
    kept = kernels(children, "mask")
    assert abs(kept.mean() - 0.25) < 0.03
    assert abs(kept[moved].mean() - 0.25) < 0.04  # what moves says not what is pruned
    _, _, children = generation_1(resample=0.5, resample_std=7.0, enable=1.0)
    new = kernels(children)
    moved = ~(new[:, :, None] == old[:, None]).any(2)
    assert abs(moved.mean() - 0.5) < 0.03 and abs(new[moved].std() - 7.0) < 0.4
    assert kernels(children, "mask").all()
    genomes, _, children = generation_1(resample=1.0, flip=1.0, migrants=1)
    new = kernels(children)
    assert np.isin(new, old).mean() < 0.01  # floats that meet by chance
    assert abs(new.std() / old.std() - 1) < 0.1
    flipped = kernels(children, "mask")[:, :3]
    differ = (flipped[:, :, None] != kernels(genomes, "mask")[:, None]).all(-1)
    assert (differ.sum(-1) == 1).all()


def test_swaps_and_migrants():
    genomes, _, children = generation_1(swap=5, migrants=1)
    copies = (kernels(children)[:, :, None] == kernels(genomes)[:, None]).all(-1)
    assert (copies[:, :3].sum(-1) == 1).all() and not copies[:, 3].any()
    parent = copies[:, :3].argmax(-1)
    for replicate, places in enumerate(parent):
        for child, place in enumerate(places):
            masks_of = [
                np.concatenate(
                    [np.ravel(tree.mask[name]["kernel"][replicate, at])
                     for name in ("dense_0", "output")]
                )
                for tree, at in ((genomes, place), (children, child))
            ]  # fmt: skip
            assert (masks_of[0] & ~masks_of[1]).sum() == 5
            assert masks_of[0].sum() == masks_of[1].sum()


def test_the_penalty_has_its_weight():
    _, algorithm, states, _ = search(
        tiny_config(algorithm__penalty_weight=3.0, algorithm__generations=0)
    )
    np.testing.assert_allclose(states[0].measured["penalty"], 3.0, rtol=1e-6)


def test_a_generation_is_three_programs_compiled_once(caplog):
    """None is compiled, or called, once per candidate."""
    _, algorithm, roots = helpers.tiny_algorithm(tiny_config())
    compiled = []
    with jax.log_compiles(), caplog.at_level(logging.WARNING):
        state = algorithm.init(roots)
        for _ in range(4):
            caplog.clear()
            state, _ = algorithm.step(state)
            compiled.append(
                [r.message.split()[1] for r in caplog.records
                 if r.message.startswith("Compiling")]
            )  # fmt: skip
    programs = ["jit(breed)", "jit(share)", "jit(join)"]
    assert [name for name in compiled[1] if name in programs] == programs
    assert len([name for name in compiled[1] if name.startswith("jit(")]) < 20
    assert compiled[2:] == [[], []]


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"population": 3}, "algorithm.population: 3: expected at least elites"),
        ({"disable": 1.2}, "algorithm.disable: 1.2: expected a probability"),
        ({"crossover": -0.1}, "algorithm.crossover"),
        ({"target_density": 0.0005}, "algorithm.target_density"),
        ({"disable": 0.0}, "nothing prunes"),
        ({"initial_density": 0.1}, "never grow"),
        ({"target_fitness": np.nan}, "algorithm.target_fitness: nan"),
        ({"noise_std": np.inf}, "algorithm.noise_std: inf"),
        ({"initial_density": 0.0}, "algorithm.initial_density"),
        ({"tournament": 7}, "algorithm.tournament: 7: expected 1 to population"),
        ({"migrants": 4}, "algorithm.migrants: 4: expected 0 to 3"),
        ({"term": "loss"}, "algorithm.term"),
        ({"select": "rulette"}, "roulette"),
        ({"term": "last_batch_loss", "trains": False}, "set trains"),
        ({"search.batch_size": 5000}, "algorithm.search.batch_size"),
        ({"search.weight_decay": 0.1}, "algorithm.search.weight_decay: 0.1: adam"),
    ],
)
def test_wrong_values_are_refused(changes, message, tmp_path):
    config = tiny_config()
    config.update_from_flattened_dict(
        {f"algorithm.{name}": value for name, value in changes.items()}
    )
    with pytest.raises(ConfigError, match=message):
        experiment.run(config, tmp_path / "run")
    assert not (tmp_path / "run").exists()


def test_an_error_needs_classes(tmp_path):
    config = tiny_config(data__name="relu", algorithm__term="validation_error")
    with pytest.raises(ConfigError, match="algorithm.term: validation_error: relu"):
        experiment.run(config, tmp_path / "run")


def test_time_left_is_of_the_work_to_come(tmp_path, monkeypatch, capsys):
    """Each unit of work takes a second, and the first round compiles for a minute."""
    seconds, compiling = [0], [0]
    clock = types.SimpleNamespace(perf_counter=lambda: seconds[0])
    monkeypatch.setattr(experiment, "time", clock)
    monkeypatch.setattr(experiment.cache, "compile_seconds", lambda: compiling[0])
    make_algorithm = assembly.make_algorithm

    def timed(*arguments):
        algorithm = make_algorithm(*arguments)

        def step(state):
            number = int(state.round)
            seconds[0] += algorithm.work[number] + 60 * (number == 0)
            compiling[0] += 60 * (number == 0)
            return algorithm.step(state)

        return algorithm._replace(step=step)

    monkeypatch.setattr(assembly, "make_algorithm", timed)
    config = tiny_config(algorithm__target_fitness=100.0, algorithm__generations=4)
    config.algorithm.elites = 3
    experiment.run(config, tmp_path / "run")
    said = capsys.readouterr().out
    # The searches end in generation 0. Two trainings of twenty steps are to come, and
    # then those of the ticket, of four beside it and of three controls.
    left = re.findall(r"round +(\d)/7.* {2}(?:(\d)m)?(\d+)s left", said)
    left = [(int(n), 60 * int(m or 0) + int(s)) for n, m, s in left]
    assert left == [(0, 2 * 20 + 160), (5, 180), (6, 160), (7, 0)]
    assert said.count("note: all searches have ended; nothing to do up to round 4") == 1


def test_work_is_counted_in_steps_of_candidates_and_lanes(compared):
    config, infos, _ = compared
    _, algorithm, _ = helpers.tiny_algorithm(config)
    lanes = [len(info.labels) // config.replicates for info in infos]
    candidates = [6, 6 - config.algorithm.elites]
    levels = [20 * n for n in lanes]
    assert algorithm.work == [*(5 * n for n in candidates), *levels]
    config = config.copy_and_resolve_references()
    config.algorithm.trains = False
    _, algorithm, _ = helpers.tiny_algorithm(config)
    assert algorithm.work == [0, 0, *levels]


def test_the_loss_must_fit_the_classes(tmp_path):
    with pytest.raises(ConfigError, match="train.loss: logistic: is for two classes"):
        experiment.run(tiny_config(train__loss="logistic"), tmp_path / "run")


def test_xor_is_all_there_is():
    config = load("nets.py:xor100")
    task, _, _ = helpers.tiny_algorithm(config)
    assert masks.prunable_names(
        task.model.prunable(jax.eval_shape(task.model.init, jax.random.key(0))[0])
    ) == ["dense_0/kernel", "output/kernel"]
    for split in task.dataset[:3]:
        x, y = np.asarray(split.x), np.asarray(split.y)
        assert len(x) == 4 and (y == x[:, 0].astype(int) ^ x[:, 1].astype(int)).all()


def test_one_output_is_two_classes_with_one_at_zero():
    one = MODELS["mlp"]((3,), 1, hidden=(4,))
    params, _ = one.init(jax.random.key(0))
    x = jax.random.normal(jax.random.key(1), (9, 3))
    y = jnp.arange(9) % 2
    logit, _ = one.apply(params, {}, x, train=False)
    two = jnp.concatenate([jnp.zeros_like(logit), logit], 1)
    np.testing.assert_allclose(
        losses.logistic(logit, y), losses.cross_entropy(two, y), rtol=1e-6
    )
    np.testing.assert_allclose(
        losses.accuracy_of_one(logit, y), losses.accuracy(two, y)
    )
    chance = jax.nn.softmax(two)[:, 1]
    np.testing.assert_allclose(
        losses.brier(logit, y), jnp.mean((chance - y) ** 2), rtol=1e-6
    )
