"""Figures of a run, PNG and PDF: those of every run, and those drawn when asked for."""

import itertools
from pathlib import Path

import numpy as np
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.backends.backend_pdf import FigureCanvasPdf
from matplotlib.figure import Figure

from lottery_jax.analysis import cost as costs
from lottery_jax.reporting import (
    compare_figures,
    nets_figures,
    plotting,
    search_figures,
    theory_figures,
    ticket_figures,
    topology_figures,
)
from lottery_jax.reporting.results import Results, lane_names, ticket_density
from lottery_jax.reporting.run_directory import new_folder

OWN = {
    "nets": nets_figures.of_run,
    "sample_complexity": theory_figures.of_run,
    "strong_tickets": search_figures.of_strong_tickets,
}
"""Name of an algorithm -> what draws its figures, where it has others than the rest."""

MORE = {"compare": compare_figures.of_run, "topologies": topology_figures.of_run}
"""Name of an algorithm -> what draws those that it has beside the rest's."""


def draw(results: Results) -> list[Path]:
    """Draws the figures of every run into its folder `figures`; returns the PNGs."""
    name = results.config["algorithm"]["name"]
    if name in OWN:
        return _save(results, "figures", OWN[name](results))
    suffix = _suffix(results)
    more = MORE[name](results) if name in MORE else {}
    if plotting.by_method(results):
        results = plotting.without_checks(results)
    figures = {
        f"test_{suffix}": against_density(results, f"early_stop_test_{suffix}"),
        f"test_{suffix}_at_end": against_density(results, f"test_{suffix}"),
        "early_stop_step": against_density(results, "early_stop_step"),
        "validation_loss": validation_curves(results),
    }
    if len(results.weights):
        figures["weights"] = ticket_figures.weights_by_fate(results)
    return _save(results, "figures", figures | more)


def draw_more(results: Results) -> list[Path]:
    """Draws what a run can show beyond that, into `more_figures`; returns the PNGs.

    What a run has no numbers for is left out.
    """
    summary, algorithm = results.summary, results.config["algorithm"]
    if algorithm["name"] in OWN:
        return []
    is_imp = algorithm["name"] == "imp"  # others train and prune in one
    one = not plotting.by_method(results)  # ticket for a replicate
    apart = [x for x in ("distance", "level_barrier") if plotting.has(summary, x)]
    chosen = {
        ticket_figures.degrees: one,
        ticket_figures.layers: one,
        ticket_figures.initial_weights: len(results.weights) > 0,
        ticket_figures.movement: is_imp and plotting.has(summary, "kept_movement"),
        ticket_figures.overlap: one and summary.replicate.nunique() > 1,
        stability: one and bool(apart),
        cost: is_imp and algorithm["retrain"],
        boxes: summary.replicate.nunique() > 2 and _starts_dense(summary),
    }
    figures = {draws.__name__: draws(results) for draws, can in chosen.items() if can}
    return _save(results, "more_figures", figures)


def draw_figures(results: Results) -> list[Path]:
    """All figures: those of every run and `draw_more`'s; returns the PNGs."""
    return draw(results) + draw_more(results)


def _save(results: Results, name: str, figures: dict[str, Figure]) -> list[Path]:
    with new_folder(results.workdir, name) as folder:
        for stem, figure in figures.items():
            # Not `savefig`, which draws a figure with a layout twice for either.
            FigureCanvasAgg(figure).print_png(folder / f"{stem}.png")
            figure.set_layout_engine("none")
            canvas = FigureCanvasPdf(figure)
            canvas.print_pdf(folder / f"{stem}.pdf", metadata={"CreationDate": None})
    return [results.workdir / name / f"{stem}.png" for stem in figures]


def _starts_dense(summary) -> bool:
    density = summary[summary.lane == "ticket"].groupby("round").density.mean()
    return len(density) > 1 and density.iloc[0] == 1


def _suffix(results: Results) -> str:
    return "accuracy" if "test_accuracy" in results.summary else "loss"


def against_density(results: Results, column: str) -> Figure:
    """A column of the summary against percent of weights remaining, log axis, falling.

    One line and one band per lane. The dashed level is the dense network of round 0;
    another one what a planted ticket is worth untrained.
    """
    summary = plotting.with_percent(results.summary)
    scale = 100 if column.endswith("accuracy") else 1
    figure, (axes,) = plotting.panels(1)
    # What round 0 alone has is a level.
    pruned = set(summary.lane[summary["round"] > 0]) or set(summary.lane)
    means = [
        plotting.band(
            axes, rows, "percent", column, plotting.style(lane), lane, scale=scale
        )
        for lane, rows in summary.groupby("lane", sort=False)
        if lane in pruned
    ]
    if "dense" not in pruned:
        whole = summary.lane.isin(["dense", "ticket"]) & (summary.density == 1)
        height = scale * summary[column][whole].mean()
        means.append(np.array([height]))  # within what is shown
        plotting.level(axes, height, "dense")
    worth = f"untrained_rescaled_test_{_suffix(results)}"
    if worth in summary and column != "early_stop_step":
        height = scale * summary[worth][summary.lane == "planted"].mean()
        means.append(np.array([height]))
        plotting.level(axes, height, "planted, untrained", above=True)
    plotting.fit(axes, means, 100 if scale == 100 else np.inf)
    if column == "early_stop_step":
        steps = results.config["train"]["steps"]
        plotting.level(axes, steps, "end of training: no step was earlier", above=True)
        axes.set_ylim(top=1.08 * steps)
    plotting.density_axis(axes, summary.percent)
    axes.set_ylabel(plotting.AXIS_LABELS[column])
    axes.set_title(plotting.title(results), fontsize=9)
    axes.legend(frameon=False, handlelength=3.5)
    return figure


def validation_curves(results: Results) -> Figure:
    """Validation loss against the step: a panel per lane, a line per round shown.

    At most six rounds are drawn, evenly spaced, the darkest being the sparsest.
    """
    curves = results.curves
    rounds = plotting.evenly(curves["round"], 6)
    density = ticket_density(results.summary)
    lanes = list(dict.fromkeys(curves.lane))

    def label_of(number):
        return f"{100 * density[number]:.3g} %"

    columns = min(len(lanes), 6)
    figure, panels = plotting.panels(columns, -(-len(lanes) // columns))
    for axes in panels[len(lanes) :]:
        axes.set_axis_off()
    for axes in panels[max(len(lanes) - columns, 0) : len(lanes)]:
        axes.tick_params(labelbottom=True)  # the lowest of its column
    names = lane_names(results.summary)
    means = []
    for lane, axes in zip(lanes, panels, strict=False):
        looks = plotting.shades(len(rounds))
        for number, (color, dashes) in zip(rounds, looks, strict=True):
            rows = curves[(curves["round"] == number) & (curves.lane == lane)]
            look = {"color": color, "linestyle": dashes}
            if len(rows):
                label = label_of(number)
                means.append(
                    plotting.band(axes, rows, "step", "validation_loss", look, label)
                )
        axes.set_title(names[lane], fontsize=9)
        axes.set_xlabel("optimizer steps")
    shown = np.concatenate(means)
    shown = shown[np.isfinite(shown) & (shown > 0)]
    if len(shown):
        panels[0].set_yscale("log")
        panels[0].set_ylim(shown.min() / 1.4, shown.max() * 1.4)
        plotting.plain_log(panels[0].yaxis)
    panels[0].set_ylabel("validation loss")
    # Not every lane is there in every round.
    shown = [axes.get_legend_handles_labels() for axes in panels]
    handles = {name: line for pair in shown for line, name in zip(*pair, strict=True)}
    labels = [label for label in map(label_of, rounds) if label in handles]
    panels[-1].legend(
        [handles[label] for label in labels],
        labels,
        frameon=False,
        handlelength=3.5,
        title="weights remaining",
    )
    figure.suptitle(plotting.title(results), fontsize=9)
    return figure


def boxes(results: Results) -> Figure:
    """Replicates as boxes: a group per round, a box per lane, as Theys96's figure.

    Draws of a control are averaged. Accuracy (loss) where patience stops, where a run
    has that, else at early stop. Boxes are quartiles with the median, whiskers reach
    1.5 times as far; the level and the grey band are the dense networks of round 0,
    their mean and standard deviation.
    """
    suffix = _suffix(results)
    column = f"reported_test_{suffix}"
    if column not in results.summary:
        column = f"early_stop_test_{suffix}"
    summary = plotting.with_percent(results.summary)
    names = ["round", "lane", "replicate"]
    summary = summary.groupby(names, sort=False, as_index=False)[[column, "percent"]]
    summary = summary.agg(np.mean)
    scale = 100 if suffix == "accuracy" else 1
    pruned = summary[summary["round"] > 0]
    lanes, rounds = list(dict.fromkeys(pruned.lane)), np.unique(pruned["round"])
    figure, (axes,) = plotting.panels(
        1, width=max(6.4, 0.25 * len(lanes) * len(rounds))
    )
    width = 0.8 / len(lanes)
    for place, lane in enumerate(lanes):
        color = plotting.style(lane)["color"]
        rows = pruned[pruned.lane == lane]
        drawn = axes.boxplot(
            [scale * rows[column][rows["round"] == number] for number in rounds],
            positions=np.arange(len(rounds)) + (place - (len(lanes) - 1) / 2) * width,
            widths=0.85 * width, patch_artist=True, manage_ticks=False, label=lane,
            medianprops={"color": "white" if color == "#000000" else "black"},
            flierprops={"markersize": 3, "markeredgecolor": color},
        )  # fmt: skip
        for box in drawn["boxes"]:
            box.set(facecolor=color, edgecolor=color)
    dense = (
        scale * summary[column][(summary["round"] == 0) & (summary.lane == "ticket")]
    )
    axes.axhspan(
        dense.mean() - dense.std(), dense.mean() + dense.std(), color="0.9", zorder=0
    )
    plotting.level(axes, dense.mean(), "dense")
    percent = pruned[pruned.lane == "ticket"].groupby("round").percent.mean()
    axes.set_xticks(range(len(rounds)), [f"{value:.3g}" for value in percent])
    axes.set_xlim(-0.6, len(rounds) - 0.4)
    axes.set_xlabel("percent of weights remaining")
    axes.set_ylabel(plotting.AXIS_LABELS[column])
    axes.set_title(plotting.title(results).split(";")[0], fontsize=9)
    axes.legend(frameon=False)
    return figure


def stability(results: Results) -> Figure:
    """How far from the ticket training ends on other batches, or without pruning.

    The controls `order` and `dense`, the latter under the mask of the ticket; and of
    tickets the barrier to the network that their mask was made from. Panels are what
    there is of barriers, distances and angles.
    """
    summary = plotting.with_percent(results.summary)
    names = {
        "order": "order: other batches",
        "dense": "dense: not pruned",
        "ticket": "ticket: the round before",
    }
    unit = "points of test error" if _suffix(results) == "accuracy" else "test loss"
    quantities = {
        f"barrier on the line ({unit})": ("instability", "level_barrier"),
        "L2 distance to the ticket": ("distance",),
        "angle to the ticket (degrees)": ("angle",),
    }
    shown = {
        label: [
            (lane, column)
            for lane, column in itertools.product(names, columns)
            if plotting.has(summary[summary.lane == lane], column)
        ]
        for label, columns in quantities.items()
    }
    shown = {label: lines for label, lines in shown.items() if lines}
    figure, panels = plotting.panels(len(shown), share=False)
    handles = {}
    for (label, lines), axes in zip(shown.items(), panels, strict=True):
        scale = 100 if "points" in label else 1
        means = []
        for lane, column in lines:
            rows, look = summary[summary.lane == lane], plotting.style(lane)
            means.append(
                plotting.band(axes, rows, "percent", column, look, names[lane], scale)
            )
        plotting.fit(axes, means)
        plotting.density_axis(axes, summary.percent, 6)
        axes.set_ylabel(label)
        drawn, labels = axes.get_legend_handles_labels()
        handles |= dict(zip(labels, drawn, strict=True))
    panels[-1].legend(
        handles.values(), handles.keys(), frameon=False, fontsize=8, handlelength=3.5
    )
    figure.suptitle(plotting.title(results), fontsize=9)
    return figure


def cost(results: Results) -> Figure:
    """Test accuracy (or loss) of tickets against what they took, in dense trainings.

    Once with all the training that found a ticket, once with its own alone; as
    `analysis.cost.to_find` counts. Numbers at the ends: percent of weights remaining.
    """
    config, column = results.config, f"early_stop_test_{_suffix(results)}"
    tickets = results.summary[results.summary.lane == "ticket"]
    curves = results.curves[results.curves.lane == "ticket"]
    found = costs.to_find(
        tickets,
        curves.groupby("round").step.agg(np.ptp),
        config["train"]["batch_size"],
        config["algorithm"]["one_shot"],
        config["algorithm"].get("pretrain", True),
    ).merge(tickets[["round", "replicate", column]])
    alone = found.in_dense * found.training / (found.finding + found.training)
    scale = 100 if column.endswith("accuracy") else 1
    figure, (axes,) = plotting.panels(1)
    looks = {
        "finding and training it": (found.in_dense, plotting.KEPT, "left"),
        "training it alone": (alone, plotting.DROPPED, "right"),
    }
    sparsest = found["round"] == found["round"].max()
    for label, (work, look, side) in looks.items():
        # A ticket does not cost quite the same in every replicate.
        rows = found.assign(work=work.groupby(found["round"]).transform("mean"))
        means = plotting.band(axes, rows, "work", column, look, label, scale)
        last = rows[sparsest]
        axes.annotate(
            f"{100 * last.density.mean():.3g} %",
            (last.work.mean(), scale * last[column].mean()),
            xytext=(5 if side == "left" else -5, 0), textcoords="offset points",
            ha=side, va="center", fontsize=8,
        )  # fmt: skip
    dense = scale * found[column][found["round"] == 0].mean()
    axes.axhline(dense, label="dense network", **plotting.LEVEL)
    plotting.fit(axes, [means], 100 if scale == 100 else np.inf)
    axes.set_xscale("log")
    axes.set_xlim(alone.min() / 1.5, found.in_dense.max() * 1.5)
    plotting.plain_log(axes.xaxis)
    axes.set_xlabel("training FLOPs of kept weights, 1 = one dense training")
    axes.set_ylabel(plotting.AXIS_LABELS[column])
    axes.set_title(plotting.title(results), fontsize=9)
    axes.legend(frameon=False, handlelength=3.5)
    return figure
