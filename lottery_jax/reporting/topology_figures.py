"""Figures of sparse topologies: accuracy by topology, and against reconstruction."""

import itertools

import numpy as np
import pandas as pd
from matplotlib.figure import Figure

from lottery_jax.analysis.statistics import confidence_interval
from lottery_jax.reporting import plotting
from lottery_jax.reporting.results import Results

COLUMN = "early_stop_test_accuracy"


def of_run(results: Results) -> dict[str, Figure]:
    """The one that such runs have of their own."""
    return {"topologies": topologies(results)}


def topologies(results: Results) -> Figure:
    """Test accuracy of every topology with its 95 % interval: a column per degree.

    Upper row: sparse-aware initialisation; lower row: the control `dense_init`, where
    there is one. Regression tasks show the test loss. The level is the dense network.
    """
    summary, config = results.summary, results.config["algorithm"]
    accuracy = COLUMN in summary
    column, scale = (COLUMN, 100) if accuracy else ("early_stop_test_loss", 1)
    label = "test accuracy (%)" if accuracy else "test loss"
    dense = scale * summary[column][summary.lane == "dense"].mean()
    degrees, names = config["degrees"], config["topologies"][::-1]
    kinds = {"": "sparse init"} | (
        {"/dense_init": "dense init"} if config["dense_init"] else {}
    )
    figure, panels = plotting.panels(len(degrees), len(kinds), share=False)
    places = itertools.product(kinds.items(), enumerate(degrees, 1))
    for axes, ((suffix, kind), (number, degree)) in zip(panels, places, strict=True):
        rows, means = summary[summary["round"] == number], []
        for place, name in enumerate(names):
            values = scale * rows[column][rows.lane == name + suffix]
            if len(values):
                mean, low, high = confidence_interval(values)
                means.append(mean)
                look = plotting.style(name)
                axes.errorbar(
                    mean, place, xerr=np.nan_to_num([[mean - low], [high - mean]]),
                    color=look["color"], fmt=look["marker"], markersize=5, linewidth=1,
                )  # fmt: skip
        axes.axvline(dense, **plotting.LEVEL)
        # Means decide the range, since the interval of two replicates is very wide.
        shown = [value for value in (*means, dense) if np.isfinite(value)] or [0]
        room = max(0.35 * np.ptp(shown), 0.01 * np.abs(shown).max(), 1e-6)
        axes.set_xlim(min(shown) - room, max(shown) + room)
        axes.set_ylim(-0.5, len(names) - 0.5)
        axes.set_yticks(range(len(names)), names if number == 1 else [])
        percent = 100 * rows.density.iloc[0]
        title = f"{kind}, degree {degree}, {percent:.3g} % of the weights"
        axes.set_title(title, fontsize=9)
        if suffix == list(kinds)[-1]:
            axes.set_xlabel(label)
    about = "95 % intervals; dashes: the dense network"
    figure.suptitle(plotting.title(results, about), fontsize=9)
    return figure


def against_reconstruction(table: pd.DataFrame) -> Figure:
    """Test accuracy in percent against reconstruction error, a look per topology.

    Args:
      table: one row per point with columns lane (a topology), weights, stages, error,
        mean, low, high. Every number of weights has a panel in which there are several
        numbers of stages, and these stand beside the points.
    """
    several = table.groupby("weights").stages.nunique() > 1
    sizes = several.index[several]
    figure, panels = plotting.panels(len(sizes), share=False)
    handles = {}
    for size, axes in zip(sizes, panels, strict=True):
        for lane, rows in table[table.weights == size].groupby("lane"):
            look = plotting.style(lane)
            spread = [rows["mean"] - rows.low, rows.high - rows["mean"]]
            handles[lane] = axes.errorbar(
                rows.error, rows["mean"], yerr=spread, color=look["color"],
                fmt=look["marker"], markersize=5, linewidth=1,
            )  # fmt: skip
            for row in rows.itertuples():
                axes.annotate(
                    str(row.stages), (row.error, row.mean), xytext=(5, 3),
                    textcoords="offset points", fontsize=7, color="0.3",
                )  # fmt: skip
        axes.set_title(f"{size} weights a cascade", fontsize=9)
        axes.set_xlabel("reconstruction error")
        axes.set_ylim(table.low.min() - 1, min(100, table.high.max() + 1))
    panels[0].set_ylabel("test accuracy (%)")
    names = sorted(handles)
    panels[0].legend(
        [handles[name] for name in names], names, frameon=False, fontsize=8,
        loc="lower left",
    )  # fmt: skip
    return figure
