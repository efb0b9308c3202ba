"""Intervals against closed forms, figures against the table they show."""

import itertools
import types
from pathlib import Path

import matplotlib.image
import numpy as np
import pandas as pd
import pytest
from absl.testing import flagsaver
from matplotlib.legend import Legend
from scipy import stats

import lottery_jax
from lottery_jax import experiment, main
from lottery_jax.analysis.statistics import confidence_interval
from lottery_jax.reporting import (
    figures,
    interactive,
    interactive_tickets,
    nets_figures,
    plotting,
    progress,
    search_figures,
    ticket_figures,
)
from lottery_jax.reporting.results import Results
from lottery_jax.tickets import CONTROLS
from tests import helpers

DRAWS = True


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
        "train": {"optimizer": "adam", "steps": 100, "batch_size": 10},
        "algorithm": {"name": "imp", "one_shot": False, "retrain": True},
    }  # fmt: skip
    weights = pd.DataFrame(
        {"round": 1, "layer": ["a", "a", "b"], "start": [0.1, -0.2, 0.3],
         "final": [0.2, 0.0, 0.6], "kept": [True, False, True]}
    )  # fmt: skip
    none = pd.DataFrame({"round": []})
    return Results(tmp_path, config, {}, [], summary, curves, [], weights, none)


def with_masks(results):
    """Masks of a dense layer and a convolution, and the columns that tell of them."""
    numbers = np.random.default_rng(0)
    summary, made = results.summary, {}
    replicates = summary.replicate.nunique()
    for number in (0, 1):
        masks = {
            name: numbers.random((replicates, *shape)) < (0.5 if number else 2)
            for name, shape in {"a": (6, 5), "b": (2, 2, 5, 4)}.items()
        }
        folder = results.workdir / "rounds" / f"{number:04d}"
        folder.mkdir(parents=True)
        packed = {
            name: np.packbits(mask.reshape(replicates, -1), axis=1)
            for name, mask in masks.items()
        }
        shapes = {f"{name}.shape": mask.shape[1:] for name, mask in masks.items()}
        np.savez(folder / "masks.npz", **packed, **shapes)
        made[number] = masks
    density, late = summary.density, summary["round"] > 0
    moved = summary["round"].where(late & (summary.lane == "ticket"))
    summary = summary.assign(
        flops=200 * density, kept=100 * density, live_weights=90 * density,
        kept_movement=0.4 * moved, dropped_movement=0.1 * moved,
        kept_outward=0.9 * moved, dropped_outward=0.2 * moved,
    )  # fmt: skip
    return results._replace(summary=summary), made


def lines(axes):
    return {line.get_label(): line for line in axes.get_lines()}


def test_degrees_are_shown_beside_those_of_chance(tmp_path):
    results, masks = with_masks(made_results(tmp_path))
    figure = ticket_figures.degrees(results)
    kernel = masks[1]["b"][0]
    for axes, count in ((figure.axes[1], kernel.sum((0, 1, 2))),
                        (figure.axes[3], kernel.sum((0, 1, 3)))):  # fmt: skip
        at, part = lines(axes)["ticket"].get_data()
        expected = [100 * (count <= degree).mean() for degree in at]
        np.testing.assert_allclose(part, expected)
        assert part[-1] == 100 and at[-1] > count.max()
        own = kernel.size // len(count)
        law = stats.hypergeom(kernel.size, kernel.sum(), own)
        np.testing.assert_allclose(
            lines(axes)["by chance"].get_ydata(), 100 * law.cdf(at), rtol=1e-6
        )
        ratio = np.var(count) / law.var()
        assert f"variance {ratio:.2g} x" in axes.get_xlabel()


def test_layers_are_followed_down(tmp_path):
    results, masks = with_masks(made_results(tmp_path))
    results.summary.loc[results.summary.lane == "ticket", "live_weights"] *= 0.5
    density, effective, no_incoming, no_outgoing = ticket_figures.layers(results).axes
    for name, mask in masks[1].items():
        line = lines(density)[name]
        np.testing.assert_allclose(line.get_xdata(), [50, 100])
        np.testing.assert_allclose(line.get_ydata(), [100 * mask.mean(), 100])
        units = mask.reshape(3, -1, mask.shape[-1])
        dead = np.mean([(~one.any(0)).mean() for one in units])
        found = lines(no_incoming)[name].get_ydata()
        np.testing.assert_allclose(found, [100 * dead, 0])
        inputs = np.moveaxis(mask, -2, 1).reshape(3, mask.shape[-2], -1)
        dead = np.mean([(~one.any(1)).mean() for one in inputs])
        found = lines(no_outgoing)[name].get_ydata()
        np.testing.assert_allclose(found, [100 * dead, 0])
    np.testing.assert_allclose(lines(effective)["ticket"].get_ydata(), [45, 45])
    assert "reinit" not in lines(effective)  # the mask is the ticket's


def test_a_collapsed_layer_leaves_its_axes(tmp_path):
    results, masks = with_masks(made_results(tmp_path))
    path = tmp_path / "rounds/0001/masks.npz"
    stored = dict(np.load(path))
    np.savez(path, **{**stored, "a": 0 * stored["a"]})
    density = ticket_figures.layers(results).axes[0]
    assert lines(density)["a"].get_ydata()[0] == 0
    assert 0 < density.get_ylim()[0] < 100 * masks[1]["b"].mean()


def test_movement_is_shown_by_fate(tmp_path):
    results, _ = with_masks(made_results(tmp_path))
    far, outward = ticket_figures.movement(results).axes
    for axes, kept, dropped in ((far, 0.4, 0.1), (outward, 90, 20)):
        np.testing.assert_allclose(lines(axes)["kept"].get_data(), [[50], [kept]])
        np.testing.assert_allclose(lines(axes)["dropped"].get_data(), [[50], [dropped]])


def test_overlap_of_pairs(tmp_path):
    results, masks = with_masks(made_results(tmp_path))
    whole, by_layer = ticket_figures.overlap(results).axes
    flat = np.concatenate([mask.reshape(3, -1) for mask in masks[1].values()], axis=1)
    pairs = [(flat[i], flat[j]) for i, j in ((0, 1), (0, 2), (1, 2))]
    expected = np.mean([(a & b).sum() / (a | b).sum() for a, b in pairs])
    np.testing.assert_allclose(
        lines(whole)["two replicates"].get_data(), [[50, 100], [expected, 1]]
    )
    assert 0.25 < lines(whole)["by chance"].get_ydata()[0] < 0.45
    one = masks[1]["a"].reshape(3, -1)
    z = []
    for i, j in ((0, 1), (0, 2), (1, 2)):
        law = stats.hypergeom(30, one[i].sum(), one[j].sum())
        z.append(((one[i] & one[j]).sum() - law.mean()) / law.std())
    np.testing.assert_allclose(lines(by_layer)["a"].get_ydata(), [np.mean(z), np.nan])


def test_at_most_ten_pairs_are_compared(tmp_path, monkeypatch):
    results, _ = with_masks(made_results(tmp_path, replicates=8))
    calls, compare = [], ticket_figures.compare
    monkeypatch.setattr(
        ticket_figures, "compare", lambda *two: calls.append(two) or compare(*two)
    )
    ticket_figures.overlap(results)
    assert len(calls) == 2 * 3 * 10  # rounds, layers and all of them, pairs


def test_stability_of_order_and_dense(tmp_path):
    results = made_results(tmp_path)
    control = results.summary.lane == "reinit"
    lane = np.where(results.summary["sample"] == 0, "order", "dense")
    summary = results.summary.assign(lane=results.summary.lane.mask(control, lane))
    order, dense = summary.lane == "order", summary.lane == "dense"
    summary.loc[dense, "density"] = 1.0  # drawn where its ticket is
    summary.loc[order, ["instability", "distance", "angle"]] = [0.02, 3.0, 40.0]
    summary.loc[dense, ["distance", "angle"]] = [5.0, 60.0]
    figure = figures.stability(results._replace(summary=summary))
    instability, distance, angle = figure.axes
    assert len(instability.get_lines()) == 1
    order, dense = distance.get_lines()
    np.testing.assert_allclose(instability.get_lines()[0].get_ydata(), [2, 2])
    np.testing.assert_allclose(order.get_data(), [[50, 100], [3, 3]])
    np.testing.assert_allclose(dense.get_data(), [[50, 100], [5, 5]])
    np.testing.assert_allclose(angle.get_lines()[1].get_ydata(), [60, 60])
    late = (summary.lane == "ticket") & (summary["round"] == 1)
    alone = summary.assign(level_barrier=np.where(late, 0.03, np.nan))
    alone = alone.drop(columns=["instability", "distance", "angle"])
    (barrier,) = figures.stability(results._replace(summary=alone)).axes
    (line,) = barrier.get_lines()
    np.testing.assert_allclose(line.get_data(), [[50, 100], [3, np.nan]])


def test_cost_counts_the_training_that_finds_a_ticket(tmp_path):
    results, _ = with_masks(made_results(tmp_path))
    axes = figures.cost(results).axes[0]
    # Training starts at step 50 of 100 in round 1, with half of the weights.
    work, accuracy = lines(axes)["finding and training it"].get_data()
    np.testing.assert_allclose(work, [1, 1.25])
    np.testing.assert_allclose(accuracy, [91, 91])
    work, _ = lines(axes)["training it alone"].get_data()
    np.testing.assert_allclose(work, [0.25, 1])
    results.config["algorithm"]["one_shot"] = True
    results.summary.loc[results.summary["round"] == 1, "flops"] = 20
    work, _ = lines(figures.cost(results).axes[0])["finding and training it"].get_data()
    np.testing.assert_allclose(work, [1, 1 + 0.05])


def test_weights_before_training_round_by_round(tmp_path):
    results = made_results(tmp_path)
    numbers = np.random.default_rng(0)
    start = numbers.normal(size=400).astype("f4")
    weights = pd.DataFrame({"round": 1, "layer": "a", "start": start})
    weights = weights.assign(final=start, kept=np.abs(start) > 0.5)
    figure = ticket_figures.initial_weights(results._replace(weights=weights))
    dense, kept = figure.axes[0].patches
    edges = kept.get_data().edges
    assert len(edges) > 20
    for patch, values in ((dense, start), (kept, start[np.abs(start) > 0.5])):
        expected, _ = np.histogram(values, edges, density=True)
        np.testing.assert_allclose(patch.get_data().values, expected, rtol=1e-6)
    texts = [text.get_text() for text in figure.legends[0].get_texts()]
    assert texts == ["100 %", "50 %"]


MORE = ["degrees", "layers", "initial_weights", "movement", "overlap", "cost"]


@pytest.mark.parametrize("regression, replicates", [(False, 1), (True, 3)])
def test_more_figures_are_drawn_when_asked_for(tmp_path, regression, replicates):
    results, _ = with_masks(made_results(tmp_path, replicates, regression))
    results.summary.loc[results.summary.lane == "reinit", "flops"] = np.nan
    paths = lottery_jax.draw_figures(results)
    first, more = paths[:5], paths[5:]
    assert {path.parent.name for path in first} == {"figures"}
    expected = [name for name in MORE if replicates > 1 or name != "overlap"]
    expected += ["boxes"] * (replicates > 2)
    assert more == [tmp_path / "more_figures" / f"{name}.png" for name in expected]
    for path in more:
        pixels = matplotlib.image.imread(path)[..., :3]
        assert pixels.shape[0] >= 630 and pixels.std() > 0.05
        assert path.with_suffix(".pdf").read_bytes().startswith(b"%PDF")


def test_boxes_are_quartiles_of_replicates(tmp_path):
    results = made_results(tmp_path, 5)
    summary = results.summary
    summary["reported_test_accuracy"] = np.random.default_rng(0).random(len(summary))
    (axes,) = figures.boxes(results).axes
    lanes = list(dict.fromkeys(summary.lane))
    found = iter(axes.patches[: len(lanes) * int(summary["round"].max())])
    for lane in lanes:
        for number in range(1, summary["round"].max() + 1):
            rows = summary[(summary.lane == lane) & (summary["round"] == number)]
            values = rows.groupby("replicate").reported_test_accuracy.mean()
            quartiles = 100 * values.quantile([0.25, 0.75])
            heights = next(found).get_path().vertices[:, 1]
            np.testing.assert_allclose([heights.min(), heights.max()], quartiles)
    dense = summary[(summary.lane == "ticket") & (summary["round"] == 0)]
    values = 100 * dense.reported_test_accuracy
    band = [p for p in axes.patches if p.get_zorder() == 0][0].get_extents()
    (low, high) = axes.transData.inverted().transform(band)[:, 1]
    np.testing.assert_allclose((high - low) / 2, values.std(), rtol=1e-6)


def test_more_figures_of_what_there_is(tmp_path):
    """A mask that is learned: no weights are sampled, moved, or trained again."""
    results, _ = with_masks(made_results(tmp_path, replicates=1))
    results.config["algorithm"] = {"name": "supermask"}
    results = results._replace(
        weights=results.weights[:0],
        summary=results.summary.drop(columns=["kept_movement", "dropped_movement"]),
    )
    assert [path.stem for path in figures.draw_more(results)] == ["degrees", "layers"]


def test_more_figures_of_diverged_tickets_are_drawn(tmp_path):
    results, _ = with_masks(made_results(tmp_path))
    lost = (results.summary.lane == "ticket") & (results.summary.replicate == 1)
    names = ["early_stop_test_accuracy", "kept_movement", "kept_outward"]
    results.summary.loc[lost, names] = np.nan
    results.weights["start"] = np.nan
    assert len(figures.draw_more(results)) == len(MORE) + 1


@pytest.mark.filterwarnings("ignore:the load_module:DeprecationWarning")
def test_the_command_line_asks_for_more_figures(tmp_path, monkeypatch, capsys):
    results, _ = with_masks(made_results(tmp_path, replicates=1))
    monkeypatch.setattr(experiment, "run", lambda config, workdir: results)
    monkeypatch.setattr(main, "_report", lambda found: None)  # there is no such run
    config = f"--config={helpers.REPOSITORY}/configs/xor.py"
    with flagsaver.flagsaver():
        for flag in ("--nomore_figures", "--more_figures"):
            main.parse_flags(["lottery", config, flag])
            main.main([])
            shown = capsys.readouterr().out.splitlines()
            paths = [line[8:] for line in shown if line.startswith("figure: ")]
            assert len(paths) == (5 if flag == "--more_figures" else 0)
    assert all(Path(path).is_file() for path in paths)


def test_weights_are_shown_by_layer_and_fate(tmp_path):
    figure = ticket_figures.weights_by_fate(made_results(tmp_path))
    assert [axes.get_title() for axes in figure.axes] == ["a", "b"]
    dropped, kept = figure.axes[0].collections
    np.testing.assert_allclose(dropped.get_offsets(), [[-0.2, 0.0]])
    np.testing.assert_allclose(kept.get_offsets(), [[0.1, 0.2]])
    texts = [text.get_text() for text in figure.axes[0].get_legend().get_texts()]
    assert texts == [f"{fate}, 50 % of the sample" for fate in ("dropped", "kept")]


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


@pytest.mark.parametrize(("last", "shown"), [(0.2, ["target"]), (0.8, [])])
def test_the_target_of_a_search_is_shown_where_it_is_in_sight(tmp_path, last, shown):
    table = pd.DataFrame(
        {"replicate": 0, "round": range(9), "fitness": 1.0, "penalty": 0.5}
    ).assign(density=np.linspace(1, last, 9))
    results = made_results(tmp_path, 1)._replace(search=table, summary=table)
    results.config["algorithm"] |= {"term": "loss", "target_density": 0.2}
    *_, density = nets_figures.search(results).axes
    assert [text.get_text() for text in density.texts] == shown


@pytest.mark.parametrize("generations", [2, 300, 6400, 11_000])
@pytest.mark.parametrize("method", ["nets", "strong_tickets"])
def test_generations_are_whole_and_their_labels_do_not_touch(
    tmp_path, method, generations
):
    table = pd.DataFrame(
        {"replicate": 0, "generation": range(generations + 1), "fitness": 1.0}
        | {name: 0.5 for name in ("density", "loss", "accuracy", "penalty")}
    )
    if method == "nets":
        table = table.rename(columns={"generation": "round"}).drop(columns="loss")
        results = made_results(tmp_path, 1)._replace(search=table, summary=table)
        results.config["algorithm"] |= {"term": "loss", "target_density": 0.2}
        figure = nets_figures.search(results)
    else:
        figure = search_figures.course(table)
    figure.draw_without_rendering()
    for axes in figure.axes:
        low, high = axes.get_xlim()
        shown = [
            text for text in axes.get_xticklabels()
            if low <= text.get_position()[0] <= high
        ]  # fmt: skip
        assert len(shown) >= 3
        assert all(float(text.get_text()).is_integer() for text in shown)
        boxes = [text.get_window_extent() for text in shown]
        gaps = [right.x0 - left.x1 for left, right in itertools.pairwise(boxes)]
        assert min(gaps) > 0


@pytest.mark.parametrize(
    ("value", "shown"),
    [(0.0125, "0.0125"), (51.2768, "51.3"), (2000, "2000"), (412_345, "412000")],
)
def test_numbers_have_no_powers_of_ten(value, shown):
    assert plotting.plain(value) == plotting.PLAIN(value) == shown


def test_lanes_are_told_apart_without_colour():
    looks = [plotting.style(lane) for lane in {*plotting.STYLES, *CONTROLS}]
    assert len({(x["marker"], x["linestyle"]) for x in looks}) == len(looks)
    own = [plotting.style(lane) for lane in ("mine", "mine_signed")]
    assert own[0]["color"] == own[1]["color"] and own[0] != own[1]
    layers = [plotting.layer_style(place) for place in range(9)]
    assert len({(x["marker"], x["linestyle"]) for x in layers}) == len(layers)


def test_rounds_are_as_dense_as_their_tickets_in_the_mean(tmp_path):
    results, made = with_masks(made_results(tmp_path))
    last = (results.summary.lane == "ticket") & (results.summary["round"] == 1)
    results.summary.loc[last, "density"] = [0.1, 0.2, 0.9]
    assert interactive.curves(results)["labels"][1] == "round 1, 40 % of weights"
    layers = interactive_tickets.layer_densities(results, made)
    assert layers["frames"][0][0]["x"] == pytest.approx([100, 40])
    legends = figures.validation_curves(results).findobj(Legend)
    shown = [text.get_text() for legend in legends for text in legend.get_texts()]
    assert shown == ["100 %", "40 %"]


def test_notes_name_three_layers_and_count_the_others():
    info = types.SimpleNamespace(round=3, idle=0, notes=("own",))
    certificate = {"empty_layers": list("abc"), "idle_controls": ["shuffle"]}
    left = "nothing is left of a, b, c{} in a ticket of this round"
    others = ["shuffle came out as its ticket in this round", "own"]
    assert progress.notes(info, certificate) == [left.format(""), *others]
    certificate["empty_layers"] += "de"
    assert progress.notes(info, certificate) == [left.format(" and 2 more"), *others]
    info.idle, certificate["empty_layers"] = 4, []
    assert progress.notes(info, certificate) == [
        *others, "all searches have ended; nothing to do up to round 7"
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("work", "to_come", "expected"),
    [
        (5, [5, 5], 12),
        (2, [5, 5], 30),
        (2, [5, 0], 15),
        (5, [], 0),
        (0, [], 0),
        (0, [0, 0], 12),
        (5, [0, 0], None),
        (0, [0, 5], None),
    ],
)
def test_time_left_is_told_from_rounds_of_the_same_kind(work, to_come, expected):
    assert progress.seconds_left(6.0, work, to_come) == expected


def test_a_round_is_one_line(tmp_path, capsys):
    summary = made_results(tmp_path).summary
    rows = summary[summary["round"] == 1].assign(diverged=[True] + 8 * [False])
    progress.show_round(rows, last=10, steps=100, seconds_left=75, compiled=False)
    assert capsys.readouterr().out == (
        "round  1/10  density  50.00%  ticket 91.00%  reinit 82.00%  "
        "450 lane-steps/s  1m15s left  1 lane diverged\n"
    )
    rows = rows.assign(diverged=True)
    progress.show_round(rows, last=10, steps=100, seconds_left=5, compiled=True)
    assert capsys.readouterr().out.endswith(
        "  450 lane-steps/s (compiling included)  5s left  9 lanes diverged\n"
    )
    progress.show_round(rows, last=10, steps=0, seconds_left=None, compiled=True)
    assert "reinit 82.00%  9 lanes" in capsys.readouterr().out
