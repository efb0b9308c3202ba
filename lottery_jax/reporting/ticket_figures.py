"""Figures of masks and weights: what tickets keep, and what training did to it."""

import itertools

import numpy as np
import pandas as pd
from matplotlib.figure import Figure

from lottery_jax.analysis import degrees as of_units
from lottery_jax.analysis.overlap import overlap as compare
from lottery_jax.reporting import plotting
from lottery_jax.reporting.results import Results, load_masks

MOST_PAIRS = 10
"""Of replicates whose masks are compared in a round."""


def weights_by_fate(results: Results) -> Figure:
    """Weights after training against before, kept and dropped: a panel per layer.

    Of the first ticket of the last round and the training its mask was made from.
    """
    last = results.weights["round"].max()
    weights = results.weights[results.weights["round"] == last]
    layers = list(dict.fromkeys(weights.layer))
    figure, panels = plotting.panels(len(layers))
    for layer, axes in zip(layers, panels, strict=True):
        rows = weights[weights.layer == layer]
        for kept, look, marker in (
            (False, plotting.DROPPED, "x"),
            (True, plotting.KEPT, "."),
        ):
            shown = rows[rows.kept == kept]
            fate, percent = "kept" if kept else "dropped", 100 * len(shown) / len(rows)
            axes.scatter(
                shown.start, shown.final, s=8, linewidths=0.6, color=look["color"],
                marker=marker, label=f"{fate}, {percent:.0f} % of the sample",
            )  # fmt: skip
        axes.axline((0, 0), slope=1, color="0.5", linewidth=0.8, zorder=0)
        axes.set_title(layer, fontsize=9)
        axes.set_xlabel("weight before training")
        axes.legend(frameon=False, fontsize=8)
    panels[0].set_ylabel("weight after training")
    figure.suptitle(plotting.title(results, f"first ticket, round {last}"), fontsize=9)
    return figure


def initial_weights(results: Results) -> Figure:
    """How the weights before training are distributed that tickets keep, by layer.

    Of the first replicate, four rounds at most, evenly spaced, the darkest being the
    sparsest; grey: all weights before the first pruning. As in Frankle & Carbin
    (arXiv:1803.03635), app. F.
    """
    weights = results.weights[np.isfinite(results.weights.start)]
    rounds = plotting.evenly(results.weights["round"], 4)
    tickets = results.summary[results.summary.lane == "ticket"]
    percent = 100 * tickets.groupby("round").density.mean()
    layers = list(dict.fromkeys(results.weights.layer))
    figure, panels = plotting.panels(len(layers), share=False)
    for layer, axes in zip(layers, panels, strict=True):
        rows = weights[weights.layer == layer]
        dense = rows.start[rows["round"] == rounds[0]]
        kept = [rows.start[(rows["round"] == i) & rows.kept] for i in rounds]
        # Few weights take wide bins, the same for all rounds.
        num = int(np.clip(2 * np.sqrt(min(map(len, kept))), 5, 40))
        widest = 1.001 * rows.start.abs().max() if len(rows) else 1.0
        edges = np.linspace(-widest, widest, num + 1)
        axes.stairs(
            _heights(dense, edges), edges, fill=True, color="0.85", label="100 %"
        )
        looks = plotting.shades(len(rounds))
        for number, start, (color, dashes) in zip(rounds, kept, looks, strict=True):
            axes.stairs(
                _heights(start, edges), edges, color=color, linestyle=dashes,
                linewidth=1.3, label=f"{percent[number]:.3g} %",
            )  # fmt: skip
        axes.set_title(layer, fontsize=9)
        axes.set_xlabel("weight before training")
    panels[0].set_ylabel("probability density (per unit of weight)")
    _legend_beside(figure, panels[0], title="weights remaining")
    figure.suptitle(plotting.title(results, "weights of the first ticket"), fontsize=9)
    return figure


def _legend_beside(figure, axes, **options):
    """What stands on these axes, at the right of the figure."""
    shown = axes.get_legend_handles_labels()
    figure.legend(
        *shown, frameon=False, handlelength=3.5, loc="outside right center", **options
    )


def _heights(values, edges) -> np.ndarray:
    counts, _ = np.histogram(values, edges)
    return counts / (max(1, len(values)) * np.diff(edges))


def degrees(results: Results) -> Figure:
    """Kept weights into and out of units, against chance: a column per layer.

    Of the first ticket of the last round: the part of units with at most so many.
    """
    last = int(results.summary["round"].max())
    masks = load_masks(results.workdir, last)
    kernels = {name: leaf[0] for name, leaf in masks.items() if leaf.ndim > 2}
    figure, panels = plotting.panels(len(kernels), 2, width=2.8, share=False)
    sides = {"into a unit": of_units.incoming, "out of an input": of_units.outgoing}
    places = itertools.product(sides.items(), kernels.items())
    for axes, ((side, count), (layer, kernel)) in zip(panels, places, strict=True):
        counts = count(kernel)
        size, kept, units = kernel.size, int(kernel.sum()), len(counts)
        mean, variance = of_units.chance(size, kept, units)
        at = np.arange(int(max(counts.max(), mean + 3 * np.sqrt(variance))) + 2)
        by_chance = np.cumsum(of_units.probability(at, size, kept, units))
        axes.step(
            at, 100 * by_chance, where="post", color="0.55", linestyle="--",
            linewidth=2, label="by chance",
        )  # fmt: skip
        part = np.searchsorted(np.sort(counts), at, side="right") / units
        axes.step(at, 100 * part, where="post", color="black", label="ticket")
        ratio = of_units.unevenness(counts, size)
        found = f"variance {ratio:.2g} x that of chance" if ratio >= 0 else "no choice"
        axes.set_xlabel(f"weights {side}\n{found}")
        plotting.whole_numbers(axes.xaxis)
        axes.set_ylim(-4, 104)
        if side == "into a unit":
            axes.set_title(f"{layer}, {100 * kept / size:.3g} %", fontsize=9)
    for axes, whose in zip(panels[:: len(kernels)], ("units", "inputs"), strict=True):
        axes.set_ylabel(f"{whose} with at most so many (%)")
    panels[0].legend(frameon=False, fontsize=8)
    figure.suptitle(plotting.title(results, f"first ticket, round {last}"), fontsize=9)
    return figure


def layers(results: Results) -> Figure:
    """What a ticket is made of, against percent of weights remaining, in four panels.

    The density of each layer (one that collapses falls), the part of kept weights from
    which a path leads to an output, and in each layer the parts of units without
    incoming and of inputs without outgoing weights.
    """
    summary = plotting.with_percent(results.summary)
    percent = summary[summary.lane == "ticket"].groupby("round").percent.first()
    parts = []
    for number in percent.index:
        masks = load_masks(results.workdir, number)
        for replicate in range(len(next(iter(masks.values())))):
            one = of_units.by_layer({name: x[replicate] for name, x in masks.items()})
            parts.append(one.assign(replicate=replicate, percent=percent[number]))
    table = pd.concat(parts, ignore_index=True)
    figure, (density, effective, *dead) = plotting.panels(2, 2, 4.4, share=False)
    columns = {
        "density": (density, "density of the layer (%)"),
        "no_incoming": (dead[0], "units without incoming weights (%)"),
        "no_outgoing": (dead[1], "inputs without outgoing weights (%)"),
    }
    for column, (axes, label) in columns.items():
        means = [
            plotting.band(
                axes, rows, "percent", column, plotting.layer_style(place), layer, 100
            )
            for place, (layer, rows) in enumerate(table.groupby("layer", sort=False))
        ]
        top = max(1.1 * np.max(means), 5)
        axes.set_ylim(-0.03 * top, top)
        axes.set_ylabel(label)
    density.set_yscale("log", nonpositive="clip")
    density.set_ylim(80 * table.density[table.density > 0].min(), 130)
    plotting.plain_log(density.yaxis)
    summary = summary.assign(effective=summary.live_weights / summary.kept)
    lanes = ("ticket", "random", "shuffle", "gradual")  # the others have its mask
    means = [
        plotting.band(
            effective, rows, "percent", "effective", plotting.style(lane), lane, 100
        )
        for lane, rows in summary.groupby("lane", sort=False)
        if lane in lanes
    ]
    plotting.fit(effective, means, 100.2)
    effective.set_ylabel("kept weights with a path\nto an output (%)")
    for axes in (density, effective, *dead):
        plotting.density_axis(axes, percent, 6)
    for axes, what in ((density, "layer, here and below"), (effective, "lane")):
        axes.legend(frameon=False, fontsize=8, handlelength=3.5, title=what)
    figure.suptitle(plotting.title(results), fontsize=9)
    return figure


def movement(results: Results) -> Figure:
    """How far training moved what a ticket keeps and drops, and which part outwards.

    In the training that its mask was made from.
    """
    summary = plotting.with_percent(results.summary)
    rows = summary[(summary.lane == "ticket") & (summary["round"] > 0)]
    figure, panels = plotting.panels(2, width=4.2, share=False)
    for quantity, axes in zip(("movement", "outward"), panels, strict=True):
        scale = 100 if quantity == "outward" else 1
        means = [
            plotting.band(
                axes, rows, "percent", f"{fate}_{quantity}", look, fate, scale
            )
            for fate, look in (("kept", plotting.KEPT), ("dropped", plotting.DROPPED))
        ]
        plotting.fit(axes, means, 100 if scale == 100 else np.inf)
        plotting.density_axis(axes, rows.percent, 6)
    panels[0].set_ylabel("mean distance moved |w_f - w_i|")
    panels[1].set_ylabel("moved away from zero (%)")
    panels[1].legend(frameon=False, handlelength=3.5)
    figure.suptitle(plotting.title(results), fontsize=9)
    return figure


def overlap(results: Results) -> Figure:
    """What masks of two replicates share, against percent of weights remaining.

    Left the Jaccard index and what chance gives, right how far every layer is beyond
    chance: means of ten pairs at most. The band is no interval: pairs are not
    independent.
    """
    summary = plotting.with_percent(results.summary)
    percent = summary[summary.lane == "ticket"].groupby("round").percent.first()
    found = []
    for number in percent.index:
        masks = load_masks(results.workdir, number)
        replicates = range(len(next(iter(masks.values()))))
        pairs = list(itertools.combinations(replicates, 2))
        pairs = pairs[:: -(-len(pairs) // MOST_PAIRS)]
        for pair, layer in itertools.product(pairs, ("all", *masks)):
            names = masks if layer == "all" else [layer]
            pair = compare(*({name: masks[name][i] for name in names} for i in pair))
            found.append((percent[number], layer, pair.jaccard, pair.chance, pair.z))
    columns = ["percent", "layer", "jaccard", "chance", "z"]
    table = pd.DataFrame(found, columns=columns)
    means = table.groupby(["layer", "percent"]).agg(["mean", "min", "max"])
    figure, (whole, by_layer) = plotting.panels(2, width=5.0, share=False)
    every = means.loc["all"]
    for column, label, look in (
        ("jaccard", "two replicates", plotting.KEPT),
        ("chance", "by chance", plotting.DROPPED | {"color": "0.5"}),
    ):
        whole.plot(every[column, "mean"], label=label, markersize=4, **look)
    low, high = every["jaccard", "min"], every["jaccard", "max"]
    whole.fill_between(every.index, low, high, alpha=0.18, color="0", linewidth=0)
    for place, layer in enumerate(masks):
        beyond = means.loc[layer]["z", "mean"]
        look = plotting.layer_style(place)
        by_layer.plot(beyond, label=layer, markersize=4, **look)
    by_layer.axhline(2, label="chance, 19 of 20 pairs", **plotting.LEVEL)
    by_layer.axhline(-2, **plotting.LEVEL)
    whole.set_yscale("log", nonpositive="clip")
    plotting.plain_log(whole.yaxis)
    whole.set_ylabel("shared by both masks / kept by either (Jaccard)")
    by_layer.set_ylabel("shared beyond chance (standard deviations)")
    for axes in (whole, by_layer):
        plotting.density_axis(axes, percent, 6)
    whole.legend(frameon=False, handlelength=3.5)
    _legend_beside(figure, by_layer)
    about = f"band: least to most of {len(pairs)}" if len(pairs) > 1 else "one"
    about += f" pair{'s' if len(pairs) > 1 else ''}"
    figure.suptitle(plotting.title(results, about), fontsize=9)
    return figure
