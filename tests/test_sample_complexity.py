"""Teachers and students: gradient, training, lanes, success, tables and figures."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from lottery_jax import config as configs
from lottery_jax import experiment
from lottery_jax.algorithms.sample_complexity import effective_sparsity, turns_per_unit
from lottery_jax.analysis import sample_complexity as analysis
from lottery_jax.analysis.certificates import certify
from lottery_jax.errors import CertificateError, ConfigError
from lottery_jax.models import MODELS
from lottery_jax.reporting import figures, progress, theory_figures
from lottery_jax.training import losses, optimizers, teachers
from lottery_jax.types import Dataset, Lane, Split
from tests import helpers

DRAWS = True


def tiny_config(**changes):
    """K = 3, so that masks keep 15 and 60 weights; the teacher of `over_wide` has 6."""
    config = configs.default("sample_complexity")
    config.data.name = "gaussian"
    config.data.standardize = "none"
    config.data.validation_size = config.data.test_size = 100
    config.data.train_size = 1000
    config.model.name = "committee"
    config.model.hidden = (3,)
    config.train.optimizer = "momentum"
    config.train.learning_rate = 3.0
    config.train.batch_size = 240
    config.train.steps, config.train.eval_every = 200, 100
    config.algorithm.kept_per_unit = (5, 20)
    config.algorithm.support = 2
    config.algorithm.samples = (10, 40, 240)
    config.lanes.plan = "map"
    config.replicates = 3
    config.update_from_flattened_dict(
        {name.replace("__", "."): value for name, value in changes.items()}
    )
    return config


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    workdir = tmp_path_factory.mktemp("whole") / "run"
    return experiment.run(tiny_config(), workdir)


@pytest.fixture(scope="module")
def rounds():
    """(algorithm, [info of every round], [state before it])."""
    _, algorithm, roots = helpers.tiny_algorithm(tiny_config())
    state, infos, states = algorithm.init(roots), [], []
    for _ in algorithm.ladder:
        states.append(state)
        state, info = algorithm.step(state)
        infos.append(info)
    return algorithm, infos, states


def kernel(tree):
    return np.asarray(tree["dense_0"]["kernel"])


def problem(seed=0, num=40, inputs=7, width=3):
    """A committee, weights of teacher and student [inputs, K], a mask, inputs x."""
    model = MODELS["committee"]((inputs,), 1, hidden=(width,))
    numbers = np.random.default_rng(seed)
    mask = numbers.random((inputs, width)) < 0.6
    teacher, student = mask * numbers.normal(size=(2, inputs, width))
    x = numbers.normal(size=(num, inputs))
    return model, teacher, student, mask, x


def params_of(weights):
    return {"dense_0": {"kernel": jnp.asarray(weights, jnp.float32)}}


def by_hand(weights, x):
    """The mean of the units' ReLUs, unit by unit."""
    units = [np.maximum(x @ column, 0) for column in weights.T]
    return sum(units) / len(units)


def gradient_by_hand(weights, teacher, x):
    """Of (1/2N) sum (y - g)^2, example by example and unit by unit."""
    gradient, width = np.zeros_like(weights), weights.shape[1]
    for example in x:
        error = by_hand(weights, example[None]) - by_hand(teacher, example[None])
        for unit in range(width):
            if example @ weights[:, unit] > 0:
                gradient[:, unit] += error[0] * example / width / len(x)
    return gradient


# --- the network and its loss


def test_a_committee_is_the_mean_of_its_units():
    model, teacher, _, _, x = problem()
    outputs, _ = model.apply(params_of(teacher), {}, jnp.float32(x), train=False)
    np.testing.assert_allclose(outputs[:, 0], by_hand(teacher, x), rtol=1e-4)
    two = MODELS["committee"]((7,), 2, hidden=(3,))
    weights = np.concatenate([teacher, -teacher], 1)
    outputs, _ = two.apply(params_of(weights), {}, jnp.float32(x), train=False)
    np.testing.assert_allclose(outputs[:, 1], by_hand(-teacher, x), rtol=1e-4)


def test_the_gradient_is_that_of_loops_and_of_finite_differences():
    model, teacher, student, _, x = problem()
    num = 25
    used = jnp.arange(len(x)) < num

    def loss(params):
        inputs = jnp.float32(x)
        outputs, _ = model.apply(params, {}, inputs, train=True)
        targets, _ = model.apply(params_of(teacher), {}, inputs, train=True)
        return teachers.half_squared_error(outputs, targets, used)

    def loss_by_hand(weights):
        return np.mean((by_hand(weights, x) - by_hand(teacher, x))[:num] ** 2) / 2

    value, found = jax.value_and_grad(loss)(params_of(student))
    np.testing.assert_allclose(value, loss_by_hand(student), rtol=1e-5)
    expected = gradient_by_hand(student, teacher, x[:num])
    np.testing.assert_allclose(kernel(found), expected, rtol=1e-4, atol=1e-6)
    for place in np.ndindex(student.shape):
        off = np.zeros_like(student)
        off[place] = 1e-6
        slope = (loss_by_hand(student + off) - loss_by_hand(student - off)) / 2e-6
        np.testing.assert_allclose(expected[place], slope, rtol=1e-4, atol=1e-7)


def test_the_least_eigenvalue_is_that_of_the_kept_weights():
    model, teacher, _, mask, x = problem()

    def found(num):
        def forward(params, x):
            return model.apply(params, {}, x, train=False)[0]

        used = jnp.arange(len(x)) < num
        matrix = teachers.gauss_newton(
            forward, params_of(teacher), jnp.float32(x), used
        )
        kept = {"dense_0": {"kernel": np.stack([~mask, mask, mask])}}
        matrices = jnp.stack([matrix, matrix, matrix * jnp.nan])
        _, least, lost = teachers.least_eigenvalues(matrices, kept)
        assert np.isnan(lost)
        return least

    def expected(num):
        active = (x[:num] @ teacher > 0) / 3
        columns = [active[:, unit] * x[:num, i] for i, unit in np.argwhere(mask)]
        rows = np.stack(columns, 1)
        return np.linalg.eigvalsh(rows.T @ rows / num)[0]

    np.testing.assert_allclose(found(40), expected(40), rtol=1e-3)
    assert found(40) > 1e-4
    assert abs(found(mask.sum() - 1)) < 1e-6


def test_effective_sparsity_has_the_closed_forms():
    r, width = 4, 3
    same = np.zeros((12, width), bool)
    same[:r] = True
    np.testing.assert_allclose(effective_sparsity(jnp.array(same)), r, rtol=1e-6)
    apart = np.repeat(np.eye(width, dtype=bool), r, axis=0)
    expected = r * (width + 1) ** 2 / (4 * width**2)
    np.testing.assert_allclose(
        effective_sparsity(jnp.array(apart)), expected, rtol=1e-6
    )
    uneven = np.random.default_rng(0).random((12, width)) < [0.1, 0.4, 0.2]
    total, count = 0, uneven.sum(0)
    for j in range(width):
        for k in range(width):
            overlap = bool(np.any(uneven[:, j] & uneven[:, k]))
            total += (1 + overlap) * np.sqrt(count[j] + count[k])
    np.testing.assert_allclose(
        effective_sparsity(jnp.array(uneven)), total**2 / (8 * width**4), rtol=1e-6
    )


# --- training


@pytest.mark.parametrize("num", [15, 40])
def test_training_is_heavy_ball_on_the_first_samples(num):
    """Against numpy: W_t+1 = W_t - eta grad + beta (W_t - W_t-1), under the mask."""
    model, teacher, student, mask, x = problem()
    splits = [Split(jnp.float32(x), jnp.zeros(len(x))) for _ in range(3)]
    task = losses.make_task(Dataset(*splits, None, "made"), model)
    rate, beta, steps, tolerance = 0.5, 0.8, 12, 1e-3
    train = teachers.make_train(
        task, optimizers.momentum(beta, 0.0), optimizers.constant(steps, (), 1.0),
        steps=steps, batch_size=40, test_curve=True, tolerance=tolerance,
    )  # fmt: skip
    hypers = {
        "learning_rate": jnp.float32(rate), "samples": jnp.int32(num),
        "perturbation": params_of(student - teacher),
    }  # fmt: skip
    key = jax.random.key(3)
    kept = {"dense_0": {"kernel": jnp.asarray(mask)}}
    lane = Lane(params_of(student), kept, key, hypers)
    found = jax.jit(train)(lane, tuple(splits), jnp.array([0, 5, steps]))
    order = np.asarray(teachers.batches(key, 40, 40, 1)[0])
    seen, before, now = x[order[:num]], student, student
    for _ in range(steps):
        gradient = gradient_by_hand(now, teacher, seen) * mask
        before, now = now, now - rate * gradient + beta * (now - before)
    np.testing.assert_allclose(kernel(found.final), now, rtol=1e-3, atol=1e-5)
    error = np.linalg.norm(now - teacher) / np.linalg.norm(teacher)
    np.testing.assert_allclose(found.summary["relative_error"], error, rtol=1e-3)
    test_loss = np.mean((by_hand(now, x) - by_hand(teacher, x)) ** 2) / 2
    np.testing.assert_allclose(found.history["test_loss"][-1], test_loss, rtol=1e-3)


# --- the lanes of a round


def test_teachers_starts_and_masks_are_as_they_should_be(rounds):
    algorithm, infos, _ = rounds
    assert algorithm.ladder == [{"dense_0/kernel": 15}, {"dense_0/kernel": 60}]
    for info, kept in zip(infos, (5, 20), strict=True):
        certify(info)
        perturbation = kernel(info.lanes.hypers["perturbation"])
        mask, start = kernel(info.mask), kernel(info.lanes.params)
        teacher = start - perturbation
        assert (mask.sum(1) == kept).all()
        size = np.where([label.lane == "ticket" for label in info.labels], kept, 2)
        assert ((teacher != 0).sum(1) == size[:, None]).all()
        assert not (teacher * ~mask).any() and not (perturbation * ~mask).any()
        norms = [np.linalg.norm(x, axis=(1, 2)) for x in (teacher, perturbation)]
        np.testing.assert_allclose(norms[0], 1, rtol=1e-5)
        np.testing.assert_allclose(norms[1], 0.3, rtol=1e-5)
    one, other = (kernel(info.mask) for info in infos)
    assert not (one & ~other).any()
    teacher = [
        kernel(info.lanes.params) - kernel(info.lanes.hypers["perturbation"])
        for info in infos
    ]
    half = len(infos[0].labels) // 2  # from there on, over-wide: the same in all rounds
    np.testing.assert_allclose(teacher[0][half:], teacher[1][half:], atol=1e-6)
    assert (teacher[0][0] != teacher[0][1]).any()  # replicates differ


def test_samples_are_the_first_of_one_draw(rounds):
    _, infos, _ = rounds
    keys = [jax.random.key_data(info.lanes.key) for info in infos]
    np.testing.assert_array_equal(keys[0], keys[1])
    for number, label in enumerate(infos[0].labels):
        np.testing.assert_array_equal(keys[0][number], keys[0][label.replicate])
        samples = infos[0].lanes.hypers["samples"][number]
        assert samples == (10, 40, 240)[label.sample]
    assert (keys[0][0] != keys[0][1]).any()


def test_an_over_wide_lane_that_differs_in_more_is_caught(rounds):
    info = rounds[1][0]
    hypers = dict(info.lanes.hypers)
    hypers["samples"] = hypers["samples"].at[-1].add(1)
    with pytest.raises(CertificateError, match="lane over_wide 2, replicate 2: 2"):
        certify(info._replace(lanes=info.lanes._replace(hypers=hypers)))


def test_places_are_drawn_evenly_and_exactly():
    params = {"kernel": jnp.zeros((10, 2000))}
    turns = np.asarray(turns_per_unit(jax.random.key(0), params)["kernel"])
    assert (np.sort(turns, 0) == np.arange(10)[:, None]).all()
    mask = turns < 3
    assert np.abs(mask.mean(1) - 0.3).max() < 5 * np.sqrt(0.3 * 0.7 / 2000)


# --- who succeeds


def test_samples_decide_and_the_mask_says_how_many(run):
    """The mask keeps 15 or 60 weights; the over-wide teacher has 6 in either."""
    found = analysis.success_probability(run.summary)
    table = found.pivot_table("probability", ["kept", "lane"], "samples")
    for lane in ("ticket", "over_wide"):
        assert table.loc[(15, lane), 10] == 0  # more than the over-wide teacher has
        assert table.loc[(15, lane), 40] > 0.5
        assert table.loc[(60, lane), 40] == 0  # the same teacher, a wider mask
        assert table.loc[(60, lane), 240] > 0.5
    limits = analysis.thresholds(run.summary).pivot(
        index="kept", columns="lane", values="threshold"
    )
    assert (limits.loc[15] < 40).all() and (limits.loc[60] > 40).all()


def test_columns_say_what_happened(run):
    summary = run.summary
    failed = summary[~summary.success]
    assert (summary.success == (summary.relative_error <= 1e-3)).all()
    assert summary[summary.success].steps_to_success.between(1, 200).all()
    assert (failed.steps_to_success.isna()).all()
    assert summary[summary.success].test_loss.max() < failed.test_loss.min()
    fewer = summary[summary.samples < summary.kept]
    assert (fewer.least_eigenvalue.abs() < 1e-5).all()
    enough = summary[(summary.samples == 240) & (summary.lane == "ticket")]
    by_round = enough.groupby("round").least_eigenvalue.mean()
    assert by_round[0] > 2 * by_round[1] > 0
    np.testing.assert_allclose(summary.density, summary.kept / 150)
    whole = summary[summary["round"] == 1].effective_sparsity
    np.testing.assert_allclose(whole, 20, rtol=1e-5)  # any two columns overlap


def test_a_round_depends_on_its_number_and_the_roots_alone(rounds):
    algorithm, infos, states = rounds
    _, again = algorithm.step(states[1])
    helpers.assert_trees_equal(again.trained.final, infos[1].trained.final)
    assert helpers.trees_differ(again.trained.final, infos[0].trained.final)


# --- tables and figures


@pytest.mark.parametrize(
    ("probability", "expected"),
    [
        ([0, 0, 1], 150),
        ([0, 0.25, 0.75], 150),
        ([0, 0.4, 0.9], 120),
        ([0, 0.5, 0.2], 100),
        ([0.7, 1, 1], 50),
        ([0, 0.2, 0.4], np.nan),
    ],
)
def test_the_threshold_is_where_half_succeed(probability, expected):
    found = analysis.threshold([50, 100, 200], probability)
    np.testing.assert_allclose(found, expected)


def test_the_phase_diagram_shows_the_table(run):
    figure = theory_figures.phase_diagram(run)
    found = analysis.success_probability(run.summary)
    for axes, lane in zip(figure.axes, ("ticket", "over_wide"), strict=False):
        cells = found[found.lane == lane]
        drawn = axes.collections[0]
        np.testing.assert_allclose(drawn.get_offsets(), cells[["kept", "samples"]])
        np.testing.assert_allclose(drawn.get_array(), cells.probability)
        lines = {line.get_label(): line for line in axes.get_lines()}
        np.testing.assert_allclose(*lines["N = kept weights of the mask"].get_data())
        assert ("N = weights of the teacher" in lines) == (lane == "over_wide")
    assert (lines["N = weights of the teacher"].get_ydata() == 6).all()
    limits = analysis.thresholds(run.summary).query("lane == 'over_wide'")
    shown = lines["N* (half succeed)"].get_ydata()
    np.testing.assert_allclose(shown, limits.threshold)


def test_steps_are_medians_and_none_counts_as_longest(run):
    summary = run.summary.copy()
    rows = (summary.samples == 240) & (summary.lane == "ticket")
    summary.loc[rows & (summary.kept == 15), "steps_to_success"] = [10, 30, np.nan]
    summary.loc[rows & (summary.kept == 60), "steps_to_success"] = np.nan
    figure = theory_figures.steps_to_success(run._replace(summary=summary))
    (line, _) = figure.axes[0].get_lines()
    np.testing.assert_allclose(line.get_ydata(), [30, np.nan])


def test_the_run_draws_its_own_figures_and_tells_who_succeeds(run):
    drawn = {path.stem for path in (run.workdir / "figures").glob("*.png")}
    assert drawn == {"phase_diagram", "least_eigenvalue", "steps_to_success"}
    assert figures.draw_more(run) == []
    one = run._replace(summary=run.summary[run.summary.samples == 240])
    assert set(theory_figures.of_run(one)) == {"steps_to_success"}
    assert progress.quantity(run.summary) == "success"


# --- wrong values


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"algorithm__kept_per_unit": (6, 51)}, "kept_per_unit: 51: a unit has 50"),
        ({"algorithm__kept_per_unit": (20, 5)}, "algorithm.kept_per_unit: .* rise"),
        ({"algorithm__kept_per_unit": ()}, "algorithm.kept_per_unit"),
        ({"algorithm__samples": ()}, "algorithm.samples: .* positive integers"),
        ({"algorithm__samples": (0, 10)}, "algorithm.samples"),
        ({"algorithm__samples": (10, 241)}, "train.batch_size is 240"),
        ({"algorithm__support": 6}, "algorithm.support: 6"),
        ({"algorithm__support": 0}, "algorithm.support: 0"),
        ({"algorithm__distance": 1.0}, "algorithm.distance"),
        ({"algorithm__tolerance": 0.3}, "algorithm.tolerance"),
        ({"train__learning_rate": -5.0}, "train.learning_rate"),
        ({"train__momentum": 1.0}, "train.momentum"),
        ({"train__batch_size": 1001}, "train.batch_size"),
        ({"train__execution": "sparse"}, "train.execution"),
        ({"model__name": "mlp"}, "model.name: mlp: teachers and students"),
        ({"model__hidden": (3, 3)}, "model.hidden: .* one layer"),
        ({"data__name": "xor"}, "data.name: xor: a committee has one output"),
        ({"controls__random": 1}, "controls.random: lanes are the ticket and over_wi"),
    ],
)
def test_wrong_values_are_refused(changes, message, tmp_path):
    with pytest.raises(ConfigError, match=message):
        experiment.run(tiny_config(**changes), tmp_path / "run")
    assert not (tmp_path / "run").exists()
