"""Figures of genetic searches: their course, their front, the networks they find."""

import re
from collections.abc import Callable, Mapping

import numpy as np
import pandas as pd
from matplotlib.colors import ListedColormap
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from ml_collections import ConfigDict

from lottery_jax import rng, tasks
from lottery_jax.reporting import plotting
from lottery_jax.reporting.results import Results, load_masks
from lottery_jax.tickets import masks
from lottery_jax.types import Mask, Params, Split

BEST = {"color": "#000000", "linestyle": "-"}
MEAN = {"color": "#D55E00", "linestyle": "--"}
POSITIVE, NEGATIVE = "#0072B2", "#D55E00"
CLASSES = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#F0E442",
           "#000000", "#999999", "#8B5A2B")  # fmt: skip

MOST_DRAWN = 50
"""Units of a layer, more than which are no longer drawn."""


def of_strong_tickets(results: Results) -> dict[str, Figure]:
    """Name -> figure: of every run of `strong_tickets`.

    The course of the search, its front, and where there is room in a figure, what the
    tickets decide and look like: the plane, at most 50 units in a layer.
    """
    search = results.search
    title = _title(results)
    figures = {"search": course(search[search.kind == "generation"], title)}
    if (search.kind == "front").any():
        figures["front"] = front(results, title=title)
    tickets, model, split = _tickets(results)
    plane = split.x[0].size == 2
    leaves = masks.named_leaves(tickets[0][1])
    small = max(leaves[name].shape[1] for name in _kernels(leaves)) <= MOST_DRAWN
    if plane:
        figures["decisions"] = decisions(
            [
                (model.apply, params, mask, split, name)
                for params, mask, name in tickets[:6]
            ]
        )
    if small and plane:
        figures["networks"] = networks(tickets[:3])
    return figures


def course(search: pd.DataFrame, title: str = "") -> Figure:
    """Fitness, density and loss against the generation: of the best, and the mean.

    A search that has stopped keeps its last values. Bands are 95 % intervals over
    replicates.

    Args:
      search: columns `generation`, `replicate`, `fitness` and those there are of
        `fitness_mean`, `density`, `density_mean`, `loss`, `accuracy`,
        `validation_accuracy`.
      title: of the figure.
    """
    search = _carried_on(search)
    wanted = [
        ("fitness (minimised)", "fitness", "fitness_mean", 1),
        ("weights remaining (%)", "density", "density_mean", 100),
        ("training loss of the best", "loss", None, 1),
        ("accuracy of the best (%)", "accuracy", "validation_accuracy", 100),
    ]
    shown = [row for row in wanted if row[1] in search]
    figure, axes = plotting.panels(len(shown), share=False, width=3.2)
    for own, (label, best, mean, scale) in zip(axes, shown, strict=True):
        names = ("best", "mean") if best != "accuracy" else ("training", "validation")
        lines = []
        for column, look, name in zip((best, mean), (BEST, MEAN), names, strict=True):
            if column in search:
                lines.append(
                    plotting.band(own, search, "generation", column, look, name, scale)
                )
        plotting.fit(own, lines, 100 if scale == 100 else np.inf)
        own.set_xlabel("generation")
        plotting.whole_numbers(own.xaxis)
        own.set_ylabel(label)
        if len(lines) > 1:
            own.legend(frameon=False, handlelength=3)
    figure.suptitle(title, fontsize=9)
    return figure


def _carried_on(search: pd.DataFrame) -> pd.DataFrame:
    """With a row for every generation of every replicate: the last one, repeated."""
    last = search.generation.max()
    everything = pd.MultiIndex.from_product(
        [search.replicate.unique(), np.arange(last + 1)],
        names=["replicate", "generation"],
    )
    numbers = search.select_dtypes("number").set_index(["replicate", "generation"])
    return numbers.reindex(everything).groupby("replicate").ffill().reset_index()


def front(
    results: Results, others: Mapping[str, pd.DataFrame] | None = None, title: str = ""
) -> Figure:
    """Validation accuracy against density: the fronts, tickets, controls, baselines.

    The line is the best accuracy at no more than so many weights, the mean over
    replicates with its band where all have such a candidate; dots are candidates of the
    fronts.

    Args:
      results: of a run of `strong_tickets`.
      others: name -> frame with `density`, `validation_accuracy`, `replicate`; each
        density is a point with an interval.
      title: of the figure.
    """
    figure, (axes,) = plotting.panels(1)
    rows = results.search[results.search.kind == "front"]
    axes.plot(
        *(100 * rows.density, 100 * rows.validation_accuracy), ".", color="0.6",
        markersize=3, label="candidates of the fronts", zorder=1,
    )  # fmt: skip
    levels = best_at_most(rows)
    line = plotting.band(
        axes, levels, "percent", "validation_accuracy", BEST, "front, mean", 100
    )
    heights = [100 * rows.validation_accuracy.to_numpy(), line]
    summary = results.summary[
        results.summary["round"] == results.summary["round"].max()
    ]
    frames = {
        ("ticket, pruned at the end" if lane == "ticket" else f"{lane} mask"
         if lane == "random" else lane): (lane, own)
        for lane, own in summary.groupby("lane", sort=False)
    }  # fmt: skip
    frames |= {name: (name, own) for name, own in (others or {}).items()}
    for name, (lane, own) in frames.items():
        look = plotting.style(lane)
        groups = own.groupby(own.get("round", 0))
        found = groups[["density", "validation_accuracy"]]
        mean, spread = 100 * found.mean(), 100 * found.std()
        heights.append(mean.validation_accuracy.to_numpy())
        axes.errorbar(
            mean.density, mean.validation_accuracy, spread.validation_accuracy,
            spread.density if len(mean) == 1 else None,
            color=look["color"], marker=look["marker"], capsize=2, linewidth=1,
            linestyle="" if len(mean) == 1 else look["linestyle"], markersize=5,
            label=f"{name} (± s.d.)", zorder=3,
        )  # fmt: skip
    axes.set_xlabel("percent of weights remaining")
    axes.set_ylabel("validation accuracy (%)")
    plotting.fit(axes, heights, 100)
    axes.set_xlim(0, min(axes.get_xlim()[1], 100))
    axes.set_title(title or _title(results), fontsize=9)
    figure.legend(loc="outside lower center", ncols=2, frameon=False, fontsize=8)
    return figure


def best_at_most(rows: pd.DataFrame) -> pd.DataFrame:
    """Of every replicate the best accuracy at no more than each of the densities.

    Args:
      rows: of fronts: `replicate`, `density`, `validation_accuracy`.

    Returns:
      replicate, percent, validation_accuracy; densities that all replicates reach.
    """
    densities = np.unique(np.round(rows.density, 4))
    table = {}
    for replicate, own in rows.groupby("replicate"):
        within = own.density.to_numpy()[None] <= densities[:, None] + 1e-4
        values = np.where(within, own.validation_accuracy.to_numpy()[None], -np.inf)
        table[replicate] = pd.Series(values.max(1), 100 * densities)
    wide = pd.DataFrame(table)
    wide = wide[np.isfinite(wide).all(axis=1)].rename_axis("percent")
    return wide.reset_index().melt(
        "percent", var_name="replicate", value_name="validation_accuracy"
    )


def decisions(drawn: list[tuple[Callable, Params, Mask, Split, str]]) -> Figure:
    """What networks decide in the plane, a panel each, and some of the points.

    Args:
      drawn: (apply, params, mask, split of points and labels, name) of each; `apply` as
        a model's.
    """
    columns = min(len(drawn), 3)
    figure, axes = plotting.panels(columns, -(-len(drawn) // columns), width=2.8)
    for own in axes[len(drawn) :]:
        own.set_visible(False)
    for own, (apply, params, mask, split, name) in zip(axes, drawn, strict=False):
        points, labels = np.asarray(split.x)[:600], np.asarray(split.y)[:600]
        low, high = points.min(0), points.max(0)
        room = 0.15 * (high - low)
        grid = [
            np.linspace(start, end, 201)
            for start, end in zip(low - room, high + room, strict=True)
        ]
        x = np.stack(np.meshgrid(*grid), -1).reshape(-1, 2).astype(np.float32)
        outputs, _ = apply(masks.apply(params, mask), {}, x, train=False)
        outputs = np.asarray(outputs)
        one = outputs.shape[1] == 1
        chosen = (outputs[:, 0] > 0) if one else outputs.argmax(1)
        colors = ListedColormap(CLASSES)
        own.pcolormesh(
            *grid, np.reshape(chosen, (201, 201)).astype(int), cmap=colors, vmin=0,
            vmax=len(CLASSES) - 1, alpha=0.25, linewidth=0, rasterized=True,
        )  # fmt: skip
        for label in np.unique(labels):
            there = labels == label
            own.plot(
                *points[there].T, ".", color=CLASSES[int(label)],
                markersize=2.5 if len(points) > 50 else 12,
                markeredgewidth=0,
            )  # fmt: skip
        own.set_title(name, fontsize=9)
        own.grid(False)
    for place, own in enumerate(axes[: len(drawn)]):
        if place >= len(drawn) - columns:
            own.set_xlabel("first input")
        if place % columns == 0:
            own.set_ylabel("second input")
    figure.suptitle("decisions (shaded) and some points of each class", fontsize=9)
    return figure


def networks(drawn: list[tuple[Params, Mask, str]]) -> Figure:
    """Tiny networks of dense layers as graphs of the weights they keep.

    Blue weights are positive, red ones negative, and as thick as they are large. Units
    that no path leads through from an input to an output are hollow; they may still
    add a constant, by their bias.

    Args:
      drawn: (params, mask, name) of each.
    """
    figure, axes = plotting.panels(len(drawn), width=2.8, share=False)
    for own, (params, mask, name) in zip(axes, drawn, strict=True):
        weights = masks.named_leaves(masks.apply(params, mask))
        names = _kernels(weights)
        kernels = [np.asarray(weights[layer]) for layer in names]
        _draw_network(own, kernels)
        kept = sum(np.count_nonzero(kernel) for kernel in kernels)
        total = sum(kernel.size for kernel in kernels)
        own.set_title(f"{name}\n{kept} of {total} weights", fontsize=9)
    handles = [
        Line2D([], [], color=POSITIVE, label="positive weight"),
        Line2D([], [], color=NEGATIVE, label="negative weight"),
        Line2D([], [], color="0.3", marker="o", linestyle="", label="unit on a path"),
        Line2D(
            [], [], color="0.7", marker="o", linestyle="", markerfacecolor="white",
            label="no path leads through",
        ),
    ]  # fmt: skip
    figure.legend(
        handles=handles, loc="outside lower center", ncols=4, frameon=False, fontsize=8
    )
    return figure


def _draw_network(axes, kernels: list[np.ndarray]):
    sizes = [len(kernels[0]), *(kernel.shape[1] for kernel in kernels)]
    height = max(sizes)
    places = [
        (np.arange(size)[::-1] - (size - 1) / 2) * min(1, 0.85 * height / size)
        * (1 if size > 4 else height / (size + 1))
        for size in sizes
    ]  # fmt: skip
    live = live_units([kernel != 0 for kernel in kernels])
    largest = max(np.abs(kernel).max() for kernel in kernels) or 1.0
    for layer, kernel in enumerate(kernels):
        for one, other in np.argwhere(kernel != 0):
            weight = kernel[one, other]
            on_path = live[layer][one] and live[layer + 1][other]
            axes.plot(
                [layer, layer + 1], [places[layer][one], places[layer + 1][other]],
                color=POSITIVE if weight > 0 else NEGATIVE, zorder=1,
                linewidth=0.3 + 1.7 * abs(weight) / largest,
                alpha=0.85 if on_path else 0.3,
            )  # fmt: skip
    for layer, own in enumerate(places):
        for place, alive in zip(own, live[layer], strict=True):
            axes.plot(
                layer, place, "o", markersize=5, color="0.3" if alive else "0.7",
                markerfacecolor="0.3" if alive else "white", zorder=2,
            )  # fmt: skip
    inputs = [f"x{number}" for number in range(1, sizes[0] + 1)]
    outputs = [f"class {number}" for number in range(sizes[-1])]
    outputs = outputs if len(outputs) > 1 else ["output"]
    for side, layer, names in ((-0.12, 0, inputs), (0.12, len(sizes) - 1, outputs)):
        for name, place in zip(names, places[layer], strict=True):
            axes.text(
                layer + side, place, name, fontsize=8, va="center",
                ha="right" if side < 0 else "left",
            )  # fmt: skip
    axes.set_xlim(-0.4, len(sizes) - 1 + 0.75)
    axes.axis("off")


def live_units(kernels: list[np.ndarray]) -> list[np.ndarray]:
    """Per layer of units, the inputs first, which lie on a path to an output.

    Args:
      kernels: bool [inputs, outputs] of every layer, True = kept.
    """
    reached = [np.ones(len(kernels[0]), bool)]
    for kernel in kernels:
        reached.append((reached[-1][:, None] & kernel).any(0))
    leads = [np.ones(kernels[-1].shape[1], bool)]
    for kernel in kernels[::-1]:
        leads.append((leads[-1][None] & kernel).any(1))
    return [one & other for one, other in zip(reached, leads[::-1], strict=True)]


def _kernels(leaves: Mapping) -> list[str]:
    """Paths of the kernels from the inputs on."""
    names = [name for name in leaves if name.endswith("kernel")]

    def place(name):
        # dense_10 stands after dense_2.
        words = re.split(r"(\d+)", name)
        return [int(word) if word.isdigit() else word for word in words]

    return sorted(names, key=lambda name: (name.startswith("output"), place(name)))


def _tickets(results: Results):
    """[(params, mask, name)] of the last round, the model, and points to show."""
    config, last = ConfigDict(results.config), results.summary["round"].max()
    found = load_masks(results.workdir, last)
    roots = tasks.make_roots(config)
    dataset = tasks.load_data(config, roots)
    model = tasks.make_model(config, dataset)
    summary = results.summary
    rows = summary[(summary["round"] == last) & (summary.lane == "ticket")]
    column = "test_accuracy" if "test_accuracy" in rows else "validation_accuracy"
    tickets = []
    for place, row in enumerate(rows.to_dict("records")):
        params, _ = model.init(rng.stream(roots, "init", row["replicate"]))
        own = {name: mask[place] for name, mask in found.items()}
        label = f"replicate {row['replicate']}: {100 * row[column]:.1f} % accurate"
        tickets.append((params, masks.from_named(own, params), label))
    return tickets, model, dataset.validation


def _title(results: Results) -> str:
    config = results.config
    algorithm = config["algorithm"]
    bound = {"none": ""}.get(algorithm["bound"], f", {algorithm['bound']} bound")
    return (
        f"strong tickets of {config['model']['name']} {config['model']['hidden']} on "
        f"{config['data']['name']}, population {algorithm['population']}{bound}, "
        f"{config['replicates']} replicates"
    )
