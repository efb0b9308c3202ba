"""Figures of a run, PNG and PDF: colour-blind safe, and told apart in grey.

Each lane has its own look: colour (Okabe and Ito's palette), marker, dashes. Bands are
95 % confidence intervals over replicates; several draws of one control are averaged
within their replicate first, since they are not independent of each other.
"""

from pathlib import Path

import matplotlib
import numpy as np
import pandas as pd
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter

from lottery_jax.analysis.statistics import confidence_interval
from lottery_jax.reporting.results import Results, new_folder
from lottery_jax.tickets import CONTROLS

STYLES = {
    "ticket": {"color": "#000000", "marker": "o", "linestyle": "-"},
    "reinit": {"color": "#D55E00", "marker": "s", "linestyle": "--"},
    "random": {"color": "#0072B2", "marker": "^", "linestyle": "-."},
    "shuffle": {"color": "#009E73", "marker": "D", "linestyle": ":"},
}

COLORS = ("#CC79A7", "#E69F00", "#56B4E9", "#D55E00", "#0072B2", "#009E73", "#000000")
MARKERS = ("v", "P", "X", "<", ">", "*", "p", "h", "d", "8", "H", "1", "2")


def style(lane: str) -> dict:
    """Of a lane, the same in every figure; what keeps signs is dotted and hollow."""
    if lane in STYLES:
        return STYLES[lane]
    base = lane.removesuffix("_signed")
    others = sorted({name.removesuffix("_signed") for name in CONTROLS} | {base})
    place = others.index(base)
    chosen = STYLES.get(base) or {
        "color": COLORS[place % len(COLORS)],
        "marker": MARKERS[place % len(MARKERS)],
        "linestyle": (0, (5, 1, 1, 1)),
    }
    if lane == base:
        return chosen
    return chosen | {"linestyle": ":", "markerfacecolor": "white"}


DASHES = ("-", "--", "-.", ":", (0, (5, 1, 1, 1)), (0, (1, 2)))

AXIS_LABELS = {
    "early_stop_test_accuracy": "test accuracy at early stop (%)",
    "early_stop_test_loss": "test loss at early stop",
    "test_accuracy": "test accuracy at the end of training (%)",
    "test_loss": "test loss at the end of training",
    "early_stop_step": "early-stop step (optimizer steps)",
}

SIZE = (6.4, 4.2)  # inches


def draw(results: Results) -> list[Path]:
    """Draws all figures of a run into its folder `figures`; returns the PNGs."""
    suffix = "accuracy" if "test_accuracy" in results.summary else "loss"
    figures = {
        f"test_{suffix}": against_density(results, f"early_stop_test_{suffix}"),
        f"test_{suffix}_at_end": against_density(results, f"test_{suffix}"),
        "early_stop_step": against_density(results, "early_stop_step"),
        "validation_loss": validation_curves(results),
    }
    if len(results.weights):
        figures["weights"] = weights_by_fate(results)
    with new_folder(results.workdir, "figures") as folder:
        for name, figure in figures.items():
            figure.savefig(folder / f"{name}.png", dpi=150)
            figure.savefig(folder / f"{name}.pdf", metadata={"CreationDate": None})
    return [results.workdir / "figures" / f"{name}.png" for name in figures]


def against_density(results: Results, column: str) -> Figure:
    """A column of the summary against percent of weights remaining, log axis, falling.

    One line and one band per lane. The dashed level is the dense network.
    """
    summary = results.summary
    # A learned mask is not as dense as that of another replicate.
    density = summary.groupby(["lane", "round"]).density.transform("mean")
    summary = summary.assign(density=density)
    scale = 100 if column.endswith("accuracy") else 1
    figure, (axes,) = _panels(1)
    for lane, rows in summary.groupby("lane", sort=False):
        look = style(lane)
        density, mean, low, high = _bands(rows, "density", column)
        axes.plot(100 * density, scale * mean, label=lane, markersize=4, **look)
        axes.fill_between(
            100 * density,
            scale * low,
            scale * high,
            alpha=0.18,
            color=look["color"],
            linewidth=0,
        )
    dense = summary[(summary.lane == "ticket") & (summary.density == 1)]
    _level(axes, scale * dense[column].mean(), "dense")
    if column == "early_stop_step":
        steps = results.config["train"]["steps"]
        _level(axes, steps, "end of training (censored)", above=True)
    _fit(axes, results, column)
    _density_axis(axes, 100 * summary.density.unique())
    axes.set_ylabel(AXIS_LABELS.get(column, column))
    axes.set_title(_title(results), fontsize=9)
    axes.legend(frameon=False, handlelength=3.5)
    return figure


def validation_curves(results: Results) -> Figure:
    """Validation loss against the step: a panel per lane, a line per round shown.

    At most six rounds are drawn, evenly spaced, the darkest being the sparsest.
    """
    curves = results.curves
    rounds = np.unique(curves["round"])
    rounds = rounds[np.unique(np.linspace(0, len(rounds) - 1, 6).round().astype(int))]
    density = results.summary.groupby("round").density.first()
    colors = matplotlib.colormaps["viridis_r"](np.linspace(0.15, 1, len(rounds)))
    lanes = list(dict.fromkeys(curves.lane))
    figure, panels = _panels(len(lanes))
    means = []
    for lane, axes in zip(lanes, panels, strict=True):
        for number, color, dashes in zip(rounds, colors, DASHES, strict=False):
            rows = curves[(curves["round"] == number) & (curves.lane == lane)]
            step, mean, low, high = _bands(rows, "step", "validation_loss")
            label = f"{100 * density[number]:.3g} %"
            axes.plot(step, mean, color=color, linestyle=dashes, label=label)
            axes.fill_between(step, low, high, alpha=0.18, color=color, linewidth=0)
            means.append(mean)
        axes.set_title(lane, fontsize=9)
        axes.set_xlabel("optimizer steps")
    shown = np.concatenate(means)
    shown = shown[np.isfinite(shown) & (shown > 0)]
    if len(shown):
        panels[0].set_yscale("log")
        panels[0].set_ylim(shown.min() / 1.4, shown.max() * 1.4)
    panels[0].set_ylabel("validation loss")
    panels[-1].legend(frameon=False, handlelength=3.5, title="weights remaining")
    figure.suptitle(_title(results), fontsize=9)
    return figure


def weights_by_fate(results: Results) -> Figure:
    """Weights after training against before, kept and dropped: a panel per layer.

    Of the first ticket of the last round and the training its mask was made from.
    """
    last = results.weights["round"].max()
    weights = results.weights[results.weights["round"] == last]
    layers = list(dict.fromkeys(weights.layer))
    figure, panels = _panels(len(layers))
    for layer, axes in zip(layers, panels, strict=True):
        rows = weights[weights.layer == layer]
        for kept, color, marker in ((False, "#E69F00", "x"), (True, "#000000", ".")):
            shown = rows[rows.kept == kept]
            fate, percent = "kept" if kept else "dropped", 100 * len(shown) / len(rows)
            axes.scatter(
                shown.start, shown.final, s=8, linewidths=0.6, color=color,
                marker=marker, label=f"{fate}, {percent:.0f} % of what was left",
            )  # fmt: skip
        axes.axline((0, 0), slope=1, color="0.5", linewidth=0.8, zorder=0)
        axes.set_title(layer, fontsize=9)
        axes.set_xlabel("weight before training")
        axes.legend(frameon=False, fontsize=8)
    panels[0].set_ylabel("weight after training")
    figure.suptitle(f"{_title(results).split(';')[0]}, round {last}", fontsize=9)
    return figure


def _panels(num: int):
    """A figure with `num` panels side by side that share their axes."""
    size = (max(SIZE[0], 3.4 * num), SIZE[1])
    figure = Figure(figsize=size, layout="constrained")
    panels = figure.subplots(1, num, sharex=True, sharey=True, squeeze=False)[0]
    for axes in panels:
        axes.spines[["top", "right"]].set_visible(False)
        axes.grid(alpha=0.25, linewidth=0.6)
    return figure, panels


def _level(axes, level: float, name: str, above: bool = False):
    if not np.isfinite(level):
        return
    axes.axhline(level, color="0.5", linewidth=0.8, linestyle=(0, (6, 4)), zorder=0)
    axes.text(
        *(0.995, level, name),
        transform=axes.get_yaxis_transform(),
        ha="right",
        va="bottom" if above else "top",
        color="0.4",
        fontsize=8,
    )


def _fit(axes, results: Results, column: str):
    """The means decide the range, since the band of two replicates is very wide.

    Nothing is shown where nothing can be: beyond 100 %, below zero.
    """
    scale = 100 if column.endswith("accuracy") else 1
    means = scale * results.summary.groupby(["lane", "round"])[column].mean()
    means = means[np.isfinite(means)]
    if means.empty:
        return
    # A level curve has room too, or its ticks would take all of the figure.
    room = max(0.35 * (means.max() - means.min()), 0.01 * means.abs().max(), 1e-6)
    top = means.max() + room
    if scale == 100:
        top = min(top, 100)
    elif column == "early_stop_step":
        top = 1.08 * results.config["train"]["steps"]
    axes.set_ylim(max(means.min() - room, 0), top)


def _bands(rows: pd.DataFrame, x: str, y: str):
    """x with mean, low and high of y over replicates, each [number of x]."""
    # NumPy's mean and not pandas': a lane that diverged must not vanish from it.
    draws = rows.groupby([x, "replicate"])[y]
    values = draws.agg(lambda several: np.mean(several.to_numpy()))
    bands = {at: confidence_interval(group) for at, group in values.groupby(x)}
    return np.array(list(bands)), *np.array(list(bands.values())).T


def _density_axis(axes, percents):
    """Ticks stand at densities that were measured, at most eight of them."""
    axes.set_xscale("log")
    axes.set_xlim(max(percents) * 1.08, min(percents) / 1.08)
    axes.set_xticks(percents[:: -(-len(percents) // 8)])
    axes.set_xticks([], minor=True)
    axes.xaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:.3g}"))
    axes.set_xlabel("percent of weights remaining")


def _title(results: Results) -> str:
    config = results.config
    replicates = config["replicates"]
    band = "; bands: 95 % confidence" if replicates > 1 else ""
    return (
        f"{config['model']['name']} on {config['data']['name']}, "
        f"{config['train']['optimizer']}, {replicates} "
        f"replicate{'s' if replicates > 1 else ''}{band}"
    )
