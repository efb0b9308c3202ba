"""Strong tickets: bits, operators, bounds, the search, pruning, whole runs."""

import logging

import jax
import jax.numpy as jnp
import numpy as np
import pandas as pd
import pytest

from configs import strong_tickets
from lottery_jax import config as configs
from lottery_jax import experiment, validation
from lottery_jax.algorithms import bounds, fronts, genetic_search
from lottery_jax.algorithms.bounds import Bound
from lottery_jax.algorithms.genetic_search import Settings
from lottery_jax.analysis.certificates import certify
from lottery_jax.errors import CertificateError, ConfigError
from lottery_jax.models import MODELS
from lottery_jax.reporting import results, run_directory, search_figures
from lottery_jax.tickets import bitstrings, masks
from tests import helpers


def tiny_config(**changes):
    """Moons, 8 hidden units, 12 candidates, two blocks of 4 generations."""
    config = configs.default("strong_tickets")
    config.data.name = "moons"
    config.data.standardize = "mean_std"  # so that random masks are not all alike
    config.data.train_size = 200  # all splits alike: fewer programs
    config.data.validation_size = 200
    config.data.test_size = 200
    config.model.hidden = (8,)
    config.model.initializer = config.model.biases = "uniform"
    config.algorithm.population = 12
    config.algorithm.max_generations = 8
    config.algorithm.generations_per_round = 4
    # All at once, so that many tests share one program.
    config.algorithm.bound = "adaptive"
    config.algorithm.bound_start = 0.95
    config.algorithm.tries, config.algorithm.bound_patience = 2, 1
    config.algorithm.path_tries = 2
    config.algorithm.distinct = config.algorithm.test_selected = True
    config.controls.random = config.controls.reinit = 1
    config.lanes.plan = "map"
    config.replicates = 2
    config.update_from_flattened_dict(
        {name.replace("__", "."): value for name, value in changes.items()}
    )
    return config


def layout_of(hidden=(3,), inputs=2, outputs=2):
    model = MODELS["mlp"]((inputs,), outputs, hidden=hidden, biases="uniform")
    return bitstrings.layout(model)


def string(text):
    return jnp.array([letter == "1" for letter in text.replace(" ", "")])


def random_strings(num, size, seed=0, density=0.5):
    return jax.random.bernoulli(jax.random.key(seed), density, (num, size))


# --- strings of bits


@pytest.mark.parametrize(
    ("widths", "num"),
    [
        ((2, 20, 2), 80),
        ((2, 75, 2), 300),
        ((2, 100, 2), 400),
        ((2, 50, 50, 2), 2700),
        ((64, 20, 10), 1480),
        ((64, 75, 10), 5550),
        ((64, 100, 10), 7400),
        ((64, 50, 50, 10), 6200),
    ],
)
def test_a_candidate_has_a_bit_for_every_weight_and_none_for_biases(widths, num):
    layout = layout_of(widths[1:-1], widths[0], widths[-1])
    assert layout.num == num
    assert [shape for _, shape in layout.layers] == [*zip(widths, widths[1:])]


def test_a_string_is_the_mask_row_by_row_and_biases_are_kept():
    layout = layout_of((3,))
    mask = bitstrings.to_mask(layout, string("110 001  10 01 11"))
    np.testing.assert_array_equal(mask["dense_0"]["kernel"], [[1, 1, 0], [0, 0, 1]])
    np.testing.assert_array_equal(mask["output"]["kernel"], [[1, 0], [0, 1], [1, 1]])
    assert mask["dense_0"]["bias"].all() and mask["output"]["bias"].all()


def has_path_by_hand(layout, bits):
    """Follows every weight from every input, one by one."""
    mask = masks.named_leaves(bitstrings.to_mask(layout, bits))
    kernels = [mask["dense_0/kernel"], mask["dense_1/kernel"], mask["output/kernel"]]

    def leads(layer, unit):
        if layer == len(kernels):
            return True
        row = np.asarray(kernels[layer][unit])
        return any(leads(layer + 1, next_unit) for next_unit in np.flatnonzero(row))

    return any(leads(0, unit) for unit in range(len(kernels[0])))


def test_paths_are_those_found_weight_by_weight():
    layout = layout_of((3, 2))
    strings = random_strings(40, layout.num, density=0.3)
    found = jax.vmap(lambda bits: bitstrings.has_path(layout, bits))(strings)
    expected = [has_path_by_hand(layout, bits) for bits in strings]
    assert 5 < sum(expected) < 35
    np.testing.assert_array_equal(found, expected)


def test_strings_are_drawn_again_until_a_path_leads_through():
    layout = layout_of((4,))

    def draw(key):
        return jax.random.bernoulli(key, 0.15, (50, layout.num))

    def share(tries):
        drawn = bitstrings.with_path(draw, layout, tries)(jax.random.key(1))
        return paths(drawn).mean()

    paths = jax.vmap(lambda bits: bitstrings.has_path(layout, bits))

    assert share(1) < 0.5
    assert share(30) == 1


# --- operators


@pytest.mark.parametrize("by_layer", [False, True])
def test_mutants_differ_in_exactly_one_bit(by_layer):
    layout = layout_of((30,), 1, 1)
    bits = random_strings(2000, layout.num)
    mutants = bitstrings.mutate(jax.random.key(1), bits, layout, 1, by_layer)
    differing = np.asarray(mutants != bits)
    assert (differing.sum(1) == 1).all()
    assert differing.any(0).all()  # any of them


def test_a_mutant_flips_its_bits_in_any_layer_alike():
    layout = layout_of((10,), 9, 1)  # 90 bits and 10
    bits = random_strings(1000, layout.num)
    for by_layer, share in ((True, 0.5), (False, 0.1)):
        mutants = bitstrings.mutate(jax.random.key(1), bits, layout, 1, by_layer)
        in_output = np.asarray(mutants != bits)[:, 90:].any(1)
        assert abs(in_output.mean() - share) < 4 * np.sqrt(share / 1000)


def test_mutants_of_several_bits_have_as_many_as_are_allowed():
    layout = layout_of((30,))
    bits = random_strings(900, layout.num)
    mutants = bitstrings.mutate(jax.random.key(1), bits, layout, 3, False)
    numbers = np.bincount((mutants != bits).sum(1), minlength=4)
    assert numbers.sum() == numbers[:4].sum()
    assert (numbers[1:4] > 200).all()  # 0, or one less, where a bit is hit twice


def test_children_have_the_bits_of_a_parent_and_one_is_among_the_best():
    # Candidate i alone has bit i: a child shows who its parents are.
    bits = jnp.eye(100, dtype=bool)
    first = jnp.arange(50, 100)
    keys = jax.random.split(jax.random.key(0), 20)
    children = jax.vmap(lambda key: bitstrings.mate(key, bits, first, 30))(keys)
    others = np.array(children)
    others[:, np.arange(50), first] = False
    assert (others.sum(2) <= 1).all()
    np.testing.assert_array_equal(others.any((0, 1)), np.arange(100) < 30)


def test_a_child_takes_half_of_its_bits_from_either_parent():
    bits = jnp.array([[True] * 400, [False] * 400])
    child = bitstrings.mate(jax.random.key(0), bits, jnp.array([1]), 1)
    assert 150 < child.sum() < 250


def test_the_published_numbers_of_children_mutants_migrants_and_parents():
    assert genetic_search.counts(Settings()) == (30, 13, 10, 30)
    settings = Settings(migration_rate=0.29, parent_rate=0.57)
    assert genetic_search.counts(settings)[2:] == (29, 57)


def test_gated_and_fixed_numbers_are_the_same_on_average():
    there = jnp.ones(130, bool).at[100:115].set(False)
    drawn = [
        genetic_search.some(jax.random.key(seed), there, 13, 0.1, True)
        for seed in range(200)
    ]
    numbers = [counts.sum() for _, counts in drawn]
    assert abs(np.mean(numbers) - 11.5) < 4 * np.sqrt(11.5 * 0.9 / 200)
    assert not any((counts & ~there).any() for _, counts in drawn)
    places, counts = genetic_search.some(jax.random.key(0), there, 13, 0.1, False)
    assert counts.all() and len(set(places.tolist())) == 13


# --- bounds


def draw_numbers(key):
    """Four candidates; what their bits say is their accuracy."""
    return jax.random.bernoulli(key, 0.5, (4, 10))


def share_of_bits(bits):
    return {"accuracy": jnp.mean(bits, axis=1)}


def admit(rule, bound, there=(True,) * 4, seed=0):
    return bounds.admit(
        jax.random.key(seed), draw_numbers, share_of_bits, jnp.array(there), rule,
        jnp.float32(bound),
    )  # fmt: skip


def test_candidates_are_drawn_again_until_they_reach_the_bound():
    free = admit(Bound("none", 0.7, 0.5, 3, 50), 0.7)
    assert free.scores["accuracy"].min() < 0.7 and free.evaluated == 4
    found = admit(Bound("static", 0.7, 0.5, 3, 50), 0.7)
    assert found.scores["accuracy"].min() >= 0.69 and found.unmet == 0
    np.testing.assert_array_equal(found.scores["accuracy"], found.bits.mean(1))
    # What passed in the first try is not drawn again.
    passed = np.asarray(free.scores["accuracy"] >= 0.7)
    np.testing.assert_array_equal(found.bits[passed], free.bits[passed])
    assert found.evaluated > 4


def test_the_best_try_stays_where_the_bound_is_never_reached():
    found = admit(Bound("static", 0.99, 0.5, 3, 5), 0.99)
    # Each draw is known: the best of five.
    tried = [draw_numbers(jax.random.fold_in(jax.random.key(0), i)) for i in range(5)]
    best = np.max([bits.mean(1) for bits in tried], axis=0)
    np.testing.assert_allclose(found.scores["accuracy"], best)
    np.testing.assert_allclose(found.bits.mean(1), best, rtol=1e-6)
    assert found.unmet == 4 and found.evaluated == 20 and found.bound == 0.99


def test_those_that_are_not_there_need_not_reach_it():
    found = admit(Bound("static", 0.99, 0.5, 3, 5), 0.99, (False, True, False, False))
    assert found.unmet == 1 and found.evaluated == 5


def soften_by_hand(bound, rule, candidates):
    for taken, failed, accuracy in candidates:
        if failed:
            power = 1.0
            while accuracy < bound and bound > rule.floor and power < 6:
                bound, power = bound - 0.1**power, power + 0.15
        elif taken > rule.patience:
            span = rule.tries - rule.patience
            bound -= 0.1 * (0.051 + 0.93 * np.exp(-9.36 * taken / span))
        bound = max(bound, rule.floor)
    return bound


@pytest.mark.parametrize(
    "candidates",
    [
        [(1, False, 0.9), (3, False, 0.9)],
        [(4, False, 0.9), (5, False, 0.8)],
        [(5, True, 0.78), (5, True, 0.73), (1, False, 0.9)],
        [(5, True, 0.1)],
        [(5, True, 0.1), (5, True, 0.1)],
    ],
    ids=["in time", "late", "failed", "all steps", "to the floor"],
)
def test_the_adaptive_bound_softens_as_published(candidates):
    rule = Bound("adaptive", 0.85, 0.4, 3, 40)
    columns = [jnp.array(column) for column in zip(*candidates, strict=True)]
    there = jnp.ones(len(candidates), bool)
    found = bounds.soften(rule, jnp.float32(0.85), *columns, there)
    expected = soften_by_hand(0.85, rule, candidates)
    np.testing.assert_allclose(found, expected, rtol=1e-5)
    assert (expected == 0.85) == (candidates[0][0] == 1)


# --- fronts, survival, pruning


def test_the_front_has_the_best_of_every_size():
    bits = jnp.concatenate([random_strings(60, 9), jnp.zeros((1, 9), bool)])
    numbers = np.random.default_rng(0).integers(0, 20, 61) / 20
    front = fronts.join(fronts.empty(10, 9), bits, jnp.float32(numbers), 3)
    kept = np.asarray(bits.sum(1))
    for size in range(10):
        own = numbers[kept == size]
        np.testing.assert_allclose(front.accuracy[size], max(own, default=-1))
        assert front.bits[size].sum() == (size if len(own) else 0)
    gone = fronts.join(front, jnp.ones((1, 9), bool), jnp.array([-1.0]), 4)
    helpers.assert_trees_equal(gone, front)


def test_of_the_front_those_count_that_none_beats():
    accuracy = np.array([[0.5, 0.7, 0.7, -1.0, 0.6, 0.9]])
    kept = np.array([[1, 2, 3, 0, 5, 6]])
    found = fronts.non_dominated(accuracy, kept)
    np.testing.assert_array_equal(found, [[True, True, False, False, False, True]])


@pytest.mark.parametrize(("most", "place"), [(None, 4), (0.5, 2), (0.15, 1), (0.01, 1)])
def test_the_ticket_is_the_best_that_is_sparse_enough(most, place):
    strings = [string("1" * kept + "0" * (10 - kept)) for kept in (0, 1, 5, 6, 8)]
    accuracy = jnp.array([-1, 0.6, 0.8, 0.7, 0.9])
    front = fronts.Front(accuracy, jnp.stack(strings), jnp.zeros(5, int))
    assert fronts.choose(front, most) == place


def test_of_equal_fitness_and_size_one_is_no_repetition():
    fitness = jnp.array([0.2, 0.1, 0.2, 0.1, 0.3, jnp.inf])
    kept = jnp.array([5, 7, 4, 7, 9, 1])
    found = genetic_search.repeated(fitness, kept)
    np.testing.assert_array_equal(found, [False, False, False, True, False, False])


@pytest.mark.parametrize("tolerance", [0.0, 0.25])
def test_pruning_in_order_as_long_as_the_accuracy_does_not_fall(tolerance):
    worth = np.random.default_rng(1).normal(size=24).round(1)
    worth[::3] = 0  # what changes nothing goes

    def accuracy(bits):
        return jnp.sum(jnp.where(bits, jnp.float32(worth), 0))

    bits = random_strings(1, 24)[0]
    expected, start = np.array(bits), float(accuracy(bits))
    for place in np.flatnonzero(expected):
        expected[place] = False
        if float(accuracy(jnp.array(expected))) < start - tolerance:
            expected[place] = True
    found = genetic_search.prune(bits, accuracy, tolerance)
    np.testing.assert_array_equal(found, expected)
    assert not (found & ~bits).any() and 0 < found.sum() < bits.sum()
    assert accuracy(found) >= start - tolerance - 1e-5


# --- the search


def run_search(num=6, seed=0, **settings):
    """[(search, row)] of a problem with a known answer: bits of a target."""
    layout = layout_of((4,))
    target = random_strings(1, layout.num, seed=9)[0]

    def scores(bits, split, names):
        right = jnp.mean(bits == target[None], axis=1)
        return {name: {"accuracy": right, "loss": 1 - right}[name] for name in names}

    options = {"population": 10, "min_generations": 99, "max_generations": 6}
    settings = Settings(**(options | settings))
    steps = genetic_search.make_steps(layout, settings)
    key = jax.random.key(seed)
    splits = (None, None, None)
    found = [jax.jit(lambda key: steps.begin(key, scores, splits))(key)]
    advance = jax.jit(lambda *own: steps.generation(*own, scores, splits))
    for number in range(num):
        found.append(advance(found[-1][0], jax.random.fold_in(key, number)))
    return found


@pytest.mark.parametrize(
    "settings",
    [
        {},
        {"gated": True},
        {"objective": "cross_entropy", "distinct": True},
        {"bound": "adaptive", "bound_patience": 1, "tries": 3, "path_tries": 4},
    ],
    ids=["published", "gated", "distinct", "adaptive"],
)
def test_the_best_never_worsens_and_of_equals_the_sparser_stands_first(settings):
    found = run_search(**settings)
    for (search, row), (later, _) in zip(found, found[1:], strict=False):
        assert later.fitness[0] <= search.fitness[0]
        order = np.lexsort((search.bits.sum(1), search.fitness))
        np.testing.assert_array_equal(order, np.arange(len(order)))
        np.testing.assert_allclose(row["fitness"], search.fitness[0])
        shares = np.asarray(search.bits.mean(1))
        told = row["density_mean"], row["density_sd"]
        np.testing.assert_allclose(told, (shares.mean(), shares.std()), rtol=1e-4)
    assert found[-1][0].fitness[0] < found[0][0].fitness[0]
    last = found[-1][0]
    assert last.generation == 6
    assert [bool(search.stopped) for search, _ in found] == [False] * 6 + [True]
    numbers = [int(row["evaluated"]) for _, row in found]
    if "bound" not in settings:
        assert numbers[0] == 10
    if settings in ({}, {"distinct": True}):
        assert numbers[1:] == [5] * 6  # 3 children, a mutant, a migrant
    if settings.get("gated"):
        assert len(set(numbers[1:])) > 1
    if settings.get("distinct"):
        pairs = [*zip(last.fitness.tolist(), last.bits.sum(1).tolist(), strict=True)]
        pairs = [pair for pair in pairs if np.isfinite(pair[0])]
        assert len(set(pairs)) == len(pairs)
    if settings.get("bound"):
        assert 0.51 <= last.bound < 0.7
        paths = jax.vmap(lambda bits: bitstrings.has_path(layout_of((4,)), bits))
        assert paths(last.bits).all()


@pytest.mark.parametrize(
    ("settings", "generations"),
    [
        ({"min_generations": 4, "patience": 1, "mutation_rate": 0.0}, 4),
        ({"target_accuracy": 0.6}, 1),
        ({"target_accuracy": 1.0, "population": 40}, 5),  # more there is not
    ],
)
def test_a_search_stops(settings, generations):
    found = run_search(max_generations=99, **settings)
    stopped = [bool(search.stopped) for search, _ in found]
    assert stopped.index(True) in range(generations, generations + 3)


def test_who_is_not_there_comes_on_no_front():
    rates = {"recombination_rate": 0.0, "mutation_rate": 0.0, "migration_rate": 0.0}
    found = run_search(gated=True, **rates)
    helpers.assert_trees_equal(found[0][0].front, found[-1][0].front)
    other = run_search(gated=True)
    assert helpers.trees_differ(other[0][0].front, other[-1][0].front)


def test_the_bound_that_some_have_softened_is_that_of_the_next(monkeypatch):
    def halving(*arguments):
        return bounds.admit(*arguments)._replace(bound=arguments[-1] / 2)

    monkeypatch.setattr(genetic_search, "admit", halving)
    found = run_search(1)
    # The first population; then children, mutants and migrants.
    expected = [0.7 / 2, 0.7 / 2**4]
    np.testing.assert_allclose([search.bound for search, _ in found], expected)


# --- whole rounds


class Compilations(logging.Handler):
    """The names of the programs that are compiled, as JAX logs them."""

    def __init__(self):
        super().__init__()
        self.names = []

    def emit(self, record):
        if record.getMessage().startswith("Compiling"):
            self.names.append(record.getMessage().split()[1])


@pytest.fixture(scope="module")
def rounds():
    """(task, algorithm, [info of every round], [state after it], [compiled in it])."""
    task, algorithm, roots = helpers.tiny_algorithm(tiny_config())
    state, infos, states, compiled = algorithm.init(roots), [], [], []
    handler, logger = Compilations(), logging.getLogger("jax")
    logger.addHandler(handler)
    with jax.log_compiles():
        for _ in algorithm.ladder:
            handler.names = []
            state, info = algorithm.step(state)
            infos.append(info)
            states.append(state)
            compiled.append(handler.names)
    logger.removeHandler(handler)
    return task, algorithm, infos, states, compiled


def measured_by_hand(task, lanes, split):
    """Accuracy of every lane, one at a time."""
    found = []
    for i in range(len(lanes.key)):
        own = jax.tree.map(lambda leaf, i=i: leaf[i], (lanes.params, lanes.mask))
        outputs, _ = task.model.apply(masks.apply(*own), {}, split.x, train=False)
        found.append(np.mean(outputs.argmax(-1) == split.y))
    return np.array(found)


def test_rounds_of_searches_that_have_ended_are_idle():
    config = tiny_config(algorithm__target_accuracy=0.0, algorithm__max_generations=18)
    _, algorithm, roots = helpers.tiny_algorithm(config)
    state, idle = algorithm.init(roots), []
    for _ in algorithm.ladder:
        state, info = algorithm.step(state)
        idle.append(info.idle)
    assert state.searches.stopped.all()
    # They end in the first round that searches; the last one tests.
    assert idle == [0, 3, 2, 1, 0, 0]
    assert algorithm.work == [0, 4, 4, 4, 4, 2]  # generations


def test_what_is_reported_is_what_the_masked_network_does(rounds):
    task, _, infos, _, _ = rounds
    for info in infos:
        summary = info.trained.summary
        for name in ("train", "validation", "test"):
            if name == "test" and info.round < 2:
                # The test split is looked at in the last round alone.
                assert not any(column.startswith("test") for column in summary)
                continue
            expected = measured_by_hand(task, info.lanes, getattr(task.dataset, name))
            np.testing.assert_allclose(summary[f"{name}_accuracy"], expected, atol=1e-6)


def test_controls_are_masks_of_the_same_counts_and_other_weights(rounds):
    _, _, infos, _, _ = rounds
    lanes = infos[-1].lanes
    by_lane = {
        name: [i for i, label in enumerate(infos[-1].labels) if label.lane == name]
        for name in ("ticket", "random", "reinit")
    }
    kernel = np.asarray(lanes.mask["dense_0"]["kernel"])
    kept = kernel.sum((1, 2))
    np.testing.assert_array_equal(kept[by_lane["ticket"]], kept[by_lane["random"]])
    assert (kernel[by_lane["ticket"]] == kernel[by_lane["reinit"]]).all()
    assert (kernel[by_lane["ticket"]] != kernel[by_lane["random"]]).any()


def test_fitness_of_the_population_is_that_of_single_evaluations(rounds):
    task, _, infos, states, _ = rounds
    searches, layout = states[-1].searches, bitstrings.layout(task.model)
    train = task.dataset.train
    for replicate in range(2):
        params = jax.tree.map(lambda leaf, i=replicate: leaf[i], infos[-1].rewound)
        for own in range(0, 12, 5):
            mask = bitstrings.to_mask(layout, searches.bits[replicate, own])
            outputs, _ = task.model.apply(
                masks.apply(params, mask), {}, train.x, train=False
            )
            error = np.mean(outputs.argmax(-1) != train.y)
            found = float(searches.fitness[replicate, own])
            assert np.isinf(found) or abs(found - error) < 1e-6


def test_the_ticket_is_chosen_and_pruned_on_the_validation_split(rounds):
    _, _, infos, states, _ = rounds
    summary = infos[-1].trained.summary
    before = summary["validation_accuracy_before_pruning"][:2]
    assert (summary["validation_accuracy"][:2] >= before).all()
    fewer = np.asarray(infos[-1].mask["output"]["kernel"][:2]).sum((1, 2))
    fewer = fewer + np.asarray(infos[-1].mask["dense_0"]["kernel"][:2]).sum((1, 2))
    assert (fewer <= 32 * summary["density_before_pruning"][:2] + 1e-4).all()
    # What is chosen on the test split looks better there than what is not.
    honest = summary["test_accuracy"][:2]
    assert (summary["test_selected_test_accuracy"][:2] >= honest - 0.05).all()
    front = states[-1].searches.front
    assert (np.asarray(front.accuracy).max(1) >= 0.5).all()


def judge(task, info, replicate, *names):
    """bits -> the accuracy of a replicate's network on these splits together."""
    layout = bitstrings.layout(task.model)
    params = jax.tree.map(lambda leaf: leaf[replicate], info.rewound)
    splits = [getattr(task.dataset, name) for name in names]
    x, y = (jnp.concatenate(parts) for parts in zip(*splits, strict=True))

    @jax.jit
    def accuracy(bits):
        own = masks.apply(params, bitstrings.to_mask(layout, bits))
        outputs, _ = task.model.apply(own, {}, x, train=False)
        return jnp.mean(outputs.argmax(-1) == y)

    return accuracy


def best_by_hand(strings, accuracy):
    """The most accurate string, of equals the smallest."""
    return min(strings, key=lambda bits: (-float(accuracy(bits)), int(bits.sum())))


def pruned_by_hand(bits, accuracy, tolerance=0.0):
    bits = np.array(bits)
    least = float(accuracy(bits)) - tolerance
    for place in np.flatnonzero(bits):
        bits[place] = False
        bits[place] = float(accuracy(bits)) < least
    return bits


def ticket_bits(info, replicate):
    leaves = masks.named_leaves(info.mask)
    names = ("dense_0/kernel", "output/kernel")
    return np.concatenate([np.ravel(leaves[name][replicate]) for name in names])


def test_the_ticket_is_the_best_of_the_front_on_the_validation_split(rounds):
    task, _, infos, states, _ = rounds
    others = 0
    for info, state in zip(infos[:2], states, strict=False):
        front = state.searches.front
        for replicate in range(2):
            there = front.accuracy[replicate] >= 0
            strings = np.asarray(front.bits[replicate][there])
            own = best_by_hand(strings, judge(task, info, replicate, "validation"))
            np.testing.assert_array_equal(ticket_bits(info, replicate).sum(), own.sum())
            trained = best_by_hand(strings, judge(task, info, replicate, "train"))
            others += trained.sum() != own.sum()
    assert others  # or it would not matter which split


def test_what_choosing_on_the_test_split_gives_is_chosen_and_pruned_there(rounds):
    task, _, infos, states, _ = rounds
    info, found = infos[-1], []
    for replicate in range(2):
        strings = np.asarray(states[-1].searches.bits[replicate])
        test = judge(task, info, replicate, "test")
        honest = judge(task, info, replicate, "validation")
        for one, other in ((test, test), (honest, test), (test, honest)):
            bits = pruned_by_hand(best_by_hand(strings, one), other)
            found.append((bits.mean(), float(test(bits))))
    summary = info.trained.summary
    names = ("test_selected_density", "test_selected_test_accuracy")
    told = np.stack([summary[name][:2] for name in names], axis=1)
    found = np.reshape(found, (2, 3, 2))
    np.testing.assert_allclose(told, found[:, 0], rtol=1e-5)
    assert (np.abs(found[:, 1:] - found[:, :1]).max((0, 2)) > 1e-3).all()


def test_both_splits_may_judge_what_is_pruned_and_a_little_may_be_lost(rounds):
    task, _, _, states, _ = rounds
    config = tiny_config(
        algorithm__prune_on="both", algorithm__prune_tolerance=0.0133,
        algorithm__bound="none", algorithm__path_tries=0, algorithm__distinct=False,
        algorithm__test_selected=False,
    )  # fmt: skip
    _, algorithm, _ = helpers.tiny_algorithm(config)
    _, info = algorithm.step(states[-1]._replace(round=jnp.int32(2)))
    front, differs = states[-1].searches.front, np.zeros(2, int)
    for replicate in range(2):
        strings = np.asarray(front.bits[replicate][front.accuracy[replicate] >= 0])
        valid = judge(task, info, replicate, "validation")
        both = judge(task, info, replicate, "train", "validation")
        before = best_by_hand(strings, valid)
        expected = pruned_by_hand(before, both, 0.0133)
        np.testing.assert_array_equal(ticket_bits(info, replicate), expected)
        for i, other in enumerate(((valid, 0.0133), (both, 0.0))):
            differs[i] += (pruned_by_hand(before, *other) != expected).any()
    assert differs.all()


def test_every_generation_has_random_numbers_of_its_own(rounds):
    _, algorithm, _, states, _ = rounds
    searches = states[0].searches
    later = searches._replace(generation=searches.generation + 1)
    found, _ = algorithm.step(states[0]._replace(searches=later))
    assert (found.searches.bits != states[1].searches.bits).any((1, 2)).all()


def test_the_table_of_the_search_has_every_generation(rounds):
    _, _, infos, _, _ = rounds
    rows = [info.search for info in infos]
    assert [row["generation"].tolist() for row in rows[:2]] == [
        [0, 0], [1, 2, 3, 4, 1, 2, 3, 4]
    ]  # fmt: skip
    own = rows[2]["kind"] == "front"
    assert own.any() and rows[2]["generation"][~own].tolist() == [5, 6, 7, 8] * 2
    assert np.isnan(rows[2]["fitness"][own]).all()


def test_weights_that_moved_are_caught(rounds):
    info = rounds[2][-1]
    moved = jax.tree.map(lambda leaf: leaf + 1e-3, info.lanes.params)
    with pytest.raises(CertificateError, match="off their rewind point"):
        certify(info._replace(lanes=info.lanes._replace(params=moved)))


@pytest.mark.parametrize("control", ["random", "reinit"])
def test_controls_that_change_nothing_are_caught(rounds, control):
    info = rounds[2][1]
    assert 0.1 < info.density < 0.9
    with pytest.raises(CertificateError, match=f"nothing .* in lane {control} 0"):
        certify(helpers.with_idle(info, control))


def test_the_second_block_compiles_nothing(rounds):
    compiled = rounds[-1]
    assert compiled[0].count("jit(begin)") == 1
    assert compiled[1].count("jit(block)") == 1
    # In the last round the ticket is pruned, which is a program more.
    assert "jit(pruned)" in compiled[2]
    assert not {"jit(begin)", "jit(block)", "jit(evaluate)"} & {*compiled[2]}


def test_a_run_is_its_rounds_and_says_which_bound_was_not_reached(
    rounds, tmp_path, capsys
):
    _, _, infos, states, _ = rounds
    found = experiment.run(tiny_config(), tmp_path)
    said = capsys.readouterr().out
    assert "was not reached in 2 tries by" in said
    assert "steps/s" not in said  # nothing is trained
    stored = run_directory.restore(tmp_path, like=states[-1])
    helpers.assert_trees_equal(stored.searches, states[-1].searches)
    np.testing.assert_array_equal(
        results.load_masks(tmp_path, 2)["dense_0/kernel"],
        infos[-1].mask["dense_0"]["kernel"][:2],
    )
    search = found.search[found.search.kind == "generation"]
    assert search.unmet[search.generation == 0].gt(0).all()
    assert search.bound.lt(0.9).all()  # it began at 0.95
    assert found.curves.step.max() == 8 and found.curves.train_loss.notna().all()
    # The test split is looked at in the last round alone.
    of_test = found.summary.filter(like="test")
    last = found.summary["round"] == 2
    assert of_test[last].notna().any().all() and of_test[~last].isna().all(axis=None)
    axes = search_figures.front(found).axes[0]
    assert axes.get_xlim()[1] <= 100 and axes.get_ylim()[1] <= 100
    stems = set(search_figures.of_strong_tickets(found))
    assert stems == {"search", "front", "decisions", "networks"}


def test_searches_that_have_stopped_do_not_change(rounds):
    _, algorithm, _, states, _ = rounds
    assert states[-1].searches.stopped.all()
    later, info = algorithm.step(states[-1])
    helpers.assert_trees_equal(later.searches, states[-1].searches)
    assert not len(info.search["generation"])


def test_loss_and_many_classes_of_blobs():
    config = tiny_config(
        data__name="blobs", data__standardize="none", data__classes=4,
        algorithm__objective="cross_entropy", algorithm__max_density=0.5,
        controls__jitter=1, algorithm__jitter=3.0,
    )  # fmt: skip
    _, algorithm, roots = helpers.tiny_algorithm(config)
    _, info = algorithm.step(algorithm.init(roots))
    assert info.lanes.params["output"]["kernel"].shape[1:] == (8, 4)
    np.testing.assert_allclose(info.search["fitness"], info.search["loss"], rtol=1e-5)
    assert 0 < info.density <= 0.5
    own, noisy = (
        info.lanes.params["dense_0"]["kernel"][
            np.array([label.lane == name for label in info.labels])
        ]
        for name in ("ticket", "jitter")
    )
    assert np.std(noisy - own) > 0.5  # 3 of the standard deviations, not 0.1


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"algorithm__population": 1}, "algorithm.population"),
        ({"algorithm__population": 3}, "no one is a parent"),
        ({"algorithm__mutation_rate": 1.5}, "mutation_rate: 1.5: expected a rate"),
        ({"algorithm__recombination_rate": -0.1}, "expected a rate from 0 to 1"),
        ({"algorithm__bound_start": 1.0}, "expected an accuracy from 0 to below 1"),
        ({"algorithm__bound": "adaptve"}, "algorithm.bound.*adaptive"),
        (
            {"algorithm__bound_patience": 2},
            "bound_patience: 2: expected less than tries",
        ),
        ({"algorithm__objective": "acuracy"}, "algorithm.objective"),
        ({"algorithm__max_density": 0.0}, "algorithm.max_density"),
        ({"algorithm__jitter": 0.0}, "algorithm.jitter"),
        ({"controls__order": 1}, "controls.order: nothing is trained"),
        ({"train__execution": "sparse"}, "nothing is trained"),
    ],
)
def test_wrong_values_are_refused(changes, message):
    with pytest.raises(ConfigError, match=message):
        validation.validate(tiny_config(**changes))


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"data__classes": 3}, "data.classes: 3: of 2 classes take 2 or more"),
        ({"data__name": "relu"}, "an accuracy is searched for"),
        (
            {"data__name": "digits", "model__name": "conv_2", "model__hidden": None,
             "model__biases": None, "algorithm__path_tries": 3},
            "dense layers in a chain",
        ),
    ],
)  # fmt: skip
def test_what_does_not_fit_the_data_or_the_network_is_refused(changes, message):
    with pytest.raises(ConfigError, match=message):
        helpers.tiny_algorithm(tiny_config(**changes))


@pytest.mark.parametrize(
    ("presets", "start"),
    [("adaptive", 0.7), ("adaptive,a", 0.7), ("adaptive,b", 0.85), ("c,adaptive", 0.85),
     ("circles,d,adaptive", 0.85), ("b,static", 0.7)],
)  # fmt: skip
def test_the_adaptive_bound_starts_higher_with_larger_networks(presets, start):
    assert strong_tickets.get_config(presets).algorithm.bound_start == start


# --- figures


def test_layers_are_drawn_in_the_order_of_the_network():
    model = MODELS["mlp"]((2,), 2, hidden=(1, 2) * 5 + (1,))  # up to dense_10
    params, _ = model.init(jax.random.key(0))
    figure = search_figures.networks([(params, masks.full(params), "deep")])
    assert "deep\n24 of 24 weights" in figure.axes[0].get_title()


def test_units_are_live_where_a_path_leads_through():
    one = np.array([[1, 1, 0, 0], [0, 0, 0, 1]], bool)
    other = np.array([[1, 0], [0, 0], [0, 1], [0, 0]], bool)
    inputs, hidden, outputs = search_figures.live_units([one, other])
    np.testing.assert_array_equal(inputs, [True, False])
    np.testing.assert_array_equal(hidden, [True, False, False, False])
    np.testing.assert_array_equal(outputs, [True, False])


def test_the_front_of_a_figure_is_the_best_at_no_more_weights():
    rows = pd.DataFrame(
        {
            "replicate": [0, 0, 1, 1],
            "density": [0.1, 0.3, 0.2, 0.3],
            "validation_accuracy": [0.6, 0.9, 0.8, 0.7],
        }
    )
    found = search_figures.best_at_most(rows)
    found = found.pivot(
        index="percent", columns="replicate", values="validation_accuracy"
    )
    np.testing.assert_allclose(found.index, [20, 30])  # at 10 % there is only one
    np.testing.assert_allclose(found, [[0.6, 0.8], [0.9, 0.8]])
