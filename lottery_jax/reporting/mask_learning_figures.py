"""Figures of learned masks: the search step by step, and what training adds to them."""

import numpy as np
from matplotlib.figure import Figure

from lottery_jax.reporting import plotting
from lottery_jax.reporting.results import Results

MOST = 4
"""Rounds that are drawn, evenly spaced."""


def of_run(results: Results) -> dict[str, Figure]:
    """Name -> figure, where scores were learned."""
    if "used_density" not in results.search:
        return {}
    return {"search": search(results), "untrained": untrained(results)}


def search(results: Results) -> Figure:
    """Validation accuracy (or loss) and density by step: a column for each round.

    Of the mask that the search uses at that step. Thin lines are what a mask may still
    have: gem_miner rounds its scores, and uses less than is not frozen yet.
    """
    table = results.search
    suffix = "accuracy" if "test_accuracy" in results.summary else "loss"
    scale = 100 if suffix == "accuracy" else 1
    rounds = plotting.evenly(table["round"], MOST)
    figure, panels = plotting.panels(len(rounds), 2, share=False)
    top, bottom = panels[: len(rounds)], panels[len(rounds) :]
    means, handles = [], {}
    for number, above, below in zip(rounds, top, bottom, strict=True):
        own = table[table["round"] == number]
        for lane, rows in own.groupby("lane", sort=False):
            look = curve(lane)
            column = f"validation_{suffix}"
            means.append(
                plotting.band(above, rows, "step", column, look, lane, scale=scale)
            )
            plotting.band(below, rows, "step", "used_density", look, scale=100)
            if (rows.used_density < 0.99 * rows.density).any():
                thin = look | {"linewidth": 0.7}
                plotting.band(below, rows, "step", "density", thin, scale=100)
        above.set_title(f"to {100 * density(results, number):.3g} %", fontsize=9)
        below.set_yscale("log")
        below.set_ylim(80 * own.density.min(), 120)
        plotting.plain_log(below.yaxis)
        below.set_xlabel("steps of the search")
        drawn, labels = above.get_legend_handles_labels()
        handles |= dict(zip(labels, drawn, strict=True))
    for axes in top:
        plotting.fit(axes, means, 100 if scale == 100 else np.inf)
    unit = " (%)" if scale == 100 else ""
    top[0].set_ylabel(f"validation {suffix}{unit}")
    bottom[0].set_ylabel("percent of weights used\n(thin: not frozen yet)")
    figure.legend(
        handles.values(), handles.keys(),
        loc="outside right center", frameon=False, handlelength=3.5, fontsize=8,
    )  # fmt: skip
    figure.suptitle(plotting.title(results), fontsize=9)
    return figure


def untrained(results: Results) -> Figure:
    """Tickets of learned masks before and after their weights are trained.

    By density: hollow and dotted before, full after; the level is the dense network.
    """
    suffix = "accuracy" if "test_accuracy" in results.summary else "loss"
    scale = 100 if suffix == "accuracy" else 1
    summary = plotting.with_percent(results.summary)
    learned = [lane for lane in dict.fromkeys(results.search.lane) if "/" not in lane]
    tickets = summary[summary.lane.isin(learned)]
    figure, (axes,) = plotting.panels(1)
    means = []
    for lane, rows in tickets.groupby("lane", sort=False):
        look = plotting.style(lane) | {"linestyle": "-"}
        before = look | {"linestyle": ":", "markerfacecolor": "white"}
        for name, column, own in (
            (f"{lane}, trained", f"early_stop_test_{suffix}", look),
            (f"{lane}, untrained", f"untrained_test_{suffix}", before),
        ):
            means.append(
                plotting.band(axes, rows, "percent", column, own, name, scale=scale)
            )
    dense = scale * summary[f"early_stop_test_{suffix}"][summary.lane == "dense"].mean()
    plotting.level(axes, dense, "dense")
    means.append(np.array([dense]))
    plotting.fit(axes, means, 100 if scale == 100 else np.inf)
    plotting.density_axis(axes, tickets.percent)
    axes.set_ylabel(f"test {suffix}" + (" (%)" if scale == 100 else ""))
    axes.set_title(plotting.title(results), fontsize=9)
    axes.legend(frameon=False, handlelength=3.5, fontsize=8)
    return figure


def curve(lane: str) -> dict:
    """Without a marker at each of many points; a check is dotted."""
    method, _, check = lane.partition("/")
    color = plotting.style(method)["color"]
    return {"color": color, "linestyle": ":" if check else "-"}


def density(results: Results, number: int) -> float:
    """That a round prunes to."""
    return sum(results.ladder[number].values()) / sum(results.ladder[0].values())
