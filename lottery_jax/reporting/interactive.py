"""Interactive figures of a run, as plain data: what plotly.js draws in the report.

A figure is a dict: `id`, `title`, `caption`, `layout`, and `frames`, one list of traces
for every `labels`; a slider goes through them where there are several. Ink is the name
of the colour of text, which differs in the dark.
"""

from collections.abc import Iterable

import matplotlib.colors
import numpy as np
import pandas as pd

from lottery_jax.analysis.overlap import overlap
from lottery_jax.reporting import plotting
from lottery_jax.reporting.results import Results, load_masks

INK = "ink"

SYMBOLS = {
    "o": "circle", "s": "square", "^": "triangle-up", "v": "triangle-down",
    "<": "triangle-left", ">": "triangle-right", "D": "diamond", "P": "cross",
    "X": "x", "*": "star", "p": "pentagon", "h": "hexagon", "H": "hexagon2",
    "d": "diamond-tall", "8": "octagon", "1": "y-down-open", "2": "y-up-open",
}  # fmt: skip
DASHES = {"-": "solid", "--": "dash", "-.": "dashdot", ":": "dot"}

QUANTITIES = {
    "early_stop_test_accuracy": "test accuracy at early stop (%)",
    "early_stop_test_loss": "test loss at early stop",
    "test_accuracy": "test accuracy at the end (%)",
    "test_loss": "test loss at the end",
    "early_stop_step": "early-stop step (optimizer steps)",
}


IMAGES = {
    "cifar10": (32, 32, 3),
    "digits": (8, 8, 1),
    "fashion_mnist": (28, 28, 1),
    "mnist": (28, 28, 1),
}
"""Data whose inputs are pixels -> their shape."""


def of_run(results: Results) -> list[dict]:
    """All figures there are numbers for."""
    by_method = plotting.by_method(results)
    if by_method:
        results = plotting.without_checks(results)
    summary = plotting.with_percent(results.summary)
    suffix = "accuracy" if "test_accuracy" in summary else "loss"
    found = []
    for quantity in (f"early_stop_test_{suffix}", f"test_{suffix}", "early_stop_step"):
        if _has(summary, quantity) and summary.percent.nunique() > 1:
            found.append(against_density({"": summary}, quantity))
    found.append(curves(results))
    tickets = {} if by_method else _ticket_masks(results)
    found += [
        figure
        for figure in (
            pixels(results, tickets),
            layer_densities(results, tickets),
            overlaps(tickets),
            *weights(results),
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
    shared = set.intersection(*(set(rows.columns) for rows in first.values()))
    found = [
        against_density(first, quantity)
        for quantity in QUANTITIES
        if quantity in shared and all(_has(rows, quantity) for rows in first.values())
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
    label = QUANTITIES[quantity]
    return {
        "id": quantity,
        "title": f"{label.split(' (')[0].capitalize()} against density",
        "caption": "Means and 95 % intervals over replicates.",
        "layout": {
            "xaxis": {
                "title": "percent of weights remaining",
                "type": "log",
                "autorange": "reversed",
                **_percent_ticks(tables.values()),
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
    if not _has(table, quantity):
        quantity = "validation_loss"
    scale = 100 if quantity.endswith("accuracy") else 1
    percent = 100 * results.summary.groupby("round").density.first()
    labels, frames = [], []
    for number, rows in table.groupby("round"):
        labels.append(f"round {number}, {percent[number]:.3g} % of weights")
        traces = []
        for lane, own in rows.groupby("lane", sort=False):
            look = {**plotting.style(lane), "marker": None}
            traces += _band(own, "step", quantity, lane, look, scale)
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


def pixels(results: Results, tickets: dict[int, dict]) -> dict | None:
    """Which inputs survive: kept weights per input of the first layer, by round."""
    shape = IMAGES.get(results.config["data"]["name"])
    first = next(iter(tickets[0]), None) if 0 in tickets else None
    if not shape or not first or len(tickets[0][first][0]) != np.prod(shape):
        return None
    labels, frames = [], []
    for number, masks in tickets.items():
        kept = masks[first].mean(0).sum(1).reshape(shape).sum(-1)
        labels.append(f"round {number}")
        heat = {
            "type": "heatmap",
            "z": np.round(kept, 2).tolist(),
            "zmin": 0,
            "colorscale": "Viridis",
            "colorbar": {"title": {"text": "weights"}},
        }
        frames.append([heat])
    return {
        "id": "pixels",
        "title": "Which pixels survive",
        "caption": f"Weights that {first} keeps of every input, in the mean of "
        f"{len(tickets[0][first])} tickets.",
        "layout": {
            "xaxis": {"visible": False, "constrain": "domain"},
            "yaxis": {"visible": False, "autorange": "reversed", "scaleanchor": "x"},
        },
        "labels": labels,
        "frames": frames,
    }


def layer_densities(results: Results, tickets: dict[int, dict]) -> dict | None:
    """How dense every layer is, by round."""
    if len(tickets) < 2:
        return None
    percent = 100 * results.summary.groupby("round").density.first()
    x = [float(percent[number]) for number in tickets]
    traces = []
    for place, layer in enumerate(next(iter(tickets.values()))):
        y = [100 * float(masks[layer].mean()) for masks in tickets.values()]
        traces.append(_line(x, y, layer, plotting.layer_style(place)))
    return {
        "id": "layers",
        "title": "Density of every layer",
        "caption": "Means over tickets; a straight diagonal is a uniform density.",
        "layout": {
            "xaxis": {
                "title": "percent of weights remaining",
                "type": "log",
                "autorange": "reversed",
                **_percent_ticks([pd.DataFrame({"percent": x})]),
            },
            "yaxis": {
                "title": "percent of the layer's weights",
                "type": "log",
                **_round_ticks(traces),
            },
        },
        "labels": [""],
        "frames": [traces],
    }


def overlaps(tickets: dict[int, dict]) -> dict | None:
    """What the tickets of a round share, two and two."""
    if not tickets:
        return None
    number = max(tickets)
    masks = tickets[number]
    num = len(next(iter(masks.values())))
    if num < 2 or all(leaf.all() for leaf in masks.values()):
        return None
    each = [{name: leaf[i] for name, leaf in masks.items()} for i in range(num)]
    found = [[overlap(a, b) for b in each] for a in each]
    chance = np.mean([found[i][j].chance for i in range(num) for j in range(i)])
    names = [str(i) for i in range(num)]
    # None of a ticket with itself, or nothing else would have a colour.
    z = [
        [None if a is b else round(found[i][j].jaccard, 4) for j, b in enumerate(each)]
        for i, a in enumerate(each)
    ]
    heat = {
        "type": "heatmap",
        "x": names,
        "y": names,
        "z": z,
        "zmin": 0,
        "texttemplate": "%{z:.2f}" if num <= 10 else "",
        "colorscale": "Cividis",
        "colorbar": {"title": {"text": "Jaccard"}},
    }
    return {
        "id": "overlaps",
        "title": f"Overlap of the tickets of round {number}",
        "caption": "Shared weights over those that either keeps; by chance "
        f"{chance:.3f}.",
        "layout": {
            "xaxis": {"title": "replicate", "type": "category"},
            "yaxis": {"title": "replicate", "type": "category", "scaleanchor": "x"},
        },
        "labels": [""],
        "frames": [[heat]],
    }


def weights(results: Results, most: int = 4) -> Iterable[dict]:
    """Histograms of weights before they were pruned, a figure for every layer."""
    table = results.weights
    layers = list(dict.fromkeys(table.layer))
    chosen = layers if len(layers) <= most else [*layers[: most - 1], layers[-1]]
    for layer in chosen:
        rows = table[table.layer == layer]
        limit = float(rows.final.abs().quantile(0.999)) or 1.0
        edges = np.linspace(-limit, limit, 61)
        middle = ((edges[1:] + edges[:-1]) / 2).round(6).tolist()
        labels, frames = [], []
        for number, own in rows.groupby("round"):
            labels.append(f"round {number}")
            traces = []
            for kept, color in ((True, INK), (False, "#E69F00")):
                counts, _ = np.histogram(own.final[own.kept == kept], edges)
                bars = {
                    "type": "bar",
                    "x": middle,
                    "y": (counts / len(own)).round(5).tolist(),
                    "name": "kept" if kept else "dropped",
                    "marker": {"color": color},
                }
                traces.append(bars)
            frames.append(traces)
        yield {
            "id": f"weights_{layer.replace('/', '_')}",
            "title": f"Weights of {layer} when they were pruned",
            "caption": "Of one ticket, a sample of those that it still had.",
            "layout": {
                "barmode": "stack",
                "bargap": 0,
                "xaxis": {"title": "weight after training"},
                "yaxis": {"title": "fraction of the weights"},
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


def _ticket_masks(results: Results) -> dict[int, dict[str, np.ndarray]]:
    """Round -> masks of its tickets."""
    done = [certificate["round"] for certificate in results.certificates]
    return {number: load_masks(results.workdir, number) for number in done}


def _band(rows, x: str, y: str, name: str, look: dict, scale) -> list[dict]:
    """A line through the means and a band around it."""
    rows = rows[rows[y].notna()]
    if not len(rows):
        return []
    at, mean, low, high = plotting.bands(rows, x, y)
    line = _line(_numbers(at), _numbers(scale * mean), name, look)
    if not np.isfinite(low).any():
        return [line]
    band = {
        "type": "scatter",
        "x": _numbers(np.concatenate([at, at[::-1]])),
        "y": _numbers(scale * np.concatenate([high, low[::-1]])),
        "fill": "toself",
        "fillcolor": line["line"]["color"],
        "opacity": 0.16,
        "line": {"width": 0},
        "mode": "lines",
        "hoverinfo": "skip",
        "legendgroup": name,
        "showlegend": False,
    }
    return [band, line]


def _line(x, y, name: str, look: dict) -> dict:
    color = matplotlib.colors.to_hex(look["color"])
    color = INK if color == "#000000" else color
    dash = look["linestyle"]
    lengths = None if isinstance(dash, str) else ",".join(f"{3 * n}px" for n in dash[1])
    trace = {
        "type": "scatter",
        "mode": "lines+markers" if look.get("marker") else "lines",
        "x": x,
        "y": y,
        "name": name,
        "legendgroup": name,
        "line": {
            "color": color,
            "dash": DASHES.get(dash) if lengths is None else lengths,
        },
    }
    if look.get("marker"):
        trace["marker"] = {"symbol": SYMBOLS[look["marker"]], "size": 7}
    return trace


def _numbers(values) -> list:
    """Short, and null where there is none."""
    return [float(f"{x:.5g}") if np.isfinite(x) else None for x in np.ravel(values)]


def _percent_ticks(tables) -> dict:
    """Ticks at densities that were measured, not all of them."""
    percents = np.unique(np.concatenate([rows.percent.round(6) for rows in tables]))
    chosen = percents[::-1][:: -(-len(percents) // 8)]
    return {"tickvals": chosen.tolist(), "ticktext": [f"{x:.3g}" for x in chosen]}


def _round_ticks(traces: list[dict]) -> dict:
    """Ticks of a log axis at round numbers."""
    values = [y for trace in traces for y in trace["y"] if y]
    ticks = [
        digit * 10.0**power
        for power in range(-4, 4)
        for digit in plotting.digits(min(values), max(values))
    ]
    return {"tickvals": ticks, "ticktext": [f"{tick:.3g}" for tick in ticks]}


def _range(traces: list[dict], scale: float) -> dict:
    """Of a y axis: what means need."""
    means = [np.array(trace["y"], float) for trace in traces if "fill" not in trace]
    found = plotting.limits(means, 100 if scale == 100 else np.inf)
    return {"range": list(found)} if found else {}


def _has(rows, column: str) -> bool:
    return column in rows and bool(rows[column].notna().any())
