"""Figures of the algorithm `sample_complexity`: who succeeds, and why."""

import numpy as np
from matplotlib.figure import Figure

from lottery_jax.analysis import sample_complexity
from lottery_jax.reporting import plotting
from lottery_jax.reporting.results import Results

BOUNDARY = {"color": "#D55E00", "linestyle": "--", "linewidth": 1.2}
TEACHER = {"color": "#0072B2", "linestyle": ":", "linewidth": 1.5}


def of_run(results: Results) -> dict[str, Figure]:
    """Name -> figure: all that there are of such a run; two compare sample sizes."""
    draws = [steps_to_success]
    if results.summary.samples.nunique() > 1:
        draws += [phase_diagram, least_eigenvalue]
    return {function.__name__: function(results) for function in draws}


def phase_diagram(results: Results) -> Figure:
    """Samples against kept weights, a panel per kind of lane; dark where all succeed.

    A line of marks is N*, where half of the replicates succeed. The dashed line is as
    many samples as the mask keeps weights; the dotted one, of `over_wide`, as many as
    its teacher has.
    """
    summary = results.summary
    found = sample_complexity.success_probability(summary)
    limits = sample_complexity.thresholds(summary)
    lanes = list(dict.fromkeys(summary.lane))
    taught = _width(results) * results.config["algorithm"]["support"]
    figure, panels = plotting.panels(len(lanes))
    for lane, axes in zip(lanes, panels, strict=True):
        cells, own = (table[table.lane == lane] for table in (found, limits))
        drawn = axes.scatter(
            cells.kept, cells.samples, c=cells.probability, cmap="Greys", marker="s",
            vmin=0, vmax=1, s=90, edgecolors="0.6", linewidths=0.5,
        )  # fmt: skip
        kept = np.array([cells.kept.min(), cells.kept.max()])
        axes.plot(kept, kept, label="N = kept weights of the mask", **BOUNDARY)
        if lane == "over_wide":
            label = "N = weights of the teacher"
            axes.plot(kept, 0 * kept + taught, label=label, **TEACHER)
        look = {"color": BOUNDARY["color"], "marker": "o", "linestyle": "-"}
        axes.plot(own.kept, own.threshold, label="N* (half succeed)", **look)
        axes.set_title(lane, fontsize=9)
        axes.set_xlabel("kept weights of the mask (K r)")
    panels[0].set_xscale("log")
    panels[0].set_yscale("log")
    low, high = min(taught, found.samples.min()), found.samples.max()
    panels[0].set_ylim(low / 1.3, high * 1.4)
    panels[0].set_xlim(found.kept.min() / 1.3, found.kept.max() * 1.3)
    for axis in (panels[0].xaxis, panels[0].yaxis):
        plotting.plain_log(axis)
    panels[0].set_ylabel("samples N")
    figure.colorbar(drawn, ax=panels, label="probability of success")
    figure.legend(
        *panels[-1].get_legend_handles_labels(),
        loc="outside lower center", ncols=3, frameon=False, fontsize=8,
    )  # fmt: skip
    figure.suptitle(plotting.title(results, "dark: success"), fontsize=9)
    return figure


def least_eigenvalue(results: Results) -> Figure:
    """K^2 times that of the Gauss-Newton matrix at the teacher, against samples.

    A line per round; the darkest keeps the most weights. Bands are over replicates.
    """
    summary = results.summary
    scale = _width(results) ** 2
    lanes = list(dict.fromkeys(summary.lane))
    figure, panels = plotting.panels(len(lanes))
    rounds = plotting.evenly(summary["round"], 6)
    for lane, axes in zip(lanes, panels, strict=True):
        looks = plotting.shades(len(rounds))
        for number, (color, dashes) in zip(rounds, looks, strict=True):
            rows = summary[(summary["round"] == number) & (summary.lane == lane)]
            look = {"color": color, "linestyle": dashes, "marker": "."}
            label = f"{rows.kept.iloc[0]}"
            plotting.band(axes, rows, "samples", "least_eigenvalue", look, label, scale)
        axes.set_title(lane, fontsize=9)
        axes.set_xlabel("samples N")
    panels[0].set_ylim(bottom=0)
    panels[0].set_ylabel("least eigenvalue x K^2")
    figure.legend(
        *panels[0].get_legend_handles_labels(),
        loc="outside right center", frameon=False, title="kept weights",
    )  # fmt: skip
    figure.suptitle(plotting.title(results), fontsize=9)
    return figure


def steps_to_success(results: Results) -> Figure:
    """Median steps to success against kept weights, with the most samples there are.

    A replicate that has none counts as longer than all; a median of those is not drawn.
    """
    summary = results.summary
    most = summary[summary.samples == summary.samples.max()]
    figure, (axes,) = plotting.panels(1)
    for lane, rows in most.groupby("lane", sort=False):
        steps = rows.steps_to_success.fillna(np.inf).groupby(rows.kept).median()
        look = plotting.style(lane)
        axes.plot(steps.index, steps.replace(np.inf, np.nan), label=lane, **look)
    if np.isinf(most.steps_to_success.fillna(np.inf)).all():
        axes.text(0.5, 0.5, "nobody succeeded", transform=axes.transAxes, ha="center")
        axes.set_yticks([])
    axes.set_xlim(0.9 * most.kept.min(), 1.1 * most.kept.max())
    axes.margins(y=0.1)
    axes.set_ylim(bottom=0)
    axes.set_xlabel("kept weights of the mask (K r)")
    axes.set_ylabel(f"median steps to success, {summary.samples.max()} samples")
    axes.set_title(plotting.title(results, "medians"), fontsize=9)
    axes.legend(frameon=False, handlelength=3.5)
    return figure


def _width(results: Results) -> int:
    (width,) = results.config["model"]["hidden"]
    return width
