"""Figures of a neuroevolutionary search: the search, and what it was worth."""

import numpy as np
from matplotlib.figure import Figure
from matplotlib.transforms import ScaledTranslation

from lottery_jax.reporting import plotting
from lottery_jax.reporting.results import Results


def of_run(results: Results) -> dict[str, Figure]:
    """Name -> figure: the search; and when it has ended, the comparison."""
    figures = {"search": search(results)}
    if results.config["algorithm"]["imp_rounds"] + 1 < len(_compared(results)):
        figures |= {
            "comparison": comparison(results),
            "density": against_density(results),
            "training": training(results),
        }
    return figures


def _compared(results: Results):
    """The rows of the summary that are of the comparison."""
    last = results.config["algorithm"]["generations"]
    return results.summary[results.summary["round"] > last]


def _column(results: Results, name: str) -> tuple[str, float, str]:
    """(column, scale, label) of accuracy in percent, or of the loss."""
    words = name.removeprefix("early_stop_")
    when = " at early stop" if words != name else ""
    if f"{name}_accuracy" in results.summary:
        return f"{name}_accuracy", 100, f"{words} accuracy{when} (%)"
    return f"{name}_loss", 1, f"{words} loss{when}"


def _look(lane: str) -> dict:
    # Elsewhere as dark as a ticket, which is not beside it there.
    own = {"color": "#8B5A2B", "marker": "h", "linestyle": (0, (3, 1))}
    return own if lane == "one_shot" else plotting.style(lane)


def search(results: Results) -> Figure:
    """Fitness, its term of loss, and density by generation.

    Of the best candidate so far, and the mean of all candidates that have a fitness.
    """
    table = results.search
    table = table[np.isfinite(table.fitness)].rename(columns={"round": "generation"})
    table = table.assign(loss=table.fitness - table.penalty)
    means = table.groupby(["generation", "replicate"], as_index=False).mean()
    best = results.summary.rename(columns={"round": "generation"})
    best = best[best.fitness.notna()]
    best = best.assign(loss=best.fitness - best.penalty)
    figure, panels = plotting.panels(3, share=False)
    for axes, (column, label, scale) in zip(
        panels,
        [
            ("fitness", "fitness (lower is better)", 1),
            ("loss", f"fitness without penalty ({_term(results)})", 1),
            ("density", "percent of weights remaining", 100),
        ],
        strict=True,
    ):
        shown = [
            plotting.band(
                axes, rows, "generation", column, look | {"marker": ""}, name, scale
            )
            for rows, look, name in (
                (means, plotting.DROPPED, "mean of the candidates"),
                (best, plotting.KEPT, "best so far"),
            )
        ]
        plotting.fit(axes, shown, 102 if scale == 100 else np.inf)
        axes.set_xlabel("generation")
        plotting.whole_numbers(axes.xaxis)
        axes.set_ylabel(label)
    target = 100 * results.config["algorithm"]["target_density"]
    low, high = panels[2].get_ylim()
    if low < target < high:
        plotting.level(panels[2], target, "target")
    panels[0].legend(frameon=False)
    figure.suptitle(plotting.title(results), fontsize=9)
    return figure


def _term(results: Results) -> str:
    return results.config["algorithm"]["term"].replace("_", " ")


def comparison(results: Results) -> Figure:
    """Each lane of the last round, and the dense network: replicates, mean, interval.

    The percent beside the names are of weights remaining, in the mean.
    """
    column, scale, label = _column(results, "early_stop_test")
    rows = _compared(results)
    rows = rows[(rows["round"] == rows["round"].max()) | (rows.lane == "dense")]
    lanes = [*dict.fromkeys(rows.lane[rows.lane != "dense"]), "dense"]
    figure, (axes,) = plotting.panels(1)
    for place, lane in enumerate(reversed(lanes)):
        own = rows[rows.lane == lane].groupby("replicate", as_index=False)
        own = own[[column, "density"]].mean()
        look = _look(lane)
        values = scale * own[column]
        axes.plot(
            values, np.full(len(values), place), "|", color=look["color"], alpha=0.6
        )
        one = own.assign(place=place)
        _, mean, low, high = plotting.bands(one, "place", column)
        mean, low, high = (scale * float(value[0]) for value in (mean, low, high))
        axes.errorbar(
            mean, place, xerr=[[mean - low], [high - mean]], color=look["color"],
            marker=look["marker"], markersize=5, capsize=3,
        )  # fmt: skip
    density = 100 * rows.density[rows.lane == "ticket"].mean()
    names = [f"{lane} ({100 if lane == 'dense' else density:.3g} %)" for lane in lanes]
    axes.set_yticks(range(len(lanes)), names[::-1])
    axes.set_xlabel(label)
    figure.suptitle(plotting.title(results, "bars: 95 % confidence"), fontsize=9)
    if scale == 100:
        axes.set_xlim(right=min(axes.get_xlim()[1], 101))
    return figure


def against_density(results: Results) -> Figure:
    """Iterative pruning on its way down, and what stands at the ticket's density.

    That are points with their intervals, some pixels apart, not to hide each other.
    """
    column, scale, label = _column(results, "early_stop_test")
    rows = plotting.with_percent(_compared(results))
    figure, (axes,) = plotting.panels(1)
    line = rows[rows.lane == "imp"]
    means = [plotting.band(axes, line, "percent", column, _look("imp"), "imp", scale)]
    points = [name for name in dict.fromkeys(rows.lane) if name not in ("imp", "dense")]
    for place, lane in enumerate(points):
        look, own = _look(lane), rows[rows.lane == lane]
        aside = 5 / 72 * (place - (len(points) - 1) / 2), 0  # inches
        shift = ScaledTranslation(*aside, figure.dpi_scale_trans)
        at, *found = plotting.bands(own, "percent", column)
        mean, low, high = (scale * values for values in found)
        axes.errorbar(
            at, mean, yerr=[mean - low, high - mean], color=look["color"],
            marker=look["marker"], markersize=4, capsize=2, linestyle="", label=lane,
            transform=axes.transData + shift,
        )  # fmt: skip
        means.append(mean)
    whole = scale * rows[column][rows.lane == "dense"].mean()
    plotting.level(axes, whole, "dense")
    means.append(np.array([whole]))
    plotting.fit(axes, means, 101 if scale == 100 else np.inf)
    plotting.density_axis(axes, line.percent)
    axes.set_xlim(right=line.percent.min() / 1.3)
    axes.set_ylabel(label)
    axes.set_title(plotting.title(results), fontsize=9)
    axes.legend(frameon=False, handlelength=3.5, fontsize=8)
    return figure


def training(results: Results) -> Figure:
    """Learning curves of the last round, and of the dense network."""
    column, scale, label = _column(results, "validation")
    curves, last = results.curves, results.summary["round"].max()
    start = results.config["algorithm"]["generations"]
    curves = curves[(curves["round"] == last) | (curves.lane == "dense")]
    curves = curves[curves["round"] > start]
    figure, (axes,) = plotting.panels(1)
    means = []
    for lane, rows in curves.groupby("lane", sort=False):
        look = _look(lane) | {"marker": ""}
        means.append(plotting.band(axes, rows, "step", column, look, lane, scale))
    plotting.fit(axes, means, 100 if scale == 100 else np.inf)
    axes.set_xlabel("optimizer steps")
    axes.set_ylabel(label)
    figure.suptitle(plotting.title(results), fontsize=9)
    figure.legend(
        loc="outside right center", frameon=False, handlelength=3.5, fontsize=8
    )
    return figure
