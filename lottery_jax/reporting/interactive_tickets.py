"""Interactive figures of masks and weights; see `interactive.py`."""

from collections.abc import Iterable

import numpy as np
import pandas as pd

from lottery_jax.analysis.overlap import overlap
from lottery_jax.reporting import plotting
from lottery_jax.reporting.results import Results, load_masks, ticket_density
from lottery_jax.reporting.traces import INK, line, percent_ticks

IMAGES = {
    "cifar10": (32, 32, 3),
    "digits": (8, 8, 1),
    "fashion_mnist": (28, 28, 1),
    "mnist": (28, 28, 1),
}
"""Data whose inputs are pixels -> their shape."""


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
    percent = 100 * ticket_density(results.summary)
    x = [float(percent[number]) for number in tickets]
    traces = []
    for place, layer in enumerate(next(iter(tickets.values()))):
        y = [100 * float(masks[layer].mean()) for masks in tickets.values()]
        traces.append(line(x, y, layer, plotting.layer_style(place)))
    return {
        "id": "layers",
        "title": "Density of every layer",
        "caption": "Means over tickets; a straight diagonal is a uniform density.",
        "layout": {
            "xaxis": {
                "title": "percent of weights remaining",
                "type": "log",
                "autorange": "reversed",
                **percent_ticks([pd.DataFrame({"percent": x})]),
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


def masks_of(results: Results) -> dict[int, dict[str, np.ndarray]]:
    """Round -> masks of its tickets."""
    done = [certificate["round"] for certificate in results.certificates]
    return {number: load_masks(results.workdir, number) for number in done}


def _round_ticks(traces: list[dict]) -> dict:
    """Ticks of a log axis at round numbers."""
    values = [y for trace in traces for y in trace["y"] if y]
    ticks = [
        digit * 10.0**power
        for power in range(-4, 4)
        for digit in plotting.digits(min(values), max(values))
    ]
    return {"tickvals": ticks, "ticktext": [plotting.plain(tick) for tick in ticks]}
