"""Figures of conservation laws and of layer collapse (Tanaka et al., arXiv:2006.05467).

They are drawn from tables of `analysis.conservation` and `analysis.collapse`, since
these laws are about networks before any run.
"""

import itertools
from collections.abc import Mapping, Sequence

import numpy as np
import pandas as pd
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from lottery_jax.analysis import conservation
from lottery_jax.reporting import plotting
from lottery_jax.types import Scores


def unit_flows(scores: Mapping[str, Scores], layers: Sequence[str]) -> Figure:
    """Scores out of every hidden unit against those into it: a panel per network.

    Args:
      scores: title of the panel -> saliencies {layer: {"kernel", "bias"}}.
      layers: names in the order of the network, the output layer last.
    """
    figure, panels = plotting.panels(len(scores), share=False)
    for (name, each), axes in zip(scores.items(), panels, strict=True):
        flows = conservation.unit_flows(each, layers)
        for place, (layer, (incoming, outgoing)) in enumerate(
            zip(layers, flows, strict=False)
        ):
            look = plotting.layer_style(place)
            axes.scatter(
                incoming, outgoing, s=14, linewidths=0.6, color=look["color"],
                marker=("o", "x", "^", "+")[place % 4], label=layer,
            )  # fmt: skip
        axes.axline((0, 0), slope=1, color="0.5", linewidth=0.8, zorder=0)
        error = max(conservation.law_errors(each, layers).values())
        axes.set_title(f"{name}\nlargest difference {error:.2g}", fontsize=9)
        axes.set_xlabel("scores into the unit, summed")
        for axis in (axes.xaxis, axes.yaxis):
            axis.set_major_locator(MaxNLocator(5))
            axis.set_major_formatter(plotting.PLAIN)
    panels[0].set_ylabel("scores out of the unit, summed")
    panels[0].legend(frameon=False, fontsize=8)
    figure.suptitle(
        "differences are parts of the largest flow; grey: in = out", fontsize=9
    )
    return figure


def layer_means(
    totals: Mapping[str, Mapping[str, float]], sizes: Mapping[str, int]
) -> Figure:
    """Mean score of a layer against one over its size, both axes logarithmic.

    Scores are divided by their sum over all layers; conserved ones have slope 1.

    Args:
      totals: score -> layer -> sum of its scores, all of one sign.
      sizes: layer -> weights.
    """
    figure, (axes,) = plotting.panels(1)
    inverse = np.array([1 / sizes[layer] for layer in sizes])
    order = np.argsort(inverse)
    for place, (score, by_layer) in enumerate(totals.items()):
        share = np.array([by_layer[layer] for layer in sizes]) / sum(by_layer.values())
        slope = np.polyfit(np.log(inverse), np.log(share * inverse), 1)[0]
        look = plotting.layer_style(place)
        axes.plot(
            inverse[order], (share * inverse)[order], markersize=5,
            label=f"{score}: slope {round(slope, 2) + 0:.2f}", **look,  # no -0.00
        )  # fmt: skip
    ends = inverse[order][[0, -1]]
    axes.plot(ends, ends / len(sizes), color="0.75", linewidth=4, zorder=0,
              label="conserved: slope 1")  # fmt: skip
    axes.set_xscale("log")
    axes.set_yscale("log")
    axes.set_xlabel("one over the weights of the layer")
    axes.set_ylabel("mean score of the layer (of the sum of all)")
    axes.legend(frameon=False, fontsize=8, handlelength=3.5)
    return figure


def _name(score: str, iterations: int, path: str) -> str:
    times = f"{iterations} iteration{'s' if iterations > 1 else ''}"
    return f"{score}, {times}" + (", linear" if path == "linear" else "")


def collapse_curves(
    table: pd.DataFrame, layers: Sequence[str], maximum: float
) -> Figure:
    """Weights kept in each layer against compression: a panel per method.

    A line ends where its layer is empty in any replicate.

    Args:
      table: of `collapse.curves`.
      layers: its columns of layers.
      maximum: the maximal compression, the dashed line.
    """
    methods = list(table.groupby(["score", "iterations", "path"], sort=False))
    columns = min(4, len(methods))
    rows = -(-len(methods) // columns)
    figure, panels = plotting.panels(columns, rows, width=3.0)
    for axes in panels[len(methods) :]:
        axes.set_axis_off()
    for (method, found), axes in zip(methods, panels, strict=False):
        kept = found.groupby("compression")[list(layers)]
        lost = found[found["empty"] > 0].compression
        for place, layer in enumerate(layers):
            # A layer that is empty in some replicate ends its line: log axes have no 0.
            shown = kept.mean()[layer].where(kept.min()[layer] > 0)
            look = plotting.layer_style(place)
            label = layer.removesuffix("/kernel")
            axes.plot(shown, markersize=3, label=label, **look)
        if len(lost):
            first = lost.min()
            axes.axvline(first, color="#D55E00", linewidth=1.2)
            axes.text(
                *(first, 0.98, f"{first:,.0f} "), color="#D55E00", fontsize=8,
                ha="right", va="top", transform=axes.get_xaxis_transform(),
            )  # fmt: skip
        axes.axvline(maximum, **plotting.LEVEL)
        axes.set_xscale("log")
        axes.set_yscale("log")
        axes.set_title(_name(*method), fontsize=9)
    for axes in panels[-columns:]:
        axes.set_xlabel("compression")
    for axes in panels[::columns]:
        axes.set_ylabel("weights kept")
    panels[0].legend(frameon=False, fontsize=8, loc="lower left")
    figure.suptitle(
        "red: the first compression that empties a layer in any replicate; "
        f"grey: the maximal compression, {maximum:,.0f}",
        fontsize=9,
    )
    return figure


def flow_ratios(tables: Mapping[str, pd.DataFrame]) -> Figure:
    """The largest flow ratio of an iteration against iterations.

    A row of panels per network, a column per path, a line per exponent.

    Args:
      tables: name of the network -> table of `collapse.curves` for one score, whose
        means over replicates are drawn.
    """
    paths = list(dict.fromkeys(next(iter(tables.values())).path))
    figure, panels = plotting.panels(len(paths), len(tables), width=4.2)
    places = itertools.product(tables.items(), paths)
    for ((network, table), path), axes in zip(places, panels, strict=True):
        rows = table[table.path == path]
        for place, (exponent, found) in enumerate(rows.groupby("exponent")):
            label = f"compression $10^{{{exponent:g}}}$"
            look = plotting.layer_style(place)
            means = found.groupby("iterations").flow_ratio.mean()
            axes.plot(means, label=label, markersize=4, **look)
        axes.axhline(1, label="below: no layer can be emptied", **plotting.LEVEL)
        axes.set_xscale("log")
        axes.set_yscale("log")
        for axis in (axes.xaxis, axes.yaxis):
            plotting.plain_log(axis)
        axes.set_title(f"{network}, {path} path", fontsize=9)
    for axes in panels[-len(paths) :]:
        axes.set_xlabel("iterations")
    figure.supylabel("most flow pruned in an iteration (of R)", fontsize=10)
    panels[0].legend(frameon=False, fontsize=8, handlelength=3.5)
    return figure
