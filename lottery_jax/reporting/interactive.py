"""Interactive figures of a run, as plain data: what plotly.js draws in the report.

A figure is a dict: `id`, `title`, `caption`, `layout`, and `frames`, one list of traces
for every `labels`; a slider goes through them where there are several.
"""

import numpy as np
import pandas as pd

from lottery_jax.reporting import interactive_tickets, plotting
from lottery_jax.reporting.results import Results, lane_names, ticket_density
from lottery_jax.reporting.traces import line, percent_ticks

COMPARED = (
    *("early_stop_test_accuracy", "early_stop_test_loss", "test_accuracy", "test_loss"),
    "early_stop_step",
)
"""Columns in which runs are compared."""


def of_run(results: Results) -> list[dict]:
    """All figures there are numbers for."""
    by_method = plotting.by_method(results)
    if by_method:
        results = plotting.without_checks(results)
    summary = plotting.with_percent(results.summary)
    suffix = "accuracy" if "test_accuracy" in summary else "loss"
    found = []
    for quantity in (f"early_stop_test_{suffix}", f"test_{suffix}", "early_stop_step"):
        if plotting.has(summary, quantity) and summary.percent.nunique() > 1:
            found.append(against_density({"": summary}, quantity))
    found.append(curves(results))
    tickets = {} if by_method else interactive_tickets.masks_of(results)
    found += [
        figure
        for figure in (
            interactive_tickets.pixels(results, tickets),
            interactive_tickets.layer_densities(results, tickets),
            interactive_tickets.overlaps(tickets),
            *interactive_tickets.weights(results),
            seconds(results),
        )
        if figure
    ]
    return found


def of_runs(runs: dict[str, Results]) -> list[dict]:
    """Tickets of several runs of one task in one figure each."""
    first = {}
    for name, results in runs.items():
        summary = plotting.with_percent(results.summary)
        tickets = ["ticket"]
        if plotting.by_method(results):
            last = summary.lane[summary["round"] == summary["round"].max()]
            tickets = [lane for lane in dict.fromkeys(last) if "/" not in lane]
        for lane in tickets:
            label = name if len(tickets) == 1 else f"{name}: {lane}"
            first[label] = summary[summary.lane == lane]
    found = [
        against_density(first, quantity)
        for quantity in COMPARED
        if all(plotting.has(rows, quantity) for rows in first.values())
    ]
    who = "Tickets of every run. "
    return [figure | {"caption": who + figure["caption"]} for figure in found]


def against_density(tables: dict[str, pd.DataFrame], quantity: str) -> dict:
    """A line and a band for every lane of every table; its name is "" for one alone."""
    scale = 100 if quantity.endswith("accuracy") else 1
    traces = []
    for place, (name, rows) in enumerate(tables.items()):
        for lane, own in rows.groupby("lane", sort=False):
            look = plotting.style(lane) if not name else plotting.layer_style(place)
            traces += _band(own, "percent", quantity, name or lane, look, scale)
    label = plotting.AXIS_LABELS[quantity]
    return {
        "id": quantity,
        "title": f"{label.split(' (')[0].capitalize()} against density",
        "caption": "Means and 95 % intervals over replicates.",
        "layout": {
            "xaxis": {
                "title": "percent of weights remaining",
                "type": "log",
                "autorange": "reversed",
                **percent_ticks(tables.values()),
            },
            "yaxis": {"title": label, **_range(traces, scale)},
        },
        "labels": [""],
        "frames": [traces],
    }


def curves(results: Results) -> dict:
    """Validation during training, a frame for every round."""
    table = results.curves
    quantity = "validation_accuracy"
    if not plotting.has(table, quantity):
        quantity = "validation_loss"
    scale = 100 if quantity.endswith("accuracy") else 1
    percent = 100 * ticket_density(results.summary)
    names, labels, frames = lane_names(results.summary), [], []
    for number, rows in table.groupby("round"):
        labels.append(f"round {number}, {percent[number]:.3g} % of weights")
        traces = []
        for lane, own in rows.groupby("lane", sort=False):
            look = {**plotting.style(lane), "marker": None}
            traces += _band(own, "step", quantity, names[lane], look, scale)
        frames.append(traces)
    unit = " (%)" if scale == 100 else ""
    return {
        "id": "curves",
        "title": "Learning curves",
        "caption": "Means and 95 % intervals over replicates.",
        "layout": {
            "xaxis": {"title": "optimizer step"},
            "yaxis": {
                "title": quantity.replace("_", " ") + unit,
                **_range([trace for frame in frames for trace in frame], scale),
            },
        },
        "labels": labels,
        "frames": frames,
    }


def seconds(results: Results) -> dict:
    """What every round took."""
    rows = results.summary.groupby("round").seconds.first()
    bars = {
        "type": "bar",
        "x": rows.index.tolist(),
        "y": rows.round(2).tolist(),
        "marker": {"color": "#56B4E9"},
    }
    return {
        "id": "seconds",
        "title": "Seconds per round",
        "caption": f"{rows.sum():,.0f} s in all, compilation included.",
        "layout": {
            "xaxis": {"title": "round"},
            "yaxis": {"title": "seconds"},
            "showlegend": False,
        },
        "labels": [""],
        "frames": [[bars]],
    }


def _band(rows, x: str, y: str, name: str, look: dict, scale) -> list[dict]:
    """A line through the means and a band around it."""
    rows = rows[rows[y].notna()]
    if not len(rows):
        return []
    at, mean, low, high = plotting.bands(rows, x, y)
    middle = line(_numbers(at), _numbers(scale * mean), name, look)
    if not np.isfinite(low).any():
        return [middle]
    band = {
        "type": "scatter",
        "x": _numbers(np.concatenate([at, at[::-1]])),
        "y": _numbers(scale * np.concatenate([high, low[::-1]])),
        "fill": "toself",
        "fillcolor": middle["line"]["color"],
        "opacity": 0.16,
        "line": {"width": 0},
        "mode": "lines",
        "hoverinfo": "skip",
        "legendgroup": name,
        "showlegend": False,
    }
    return [band, middle]


def _numbers(values) -> list:
    """Short, and null where there is none."""
    return [float(f"{x:.5g}") if np.isfinite(x) else None for x in np.ravel(values)]


def _range(traces: list[dict], scale: float) -> dict:
    """Of a y axis: what means need."""
    means = [np.array(trace["y"], float) for trace in traces if "fill" not in trace]
    found = plotting.limits(means, 100 if scale == 100 else np.inf)
    return {"range": list(found)} if found else {}
