"""Strong tickets: the genetic search as published and beyond, and what training gives.

    cd docs/results/strong_tickets
    PYTHONPATH=../../.. python run.py RUNS [NAME ...]

runs what is not there yet under the folder RUNS (all, or those named), and writes
`tables.md`, `summary.csv` and figures beside this file.
"""

import sys
import time
from pathlib import Path

import jax.numpy as jnp
import numpy as np
import pandas as pd
from matplotlib.backends.backend_agg import FigureCanvasAgg

import lottery_jax
from configs import strong_tickets
from lottery_jax import assembly, programs, rng
from lottery_jax import config as configs
from lottery_jax.analysis.statistics import confidence_interval
from lottery_jax.reporting import run_directory, search_figures
from lottery_jax.tickets import masks

FEWER = {"data.train_size": 10_000}
"""A quarter of the points to search with: as good, and four times as fast."""

SHORT = {"algorithm.max_generations": 600, "algorithm.generations_per_round": 200,
         "replicates": 5}  # fmt: skip

OPTIMISM = {"algorithm.test_selected": True}

RUNS = {
    "moons_ga": ("moons", OPTIMISM),
    "moons_adaptive": ("moons,adaptive", FEWER | OPTIMISM),
    "moons_static": ("moons,static", FEWER),
    "moons_large": ("moons,large", {}),
    "moons_large_fresh": ("moons,large", {"seed.root": 1}),
    "moons_large_sparser": (
        "moons,large",
        {"seed.root": 2, "algorithm.prune_tolerance": 0.03},
    ),
    "moons_b_ga": ("moons,b", FEWER),
    "moons_b_large": ("moons,b,large", {}),
    "moons_c_ga": ("moons,c", FEWER),
    "moons_d_ga": ("moons,d", FEWER),
    "circles_ga": ("circles", FEWER | OPTIMISM),
    "circles_adaptive": ("circles,adaptive", FEWER),
    "circles_large": ("circles,large", {}),
    "digits": ("digits", {}),
    "digits_on_validation": ("digits", {"algorithm.prune_on": "validation"}),
    "blobs_4": ("blobs", SHORT | {"data.classes": 4, "data.train_size": 3000}),
    "blobs_10": ("blobs", SHORT | {"data.train_size": 3000}),
}
"""Name -> presets of `strong_tickets.py` and changes."""

TRAINED = {"moons": "moons", "circles": "circles", "digits": "digits"}
"""Name -> presets whose data and network are trained, dense and as IMP's tickets."""


def trained_config(presets: str):
    """Iterative magnitude pruning of the same networks on the same data."""
    config, own = configs.default(), strong_tickets.get_config(presets)
    config.data, config.model = own.data, own.model
    if own.data.name != "digits":
        config.data.train_size = 10_000
    config.train.learning_rate = 1e-2
    config.train.steps = 2000
    config.train.eval_every = 100
    config.algorithm.rounds = 9  # to 13.4 % of the weights
    config.algorithm.output_prune_fraction = 0.2
    config.controls.reinit = 0
    config.lanes.plan = "map"
    config.replicates = own.replicates
    return config


def popup_config(presets: str):
    """Edge-popup on the same networks and data, as the paper has its baseline."""
    config, own = configs.default("compare"), strong_tickets.get_config(presets)
    config.data, config.model = own.data, own.model
    config.data.train_size = 10_000
    config.algorithm.methods = ("edge_popup", "edge_popup_global")
    config.algorithm.densities = (0.5, 0.27)
    search = config.algorithm.search  # its rate of 0.1 and cosine are the defaults
    search.batch_size = 128
    search.steps = 7800  # 100 epochs
    search.update_every = 780
    search.weight_decay = 1e-4
    config.train.steps = 2000
    config.train.eval_every = 100
    config.train.learning_rate = 1e-2
    config.lanes.plan = "map"
    config.replicates = own.replicates
    return config


POPUP = ("moons", "circles")
"""Presets in whose place edge-popup searches, at half of the weights and at 27 %."""


def median(values) -> str:
    """Median in percent, with the interval from the second least to the second largest.

    Of ten replicates it covers the true median with 97.9 %.
    """
    values = 100 * np.sort(values)
    return f"{np.median(values):.2f} [{values[1]:.2f}, {values[-2]:.2f}]"


def mean(values) -> str:
    """Mean in percent and its 95 % interval."""
    found, low, high = confidence_interval(100 * np.asarray(values, np.float64))
    return f"{found:.2f} [{low:.2f}, {high:.2f}]"


def table(runs: dict) -> list[str]:
    """Markdown: a row per search, of its tickets."""
    lines = [
        "| run | median test accuracy % | mean | sparsity % | before pruning | random "
        "mask | chosen on test | generations | seconds |",
        "| --- " * 9 + "|",
    ]
    for name, found in runs.items():
        summary = found.summary[found.summary["round"] == found.summary["round"].max()]
        own, random = (summary[summary.lane == lane] for lane in ("ticket", "random"))
        optimistic = ""
        if "test_selected_test_accuracy" in own:
            optimistic = (
                f"{100 * own.test_selected_test_accuracy.median():.2f} at "
                f"{100 - 100 * own.test_selected_density.mean():.1f}"
            )
        seconds = found.summary.groupby("round").seconds.first().sum()
        shown = [
            name,
            median(own.test_accuracy),
            mean(own.test_accuracy),
            mean(1 - own.density),
            f"{100 - 100 * own.density_before_pruning.mean():.1f}",
            f"{100 * random.test_accuracy.mean():.1f}",
            optimistic,
            f"{own.generation.mean():.0f}",
            f"{seconds:.0f}",
        ]
        lines.append(f"| {' | '.join(shown)} |")
    return lines


def trained_table(runs: dict) -> list[str]:
    """Markdown: dense networks, and IMP's tickets at some densities."""
    lines = ["| data | lane | weights % | median test accuracy % | mean |"]
    lines.append("| --- " * 5 + "|")
    for name, found in runs.items():
        for (number, lane), own in found.summary.groupby(["round", "lane"], sort=False):
            if number in (6, 9) or (number == 0 and lane == "ticket"):
                accuracy = own.early_stop_test_accuracy
                shown = [
                    name,
                    "dense" if number == 0 else {"ticket": "imp"}.get(lane, lane),
                    f"{100 * own.density.mean():.1f}",
                    median(accuracy),
                    mean(accuracy),
                ]
                lines.append(f"| {' | '.join(shown)} |")
    return lines


def popup_table(runs: dict) -> list[str]:
    """Markdown: what edge-popup's masks are worth, untrained and trained."""
    lines = ["| data | lane | weights % | median untrained test accuracy % | mean | "
             "median when trained |", "| --- " * 6 + "|"]  # fmt: skip
    for name, found in runs.items():
        summary = found.summary[found.summary.density < 1]
        for (_, lane), own in summary.groupby(["round", "lane"], sort=False):
            shown = [
                name,
                lane,
                f"{100 * own.density.mean():.1f}",
                median(own.untrained_test_accuracy),
                mean(own.untrained_test_accuracy),
                median(own.early_stop_test_accuracy),
            ]
            lines.append(f"| {' | '.join(shown)} |")
    return lines


def pruned_again(folder: Path) -> list[str]:
    """Markdown: tickets of `large` pruned with other tolerances, not searched anew."""
    lines = ["| run | tolerance % | median test accuracy % | mean | sparsity % |"]
    lines.append("| --- " * 5 + "|")
    for name in ("moons_large", "moons_large_fresh"):
        for tolerance in (0.0, 0.002, 0.005, 0.01, 0.02, 0.03):
            presets, changes = RUNS[name]
            config = strong_tickets.get_config(presets)
            config.update_from_flattened_dict(changes)
            config.algorithm.prune_tolerance = tolerance
            roots = rng.roots(config.seed.root)
            task = assembly.make_task(config, roots)
            make_run = programs.make_programs(config, task, folder / name)
            algorithm = assembly.make_algorithm(config, task, make_run)
            state = run_directory.restore(folder / name, like=algorithm.init(roots))
            last = len(algorithm.ladder) - 1
            _, info = algorithm.step(state._replace(round=jnp.int32(last)))
            accuracy = np.asarray(info.trained.summary["test_accuracy"])
            names = masks.prunable_names(info.prunable)
            leaves = masks.named_leaves(info.mask)
            bits = [np.asarray(leaves[leaf]).reshape(len(info.labels), -1)
                    for leaf in names]  # fmt: skip
            pruned = 1 - np.concatenate(bits, axis=1).mean(1)
            own = slice(0, config.replicates)
            shown = [name, f"{100 * tolerance:g}", median(accuracy[own]),
                     mean(accuracy[own]), mean(pruned[own])]  # fmt: skip
            lines.append(f"| {' | '.join(shown)} |")
    return lines


def main(folder, *names):
    folder, here = Path(folder), Path(__file__).parent
    others = {f"imp_{name}": trained_config(own) for name, own in TRAINED.items()}
    others |= {f"edge_popup_{name}": popup_config(name) for name in POPUP}
    wanted = names or (*RUNS, *others)
    for name in wanted:
        start = time.perf_counter()
        print(f"--- {name}", flush=True)
        if name in RUNS:
            presets, changes = RUNS[name]
            config = strong_tickets.get_config(presets)
            config.update_from_flattened_dict(changes)
        else:
            config = others[name]
        lottery_jax.run(config, folder / name)
        print(f"--- {name}: {time.perf_counter() - start:.0f} s", flush=True)

    def done(names):
        return {
            name: lottery_jax.load_results(folder / name)
            for name in names
            if (folder / name / "figures").is_dir()
        }

    searches = done(RUNS)
    trained_runs = done(f"imp_{name}" for name in TRAINED)
    trained = {name[4:]: run for name, run in trained_runs.items()}
    popups = {name[11:]: run for name, run in
              done(f"edge_popup_{name}" for name in POPUP).items()}  # fmt: skip
    parts = [*table(searches), "", *trained_table(trained), "", *popup_table(popups)]
    if {"moons_large", "moons_large_fresh"} <= set(searches):
        parts += ["", *pruned_again(folder)]
    (here / "tables.md").write_text("\n".join(parts) + "\n")
    frames = []
    for name, found in (searches | trained_runs).items():
        last = found.summary["round"].max() if name in searches else 0
        rows = found.summary[found.summary["round"] >= last]
        columns = ["round", "lane", "replicate", "density", "kept", "live_weights",
                   "validation_accuracy", "test_accuracy", "early_stop_test_accuracy",
                   "density_before_pruning", "validation_accuracy_before_pruning",
                   "test_selected_test_accuracy", "test_selected_density",
                   "generation"]  # fmt: skip
        columns = [column for column in columns if column in rows]
        frames.append(rows[columns].assign(run=name))
    together = pd.concat(frames)
    together.to_csv(here / "summary.csv", index=False, float_format="%.5g")
    for data in ("moons", "circles"):
        name = f"{data}_large"
        if name in searches:
            figures = search_figures.of_strong_tickets(searches[name])
            lanes = {}
            if data in trained:
                rows = trained[data].summary
                rows = rows[rows.lane == "ticket"]
                lanes["imp"] = rows[["round", "replicate", "density"]].assign(
                    validation_accuracy=rows.validation_accuracy
                )
            figures["front"] = search_figures.front(searches[name], lanes)
            for stem, figure in figures.items():
                FigureCanvasAgg(figure).print_png(here / f"{data}_{stem}.png")


if __name__ == "__main__":
    main(*sys.argv[1:])
