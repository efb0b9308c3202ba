"""Figures of runs that compare methods: what they recover, what they depend on."""

import numpy as np
from matplotlib.figure import Figure
from matplotlib.ticker import NullLocator

from lottery_jax.analysis import sanity
from lottery_jax.reporting import mask_learning_figures, plotting
from lottery_jax.reporting.results import Results

MARKS = {
    sanity.DEPENDS: {"marker": "o", "color": "#D55E00"},
    sanity.INDEPENDENT: {"marker": "s", "color": "#0072B2"},
    sanity.BETTER: {"marker": "D", "color": "#009E73"},
    sanity.UNDERPOWERED: {"marker": "o", "color": "0.6", "markerfacecolor": "white"},
}


def of_run(results: Results) -> dict[str, Figure]:
    """All that there are numbers for."""
    found = {}
    if plotting.has(results.summary, "recall"):
        found["recovery"] = recovery(results)
    if results.summary.lane.str.contains("/").any():
        found["checks"] = checks(results)
    return found | mask_learning_figures.of_run(results)


def recovery(results: Results) -> Figure:
    """Recall and precision of what was planted, and masks untrained, by method.

    Dashed: what a random mask gives. The star is what was planted.
    """
    summary = plotting.with_percent(results.summary)
    tickets = summary[~summary.lane.str.contains("/") & (summary["round"] > 0)]
    truth = summary[summary.lane == "planted"]
    suffix = "accuracy" if "test_accuracy" in summary else "loss"
    scale = 100 if suffix == "accuracy" else 1
    shown = {
        "recall": "part of the planted ticket that is kept",
        "precision": "part of what is kept that was planted",
        f"untrained_rescaled_test_{suffix}": f"test {suffix} of the untrained mask"
        + (" (%)" if scale == 100 else ", outputs rescaled"),
    }
    figure, panels = plotting.panels(3, share=False)
    for (column, label), axes in zip(shown.items(), panels, strict=True):
        unit = scale if column.startswith("untrained") else 1
        for lane, rows in tickets.groupby("lane", sort=False):
            look = plotting.style(lane)
            plotting.band(axes, rows, "percent", column, look, lane, scale=unit)
        axes.plot(
            truth.percent.mean(), unit * truth[column].mean(),
            "*", color="#D55E00", markersize=11, label="planted", clip_on=False,
        )  # fmt: skip
        plotting.density_axis(axes, [*tickets.percent, *truth.percent], 6)
        axes.set_ylabel(label)
    percent = np.unique(tickets.percent)
    panels[0].plot(percent, percent / 100, **plotting.LEVEL, label="random masks")
    panels[0].set_ylim(-0.02, 1.05)
    panels[1].axhline(
        truth.kept.mean() / results.ladder[0]["all"], label="random masks",
        **plotting.LEVEL,
    )  # fmt: skip
    panels[1].set_yscale("symlog", linthresh=1e-3)
    panels[1].set_ylim(0, 1.2)
    panels[1].yaxis.set_major_formatter(plotting.PLAIN)
    if scale == 1:
        panels[2].set_yscale("log")
    else:
        panels[2].set_ylim(0, 101)
    figure.legend(
        *panels[0].get_legend_handles_labels(),
        loc="outside right center", frameon=False, handlelength=3.5, fontsize=8,
    )  # fmt: skip
    figure.suptitle(plotting.title(results), fontsize=9)
    return figure


def checks(results: Results) -> Figure:
    """What tickets lose by every check: a panel per check, a row per method.

    Within a row the densities from the largest down; bars are 95 % intervals.
    """
    rows = sanity.table(results.summary)
    unit = "percentage points" if "accuracy" in rows else "test loss"
    methods = list(dict.fromkeys(rows.method))[::-1]
    names, rounds = list(dict.fromkeys(rows.check)), np.unique(rows["round"])
    figure, panels = plotting.panels(len(names), width=2.4)
    figure.set_figheight(max(3.2, 0.55 * len(methods) + 1.6))
    for name, axes in zip(names, panels, strict=True):
        for verdict, look in MARKS.items():
            own = rows[(rows.check == name) & (rows.verdict == verdict)]
            place = np.searchsorted(rounds, own["round"]) / len(rounds)
            height = np.array([methods.index(method) for method in own.method])
            height = height + 0.35 - 0.9 * place
            axes.errorbar(
                own.difference, height,
                xerr=(own.difference - own.low, own.high - own.difference),
                linestyle="", markersize=4, elinewidth=1, label=verdict, **look,
            )  # fmt: skip
        axes.axvline(0, color="0.3", linewidth=0.8)
        axes.set_title(name, fontsize=9)
        axes.set_xlabel(unit, fontsize=8)
    panels[0].set_yticks(range(len(methods)), methods)
    if unit == "percentage points":  # near 0 they matter as much as far away
        panels[0].set_xscale("symlog", linthresh=1)
        panels[0].set_xlim(-130, 130)
        panels[0].set_xticks([-30, -3, 0, 3, 30])
        panels[0].xaxis.set_major_formatter(plotting.PLAIN)
        panels[0].xaxis.set_minor_locator(NullLocator())
    figure.legend(
        *panels[0].get_legend_handles_labels(),
        loc="outside right center", frameon=False, fontsize=8,
    )  # fmt: skip
    figure.suptitle(f"{plotting.title(results, 'what tickets lose')}", fontsize=9)
    return figure
