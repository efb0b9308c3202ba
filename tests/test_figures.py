"""Intervals against closed forms, figures against the table they show."""

import matplotlib.image
import numpy as np
import pandas as pd
import pytest
from scipy import stats

from lottery_jax.analysis.statistics import confidence_interval
from lottery_jax.reporting import figures, progress
from lottery_jax.reporting.results import Results
from lottery_jax.tickets import CONTROLS


def test_the_interval_is_students():
    values = [1.0, 2.0, 4.0, 7.0]
    mean, low, high = confidence_interval(values)
    expected = stats.ttest_1samp(values, 0).confidence_interval(0.95)
    assert mean == 3.5
    np.testing.assert_allclose([low, high], [expected.low, expected.high])
    assert np.isnan(confidence_interval([3.0])[1:]).all()


def test_the_interval_covers_as_often_as_it_says():
    draws = np.random.default_rng(0).normal(5, 2, (4000, 5))
    covered = [low < 5 < high for _, low, high in map(confidence_interval, draws)]
    assert 0.94 < np.mean(covered) < 0.96


def made_results(tmp_path, replicates=3, regression=False):
    """Two rounds, a ticket and two draws of a control, with known numbers."""
    rows = []
    for number, density in enumerate([1.0, 0.5]):
        for lane, sample in [("ticket", 0), ("reinit", 0), ("reinit", 1)]:
            for replicate in range(replicates):
                value = 0.9 - 0.1 * number * (lane != "ticket")
                value += 0.01 * replicate + 0.02 * sample
                rows.append((number, lane, sample, replicate, density, value, value,
                             50 * (number + 1), 1 - value, 1 - value))  # fmt: skip
    names = ["round", "lane", "sample", "replicate", "density",
             "early_stop_test_accuracy", "test_accuracy", "early_stop_step",
             "early_stop_test_loss", "test_loss"]  # fmt: skip
    summary = pd.DataFrame(rows, columns=names).assign(seconds=2.0, diverged=False)
    if regression:
        summary = summary.drop(columns=["early_stop_test_accuracy", "test_accuracy"])
    curves = pd.concat(
        summary[names[:4]].assign(step=step, validation_loss=2.0 / (step + 10))
        for step in (0, 50, 100)
    )
    curves = curves[(curves["round"] == 0) | (curves.step > 0)]  # a rewind step
    config = {
        "model": {"name": "mlp"}, "data": {"name": "digits"}, "replicates": replicates,
        "train": {"optimizer": "adam", "steps": 100},
    }  # fmt: skip
    weights = pd.DataFrame(
        {"round": 1, "layer": ["a", "a", "b"], "start": [0.1, -0.2, 0.3],
         "final": [0.2, 0.0, 0.6], "kept": [True, False, True]}
    )  # fmt: skip
    return Results(tmp_path, config, {}, [], summary, curves, [], weights)


def test_weights_are_shown_by_layer_and_fate(tmp_path):
    figure = figures.weights_by_fate(made_results(tmp_path))
    assert [axes.get_title() for axes in figure.axes] == ["a", "b"]
    dropped, kept = figure.axes[0].collections
    np.testing.assert_allclose(dropped.get_offsets(), [[-0.2, 0.0]])
    np.testing.assert_allclose(kept.get_offsets(), [[0.1, 0.2]])
    texts = [text.get_text() for text in figure.axes[0].get_legend().get_texts()]
    assert texts == [f"{fate}, 50 % of what was left" for fate in ("dropped", "kept")]


def test_a_line_shows_the_means_and_its_band_the_interval(tmp_path):
    results = made_results(tmp_path)
    axes = figures.against_density(results, "test_accuracy").axes[0]
    lines = {line.get_label(): line for line in axes.get_lines()}
    np.testing.assert_allclose(lines["ticket"].get_xdata(), [50, 100])
    np.testing.assert_allclose(lines["ticket"].get_ydata(), [91, 91])
    # Two draws are averaged within a replicate: three numbers, not six.
    np.testing.assert_allclose(lines["reinit"].get_ydata(), [82, 92])
    _, low, high = confidence_interval([0.81, 0.82, 0.83])
    vertices = axes.collections[1].get_paths()[0].vertices
    at_half = vertices[np.isclose(vertices[:, 0], 50)][:, 1]
    np.testing.assert_allclose([at_half.min(), at_half.max()], [100 * low, 100 * high])
    left, right = axes.get_xlim()
    assert left > right and axes.get_xscale() == "log"  # falling to the right
    assert axes.get_xlabel() == "percent of weights remaining"


@pytest.mark.parametrize("replicates", [1, 3])
@pytest.mark.parametrize("regression", [False, True])
def test_all_figures_are_drawn(tmp_path, regression, replicates):
    results = made_results(tmp_path, replicates, regression)
    paths = figures.draw(results)
    assert len(paths) == 5
    for path in paths:
        pixels = matplotlib.image.imread(path)[..., :3]
        assert pixels.shape[0] == 630 and pixels.shape[1] >= 960
        assert pixels.std() > 0.05
        assert path.with_suffix(".pdf").read_bytes().startswith(b"%PDF")


@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_figures_of_diverged_lanes_are_drawn(tmp_path, value):
    results = made_results(tmp_path, regression=True)
    lost = results.summary.lane == "reinit"
    results.summary.loc[lost, ["test_loss", "early_stop_test_loss"]] = value
    assert len(figures.draw(results)) == 5
    results.summary["test_loss"] = value
    results.curves["validation_loss"] = value
    assert len(figures.draw(results)) == 5


def test_a_level_curve_is_drawn(tmp_path):
    """The same accuracy in every round leaves no range of its own."""
    results = made_results(tmp_path)
    results.summary["early_stop_test_accuracy"] = 0.99
    assert len(figures.draw(results)) == 5
    low, high = (
        figures.against_density(results, "early_stop_test_accuracy").axes[0].get_ylim()
    )
    assert low < 98.5 and 99 < high <= 100


def test_lanes_are_told_apart_without_colour():
    looks = [figures.style(lane) for lane in ("ticket", *CONTROLS)]
    assert len({(x["marker"], x["linestyle"]) for x in looks}) == len(looks)
    own = [figures.style(lane) for lane in ("mine", "mine_signed")]
    assert own[0]["color"] == own[1]["color"] and own[0] != own[1]


def test_a_round_is_one_line(tmp_path, capsys):
    summary = made_results(tmp_path).summary
    rows = summary[summary["round"] == 1].assign(diverged=[True] + 8 * [False])
    progress.show_round(rows, last=10, steps=100, seconds_left=75, compiled=False)
    assert capsys.readouterr().out == (
        "round  1/10  density  50.00%  ticket 91.00%  reinit 82.00%  "
        "450 lane-steps/s  1m15s left  1 lanes diverged\n"
    )
