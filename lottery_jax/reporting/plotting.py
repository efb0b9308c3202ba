"""What all figures share: looks, panels, bands, axes. Colour-blind safe, clear in grey.

Each lane has its own look: colour (Okabe and Ito's palette), marker, dashes. Bands are
95 % confidence intervals over replicates; several draws of one control are averaged
within their replicate first, since they are not independent of each other.
"""

import matplotlib
import numpy as np
import pandas as pd
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter, LogLocator, MaxNLocator, NullLocator

from lottery_jax.algorithms.methods import METHODS
from lottery_jax.analysis.statistics import confidence_interval
from lottery_jax.reporting.results import Results
from lottery_jax.tickets import CONTROLS, TOPOLOGIES

STYLES = {
    "ticket": {"color": "#000000", "marker": "o", "linestyle": "-"},
    "reinit": {"color": "#D55E00", "marker": "s", "linestyle": "--"},
    "random": {"color": "#0072B2", "marker": "^", "linestyle": "-."},
    "shuffle": {"color": "#009E73", "marker": "D", "linestyle": ":"},
    "dense": {"color": "#56B4E9", "marker": "P", "linestyle": (0, (8, 2))},
    "gradual": {"color": "#E69F00", "marker": "H", "linestyle": (0, (1, 1))},
    "random_ticket": {"color": "#E69F00", "marker": "v", "linestyle": (0, (1, 2))},
    "scaled_random_ticket": {"color": "0.55", "marker": "<", "linestyle": (0, (5, 1))},
    "over_wide": {"color": "#0072B2", "marker": "X", "linestyle": (0, (4, 1))},
}

COLORS = ("#CC79A7", "#E69F00", "#56B4E9", "#D55E00", "#0072B2", "#009E73", "#000000")
MARKERS = ("v", "P", "X", "<", ">", "*", "p", "h", "d", "8", "H", "1", "2")
DASHES = ("-", "--", "-.", ":", (0, (5, 1, 1, 1)), (0, (1, 2)))

KEPT = {"color": "#000000", "marker": "o", "linestyle": "-"}
DROPPED = {"color": "#E69F00", "marker": "s", "linestyle": "--"}

SIZE = (6.4, 4.2)  # inches

AXIS_LABELS = {
    "early_stop_test_accuracy": "test accuracy at early stop (%)",
    "early_stop_test_loss": "test loss at early stop",
    "test_accuracy": "test accuracy at the end of training (%)",
    "test_loss": "test loss at the end of training",
    "early_stop_step": "early-stop step (optimizer steps)",
    "reported_test_accuracy": "test accuracy where patience stops (%)",
    "reported_test_loss": "test loss where patience stops",
}
"""Of columns that are drawn against density."""


def by_method(results: Results) -> bool:
    """Whether there are several kinds of tickets in a round, named by their method."""
    return results.config["algorithm"]["name"] in ("compare", "topologies")


def without_checks(results: Results) -> Results:
    """The run without lanes of controls and checks of its methods."""
    tables = results.summary, results.curves
    summary, curves = (rows[~rows.lane.str.contains("/")] for rows in tables)
    return results._replace(summary=summary, curves=curves)


def style(lane: str) -> dict:
    """Of a lane, the same in every figure; what keeps signs is dotted and hollow."""
    if lane in STYLES:
        return STYLES[lane]
    if lane in METHODS:
        place = list(METHODS).index(lane)
        return layer_style(place)
    if lane in TOPOLOGIES:
        return layer_style(sorted(TOPOLOGIES).index(lane))
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


def layer_style(place: int) -> dict:
    """Of the layer that stands at this place of a network, the input layer first."""
    return {
        "color": COLORS[-1 - place % len(COLORS)],
        "marker": MARKERS[place % len(MARKERS)],
        "linestyle": DASHES[place % len(DASHES)],
    }


def shades(num: int) -> list[tuple]:
    """(color, dashes) of so many rounds, at most six; the last is the darkest."""
    colors = matplotlib.colormaps["viridis_r"](np.linspace(0.15, 1, num))
    return list(zip(colors, DASHES, strict=False))


def evenly(rounds, most: int) -> np.ndarray:
    """At most so many of the rounds, evenly spaced, the first and the last among them.

    Args:
      rounds: numbers, each as often as it likes.
      most: how many.
    """
    rounds = np.unique(rounds)
    places = np.linspace(0, len(rounds) - 1, most).round().astype(int)
    return rounds[np.unique(places)]


def panels(num: int, rows: int = 1, width: float = 3.4, share: bool = True):
    """A figure and its axes [rows * num], row by row.

    Args:
      num: panels in a row.
      rows: of panels.
      width: inches of a panel.
      share: whether all panels share their axes.
    """
    size = (max(SIZE[0], width * num), SIZE[1] if rows == 1 else 3.0 * rows)
    figure = Figure(figsize=size, dpi=150, layout="constrained")
    axes = figure.subplots(rows, num, sharex=share, sharey=share, squeeze=False)
    for each in axes.flat:
        each.spines[["top", "right"]].set_visible(False)
        each.grid(alpha=0.25, linewidth=0.6)
    return figure, list(axes.flat)


def bands(rows: pd.DataFrame, x: str, y: str):
    """x with mean, low and high of y over replicates, each [number of x]."""
    at, place = np.unique(rows[x], return_inverse=True)
    replicates, number = np.unique(rows.replicate, return_inverse=True)
    cell = place * len(replicates) + number
    # Sums and not pandas' means: a lane that diverged must not vanish from them.
    total = np.bincount(cell, rows[y], len(at) * len(replicates))
    draws = np.bincount(cell, minlength=len(total))
    means = np.divide(total, draws, where=draws > 0, out=np.zeros(len(total)))
    cells = zip(*(x.reshape(len(at), -1) for x in (means, draws > 0)), strict=True)
    found = [confidence_interval(values[there]) for values, there in cells]
    return at, *np.array(found).reshape(-1, 3).T


def band(axes, rows: pd.DataFrame, x: str, y: str, look: dict, label=None, scale=1.0):
    """A line through the means of y and a band around it; returns the means, scaled.

    Args:
      axes: to draw on.
      rows: of a table, with a column `replicate`.
      x, y: columns.
      look: colour, dashes and, if it has one, marker.
      label: for the legend.
      scale: of y; percent are 100.
    """
    at, mean, low, high = bands(rows, x, y)
    axes.plot(at, scale * mean, label=label, markersize=4, **look)
    axes.fill_between(
        at, scale * low, scale * high, alpha=0.18, color=look["color"], linewidth=0
    )
    return scale * mean


def has(rows: pd.DataFrame, column: str) -> bool:
    """Whether a table has numbers in a column."""
    return column in rows and bool(rows[column].notna().any())


LEVEL = {"color": "0.5", "linewidth": 0.8, "linestyle": (0, (6, 4)), "zorder": 0}


def level(axes, height: float, name: str, above: bool = False):
    """A thin line across the axes and its name; none where the height is not finite."""
    if not np.isfinite(height):
        return
    axes.axhline(height, **LEVEL)
    axes.text(
        *(0.995, height, name),
        transform=axes.get_yaxis_transform(),
        ha="right",
        va="bottom" if above else "top",
        color="0.4",
        fontsize=8,
    )


def limits(
    means: list[np.ndarray], highest: float = np.inf
) -> tuple[float, float] | None:
    """The means decide the range, since the band of two replicates is very wide.

    Nothing is shown where nothing can be: above the highest, below zero.

    Args:
      means: of each line.
      highest: value there can be.
    """
    shown = np.concatenate([*means, []])
    shown = shown[np.isfinite(shown)]
    if not len(shown):
        return None
    # A level curve has room too, or its ticks would take all of the figure.
    room = max(0.35 * np.ptp(shown), 0.01 * np.abs(shown).max(), 1e-6)
    low, high = max(shown.min() - room, 0), min(shown.max() + room, highest)
    return float(low), float(high)


def fit(axes, means: list[np.ndarray], highest: float = np.inf):
    """Axes with the `limits` of their lines."""
    found = limits(means, highest)
    if found:
        axes.set_ylim(*found)


def density_axis(axes, percents, most: int = 8):
    """Log axis, falling; ticks stand at densities that were measured, not all.

    Args:
      axes: of the lines.
      percents: of weights remaining, each as often as it likes.
      most: ticks there may be.
    """
    percents = np.unique(np.round(percents, 9))[::-1]
    axes.set_xscale("log")
    axes.set_xlim(percents[0] * 1.08, percents[-1] / 1.08)
    axes.set_xticks(percents[:: -(-len(percents) // most)])
    axes.set_xticks([], minor=True)
    axes.xaxis.set_major_formatter(PLAIN)
    axes.set_xlabel("percent of weights remaining")


def plain(value: float) -> str:
    """Three digits, without a power of ten from 0.0001 to 999,000."""
    return f"{float(f'{value:.3g}'):g}"


PLAIN = FuncFormatter(lambda value, _: plain(value))
"""Ticks with `plain` numbers."""


def digits(low: float, high: float) -> tuple[float, ...]:
    """First digits of the ticks of a log axis: more where it is short."""
    return (1, 2, 5) if high > 5 * low else (1, 1.2, 1.5, 2, 2.5, 3, 4, 5, 6, 8)


def plain_log(axis):
    """Ticks of a log axis: 1, 2, 5, 10, ..., or more where it is short."""
    axis.set_major_locator(LogLocator(subs=digits(*axis.get_view_interval())))
    axis.set_minor_locator(NullLocator())
    axis.set_major_formatter(PLAIN)


def whole_numbers(axis):
    """Ticks at whole numbers 1, 2, 5, 10, ... apart, fewer where the axis is short."""
    axis.set_major_locator(MaxNLocator("auto", integer=True, steps=[1, 2, 5, 10]))


def title(results: Results, about: str = "") -> str:
    """Network, data, optimizer, replicates; and what there is to say of this figure.

    Args:
      results: of the run.
      about: in place of what bands are.
    """
    config = results.config
    replicates = config["replicates"]
    bands = "bands: 95 % confidence" if replicates > 1 else ""
    more = f"; {about or bands}" if about or bands else ""
    return (
        f"{config['model']['name']} on {config['data']['name']}, "
        f"{config['train']['optimizer']}, {replicates} "
        f"replicate{'s' if replicates > 1 else ''}{more}"
    )


def with_percent(summary: pd.DataFrame) -> pd.DataFrame:
    """The summary with a column `percent`: of weights remaining in the lane's round.

    The mean of its replicates, since a learned mask is not as dense as that of another
    one. The control `dense` stands where its ticket does.
    """
    beside = summary["round"].isin(summary["round"][summary.lane == "ticket"])
    control = (summary.lane == "dense") & beside
    lane = summary.lane.where(~control, "ticket")
    own = summary.density.where(~control)
    density = own.groupby([lane, summary["round"]]).transform("mean")
    return summary.assign(percent=100 * density)
