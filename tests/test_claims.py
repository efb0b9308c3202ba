"""Intervals, effects and verdicts against closed forms and made tables."""

import numpy as np
import pandas as pd
import pytest
from scipy import stats

from lottery_jax import config as configs
from lottery_jax import experiment, validation
from lottery_jax.analysis import claims, statistics
from lottery_jax.errors import ConfigError
from lottery_jax.fields import FIELDS
from tests import helpers
from tests.test_config import load

CLAIM = {
    "id": "C1", "statement": "gains", "quantity": "test_accuracy", "round": 1,
    "measure": "points", "relation": "about", "expected": 1.0, "tolerance": 0.5,
}  # fmt: skip


def summary(gains, samples=1):
    """Dense at 90 %, a ticket and a control that gain so many points; R replicates."""
    rows = [
        {
            "round": number, "lane": lane, "sample": sample, "replicate": replicate,
            "density": 0.8**number, "diverged": False,
            "early_stop_step": 100 * (replicate + 1),
            "test_accuracy": 0.9 + number * (gain + sample) / 100,
        }
        for number in (0, 1)
        for lane in ("ticket", "reinit")
        for sample in range(samples if lane == "reinit" else 1)
        for replicate, gain in enumerate(gains)
    ]  # fmt: skip
    return pd.DataFrame(rows)


@pytest.mark.parametrize("num", [2, 3, 5, 40])
def test_the_bootstrap_of_a_mean_is_students_interval(num):
    values = np.random.default_rng(0).normal(3, 2, num)
    low, high, error = statistics.paired_bootstrap(
        values, np.zeros(num), statistics.difference
    )
    sem = stats.sem(values)
    expected = stats.t.interval(0.95, num - 1, values.mean(), sem)
    np.testing.assert_allclose([low, high], expected, atol=0.03 * np.ptp(expected))
    assert abs(error / sem - 1) < 0.03


def test_the_bootstrap_keeps_pairs():
    """Large common swings, a small constant gain: pairs see it, groups do not."""
    b = np.random.default_rng(0).normal(0, 10, 12)
    a = b + 1 + np.random.default_rng(1).normal(0, 0.1, 12)
    low, high, _ = statistics.paired_bootstrap(a, b, statistics.difference)
    assert 0.8 < low < 1 < high < 1.2


@pytest.mark.parametrize("num", [3, 5, 20])
def test_the_bootstrap_covers_ratios(num):
    """A nominal 95 % interval of skewed step counts, in 200 trials."""
    values = np.random.default_rng(0)
    inside = 0
    for _ in range(200):
        a, b = values.lognormal(0, 0.3, (2, num)) * [[1.0], [2.0]]
        low, high, _ = statistics.paired_bootstrap(
            b, a, statistics.ratio_of_means, resamples=500
        )
        inside += low <= 2 <= high
    assert 180 <= inside <= 199


def test_degenerate_intervals():
    ones = np.ones(5)
    same = statistics.paired_bootstrap(ones + 1, ones, statistics.ratio_of_means)
    assert same == (2, 2, 0)
    for a in ([1.0], [1.0, np.nan, 2.0]):
        found = statistics.paired_bootstrap(a, np.ones(len(a)), statistics.difference)
        assert np.isnan(found).all()


def test_both_estimators_of_a_ratio():
    a, b = np.array([100.0, 400.0]), np.array([50.0, 100.0])
    assert statistics.ratio_of_means(a, b) == 500 / 150
    assert statistics.mean_of_ratios(a, b) == 3


def test_the_minimum_detectable_effect_is_found_four_times_in_five():
    num, sd = 10, 1.0
    effect = statistics.minimum_detectable_effect(sd / np.sqrt(num), num)
    values = np.random.default_rng(0).normal(effect, sd, (4000, num))
    half = stats.t.ppf(0.975, num - 1) * values.std(1, ddof=1) / np.sqrt(num)
    assert abs((values.mean(1) - half > 0).mean() - 0.8) < 0.03
    assert np.isnan(statistics.minimum_detectable_effect(1.0, 1))


@pytest.mark.parametrize(
    ("gains", "changes", "verdict"),
    [
        ([0.9, 1.0, 1.1, 1.0], {}, "reproduced"),
        ([2.0, 2.1, 2.2, 1.9], {}, "not reproduced"),
        ([0.1, 1.0, 2.0, 0.9], {}, "underpowered"),
        ([2.0, 2.1, 2.2, 1.9], {"relation": "at_least"}, "reproduced"),
        ([2.0, 2.1, 2.2, 1.9], {"relation": "at_most"}, "not reproduced"),
        ([1.0], {}, "underpowered"),
        ([np.nan, 1.0, 1.0], {}, "underpowered"),
    ],
)
def test_verdicts(gains, changes, verdict):
    (row,) = claims.judge(summary(gains), [CLAIM | changes], 1000).itertuples()
    assert row.verdict == verdict and row.replicates == len(gains)
    assert row.density == pytest.approx(0.8)
    np.testing.assert_allclose(row.estimate, np.mean(gains))


def test_a_density_is_the_mean_of_its_lane():
    table = summary([1.0, 1.1, 0.9])
    learned = (table.lane == "ticket") & (table["round"] == 1)
    table.loc[learned, "density"] = [0.2, 0.4, 0.9]
    (row,) = claims.judge(table, [CLAIM], 1000).itertuples()
    assert row.density == pytest.approx(0.5)


def test_draws_of_a_control_count_once():
    """Three draws that gain 0, 1 and 2 more: one number per replicate."""
    claim = CLAIM | {"lane": "reinit", "expected": 2.0}
    table = summary([1.0, 1.1, 0.9], 3)
    (row,) = claims.judge(table, [claim], 1000).itertuples()
    assert row.replicates == 3 and row.verdict == "reproduced"


def test_a_diverged_draw_leaves_no_verdict():
    claim = CLAIM | {"lane": "reinit", "expected": 2.0}
    table = summary([1.0, 1.1, 0.9], 3)
    gone = (table.lane == "reinit") & (table["sample"] == 1) & (table.replicate == 2)
    table.loc[gone, "diverged"] = True
    (row,) = claims.judge(table, [claim], 1000).itertuples()
    assert np.isnan(row.estimate) and row.verdict == "underpowered"


def test_a_stop_at_the_end_is_censored():
    """Nobody knows when it would have stopped."""
    claim = CLAIM | {"quantity": "early_stop_step", "measure": "percent_earlier",
                     "expected": 0.0, "tolerance": 50.0}  # fmt: skip
    table = summary([0, 0, 0])
    ticket = (table.lane == "ticket") & (table["round"] == 1)
    table.loc[ticket, "early_stop_step"] += [5, -3, 0]
    verdicts = [claims.judge(table, [claim], last).iloc[0] for last in (1000, 300)]
    assert [row.verdict for row in verdicts] == ["reproduced", "underpowered"]
    assert [row.censored for row in verdicts] == [0, 1]


def test_speed_ups_say_both_estimates():
    table = summary([0, 0, 0])
    steps = np.array([100.0, 200, 600])
    table.loc[(table.lane == "ticket") & (table["round"] == 1), "early_stop_step"] = 100
    table.loc[(table.lane == "ticket") & (table["round"] == 0), "early_stop_step"] = (
        steps
    )
    claim = CLAIM | {"quantity": "early_stop_step", "measure": "percent_earlier"}
    (row,) = claims.judge(table, [claim], 1000).itertuples()
    np.testing.assert_allclose(row.estimate, 100 * (1 - 100 / steps.mean()))
    np.testing.assert_allclose(row.by_replicate, 100 * (1 - np.mean(100 / steps)))
    (row,) = claims.judge(table, [claim | {"measure": "ratio"}], 1000).itertuples()
    np.testing.assert_allclose(row.estimate, steps.mean() / 100)
    assert "| **" in claims.to_markdown(claims.judge(table, [claim], 1000))


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"lane": "shufle"}, "claims.C1.lane: no 'shufle'"),
        ({"versus_lane": "shuffle"}, "claims.C1.versus_lane: no 'shuffle'"),
        ({"round": 4}, "claims.C1.round: 4: the run has rounds 0 to 3"),
        ({"versus_round": -1}, "claims.C1.versus_round: -1"),
        ({"quantity": "accuracy"}, "claims.C1.quantity: no 'accuracy'"),
        ({"measure": "points_"}, "claims.C1.measure: no 'points_'"),
        ({"relation": "equals"}, "claims.C1.relation: no 'equals'"),
        ({"tolerance": -1}, "claims.C1.tolerance: -1"),
        ({"tolerance": 0}, "claims.C1.tolerance: 0: expected more than 0"),
        ({"expected": "38"}, "claims.C1.expected: '38': not a number"),
        ({"expected": float("nan")}, "claims.C1.expected: nan"),
        ({"rounds": 3}, "claims.C1.rounds: no such field"),
    ],
)
def test_claims_about_what_a_run_will_not_have_are_refused(changes, message):
    with pytest.raises(ConfigError) as error:
        claims.validate([CLAIM | changes], lambda number: ["ticket", "reinit"], 3)
    assert message in str(error.value)


def test_a_claim_needs_its_fields_and_a_name_of_its_own():
    with pytest.raises(ConfigError, match="claims.C1: lacks statement, quantity"):
        claims.validate([{"id": "C1"}], lambda number: ["ticket"], 3)
    with pytest.raises(ConfigError, match="claims.C1: is there twice"):
        claims.validate([CLAIM, CLAIM], lambda number: ["ticket"], 3)


def test_a_run_ends_with_its_verdicts_and_claims_may_come_later(tmp_path, capsys):
    from lottery_jax import experiment

    config = helpers.tiny_config(algorithm__rounds=1)
    experiment.run(config, tmp_path / "run")
    assert not (tmp_path / "run/claims.md").exists()
    config.claims = (CLAIM,)
    experiment.run(config, tmp_path / "run")
    text = (tmp_path / "run/claims.md").read_text()
    assert "C1: gains" in text and "C1: gains" in capsys.readouterr().out


def test_claims_about_two_runs_pair_their_replicates():
    gains = np.array([1.0, 3.0, 2.0, 5.0])
    more = gains + [0.9, 1.1, 1.0, 1.0]
    both = claims.together({"new": summary(more), "old": summary(gains)})
    stated = CLAIM | {"lane": "new/ticket", "versus_lane": "old/ticket",
                      "versus_round": 1}  # fmt: skip
    (row,) = claims.judge(both, [stated], 1000).itertuples()
    assert row.verdict == "reproduced" and row.replicates == 4
    assert row.estimate == pytest.approx(1) and 0.8 < row.low < 1 < row.high < 1.2
    equal = claims.together({"new": summary(gains + 1), "old": summary(gains)})
    (row,) = claims.judge(equal, [stated], 1000).itertuples()
    assert row.low == pytest.approx(row.high) and row.verdict == "underpowered"
    with pytest.raises(ConfigError, match="relation: no 'abuot'"):
        claims.judge(both, [stated | {"relation": "abuot"}], 1000)
    with pytest.raises(ConfigError, match="no lane 'ticket' in round 1"):
        claims.judge(both, [CLAIM], 1000)
    unmeasured = CLAIM | {"lane": "new/ticket", "quantity": "instability"}
    with pytest.raises(ConfigError, match="instability was not measured"):
        claims.judge(both, [unmeasured], 1000)
    with pytest.raises(ValueError, match="cannot be paired"):
        claims.together({"new": summary(gains), "old": summary(gains[:2])})


@pytest.mark.parametrize(
    ("changes", "problem"),
    [
        ({"quantity": "level_barrier"}, "level_barrier: not measured of ticket"),
        ({"quantity": "instability", "lane": "reinit"}, "instability: not measured"),
        ({"quantity": "reported_step"}, "reported_step: not measured"),
        ({"versus_quantity": "most_likely_test_loss"}, "most_likely_test_loss: not"),
        ({"quantity": "steps_to_success"}, "steps_to_success: not measured"),
        ({"quantity": "recall"}, "recall: not measured of ticket"),
        ({"quantity": "untrained_test_accuracy"}, "untrained_test_accuracy: not"),
    ],
)
def test_a_claim_about_what_is_not_measured_is_refused(changes, problem):
    config = helpers.tiny_config()
    validation.validate(config)
    config.claims = (CLAIM | changes,)
    with pytest.raises(ConfigError, match=f"claims.C1.quantity: {problem}"):
        validation.validate(config)


def test_a_percentage_is_of_one_side_alone():
    """Round 0 of NeTS has a ticket and no accuracy, and is not asked for."""
    config = load("nets.py:xor10,smoke")
    stated = {"lane": "dense", "round": 3, "measure": "percent", "expected": 50.0}
    config.claims = (CLAIM | stated | {"versus_lane": "no such lane"},)
    validation.validate(config)
    summary = pd.DataFrame({
        "round": 3, "lane": "dense", "sample": 0, "replicate": range(4),
        "density": 1.0, "diverged": False, CLAIM["quantity"]: [0.4, 0.5, 0.45, 0.6],
    })  # fmt: skip
    (row,) = claims.judge(summary, config.claims, 1000).itertuples()
    assert row.estimate == pytest.approx(48.75) and row.replicates == 4


def test_columns_of_some_algorithms_are_columns_of_claims():
    measured = {"imp", "gradual", "supermask", "sample_complexity", "compare"}
    for name, fields in FIELDS.items():
        config = configs.default(name)
        if name == "compare":
            config.algorithm.methods = ("gem_miner",)
        if name == "gradual":
            config.algorithm.patience = 1
        found = fields.measures(config)
        assert bool(found) == (name in measured)
        for beginning in found:
            assert any(column.startswith(beginning) for column in claims.QUANTITIES)


@pytest.mark.parametrize(
    ("path", "changes"),
    [
        ("sample_complexity.py:smoke", {"lane": "over_wide", "quantity": "success"}),
        ("plant_and_seek.py:smoke", {"lane": "planted", "quantity": "test_loss"}),
        ("nets.py:xor10,smoke", {"lane": "dense", "round": 3}),
    ],
)
def test_claims_may_be_about_what_there_is_in_a_round(path, changes):
    config = load(path)
    lane = changes["lane"]
    own = CLAIM | {"round": 0} | changes
    number = own["round"]
    config.claims = (own | {"versus_lane": lane, "versus_round": number},)
    validation.validate(config)
    config.claims = (own | {"versus_lane": lane, "versus_round": 1 - bool(number)},)
    if lane != "over_wide":  # there in every round
        with pytest.raises(ConfigError, match=f"no '{lane}' in round"):
            validation.validate(config)


def test_a_run_is_not_lost_by_a_claim_that_cannot_be_judged(tmp_path, capsys):
    config = helpers.tiny_config(algorithm__rounds=1, data__name="relu")
    config.data.standardize = "none"
    claim = CLAIM | {"round": 1, "quantity": "test_accuracy"}  # of a regression
    config.claims = (claim,)
    found = experiment.run(config, tmp_path / "run")
    assert len(found.certificates) == 2
    said = capsys.readouterr().out
    assert "claims are not judged: config.claims.C1: test_accuracy was not" in said
