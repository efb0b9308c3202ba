"""Tickets before training: LeNet-300-100 on MNIST under seven ways to choose them.

    cd docs/results/pruning_at_init
    LOTTERY_DATA_DIR=DATA PYTHONPATH=../../.. python run.py RUNS

runs what is not there yet of the presets of `configs/pruning_at_init.py` under RUNS,
with the steps below in place of 10,000, and writes `tables.md`, `summary.csv` and a
figure beside this file.
"""

import sys
from pathlib import Path

import pandas as pd
from matplotlib.backends.backend_agg import FigureCanvasAgg

import lottery_jax
from configs import pruning_at_init
from lottery_jax.analysis.statistics import confidence_interval
from lottery_jax.reporting import plotting

STEPS = 2000
PRESETS = ("synflow", "snip", "grasp", "magnitude", "random", "erk", "smart_ratio")
BEST = "early_stop_test_accuracy"


def table(summary: pd.DataFrame, lane: str) -> str:
    """Markdown: a row per preset, a column per density; mean and half interval."""
    rows = summary[(summary.lane == lane) & (summary["round"] > 0)]
    density = rows.groupby("round").density.mean()
    lines = [
        f"| {lane} | " + " | ".join(f"{100 * d:.3g} %" for d in density) + " |",
        "| --- " * (1 + len(density)) + "|",
    ]
    for preset, own in rows.groupby("preset", sort=False):
        cells = []
        for _, at in own.groupby("round"):
            mean, low, high = confidence_interval(100 * at[BEST])
            empty = (at.empty_layers > 0).sum()
            note = f" ({empty} of {len(at)} with an empty layer)" if empty else ""
            cells.append(f"{mean:.1f} ± {(high - low) / 2:.1f}{note}")
        lines.append(f"| {preset} | {' | '.join(cells)} |")
    return "\n".join(lines)


def figure(summary: pd.DataFrame, path: Path):
    """Test accuracy of the tickets, and what shuffling them within layers costs."""
    summary = plotting.with_percent(summary)
    drawn, panels = plotting.panels(2, share=False)
    for preset, rows in summary.groupby("preset", sort=False):
        look = plotting.style(preset)
        tickets = rows[(rows.lane == "ticket") & (rows["round"] > 0)]
        shuffled = rows[(rows.lane == "shuffle") & (rows["round"] > 0)]
        plotting.band(panels[0], tickets, "percent", BEST, look, preset, 100)
        costs = tickets.assign(
            cost=tickets[BEST].to_numpy() - shuffled[BEST].to_numpy()
        )
        plotting.band(panels[1], costs, "percent", "cost", look, preset, 100)
    for axes in panels:
        plotting.density_axis(axes, summary.percent[summary["round"] > 0])
    panels[0].set_ylabel("test accuracy at early stop (%)")
    panels[1].set_ylabel("lost by shuffling within layers (points)")
    panels[1].set_yscale("symlog", linthresh=1)
    panels[1].yaxis.set_major_formatter(plotting.PLAIN)
    panels[0].legend(frameon=False, handlelength=3.5, fontsize=8)
    FigureCanvasAgg(drawn).print_png(path)


def main(folder):
    found = []
    for preset in PRESETS:
        config = pruning_at_init.get_config(preset)
        config.train.steps = STEPS
        config.train.eval_every = 100
        print(f"--- {preset}", flush=True)
        summary = lottery_jax.run(config, Path(folder) / preset).summary
        found.append(summary.assign(preset=preset))
    summary = pd.concat(found, ignore_index=True)
    here = Path(__file__).parent
    tables = [table(summary, lane) for lane in ("ticket", "shuffle", "reinit")]
    (here / "tables.md").write_text("\n\n".join(tables) + "\n")
    columns = ["density", "kept", "live_weights", BEST, "test_accuracy"]
    means = summary.groupby(["preset", "round", "lane"], sort=False)[columns].mean()
    means.to_csv(here / "summary.csv", float_format="%.5g")
    figure(summary, here / "test_accuracy.png")


if __name__ == "__main__":
    main(sys.argv[1])
