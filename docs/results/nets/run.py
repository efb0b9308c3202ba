"""Runs the searches of this folder and draws its figures.

    PYTHONPATH=../../.. python run.py RUNS [xor10 xor100 adam compat lenet_mnist paper]

RUNS is a directory for the runs; what is there already is not run again. MNIST is read
from LOTTERY_DATA_DIR. Takes 50 minutes on two free cores, a quarter of an hour for each
of the last three, nearly all of it trainings after the search.
"""

import shutil
import sys
from pathlib import Path

import jax
import numpy as np
import pandas as pd

import lottery_jax
from lottery_jax import assembly, experiment
from lottery_jax.analysis.statistics import confidence_interval
from lottery_jax.data.synthetic import xor
from lottery_jax.reporting import results, search_figures
from lottery_jax.tickets import masks
from lottery_jax.types import Split

ACCURACY = "early_stop_test_accuracy"
FIGURES = ("search", "comparison", "density", "training")
HERE = Path(__file__).parent
PRESETS = {
    "xor10": "xor10",
    "xor100": "xor100",
    "adam": "lenet_mnist,adam",
    "compat": "compat",
    "lenet_mnist": "lenet_mnist",
    "paper": "paper",
}


def config_of(name: str):
    return lottery_jax.load_config(
        HERE.parents[2] / "configs" / f"nets.py:{PRESETS[name]}"
    )


def compared(found: results.Results) -> pd.DataFrame:
    """The last round and the dense network, a row for every replicate and lane."""
    last = found.config["algorithm"]["generations"]
    summary = found.summary[found.summary["round"] > last]
    is_last = summary["round"] == summary["round"].max()
    return summary[is_last | (summary.lane == "dense")]


def with_interval(values, scale=100) -> str:
    mean, low, high = (scale * end for end in confidence_interval(np.asarray(values)))
    return f"{mean:.2f} [{low:.2f}, {high:.2f}]"


def table(found: results.Results) -> str:
    """Lanes with their density and accuracy, and the ticket's lead over each."""
    rows = compared(found)
    ticket = rows[rows.lane == "ticket"].set_index("replicate")[ACCURACY]
    lines = [
        "| lane | % of weights | test accuracy (%) | ticket's lead (points) | "
        "replicates at 100 % |",
        "| --- | --- | --- | --- | --- |",
    ]
    for lane, own in rows.groupby("lane", sort=False):
        own = own.set_index("replicate")
        lead = "" if lane == "ticket" else with_interval(ticket - own[ACCURACY])
        whole = int((own[ACCURACY] == 1).sum())
        cells = [
            lane, f"{100 * own.density.mean():.1f}", with_interval(own[ACCURACY]),
            lead, str(whole),
        ]  # fmt: skip
        lines.append(f"| {' | '.join(cells)} |")
    return "\n".join(lines)


def course(found: results.Results) -> str:
    """Best fitness and density of some generations, and what the search took."""
    searched = found.summary[found.summary.fitness.notna()]
    last = searched["round"].max()
    lines = ["| generation | fitness | % of weights |", "| --- | --- | --- |"]
    for number in sorted({0, 1, 3, 5, 10, last // 2, last} & set(searched["round"])):
        own = searched[searched["round"] == number]
        density = 100 * own.density
        lines.append(
            f"| {number} | {with_interval(own.fitness, 1)} | {density.mean():.1f} "
            f"({density.min():.1f} to {density.max():.1f}) |"
        )
    fields = found.config["algorithm"]
    children = fields["population"] - fields["elites"]
    going = ~searched.stopped.astype(bool)
    # What ends a search is measured too.
    measured = (going.groupby(searched.replicate).sum() + 1).clip(upper=last + 1)
    candidates = fields["population"] + children * (measured.mean() - 1)
    steps = fields["search"]["steps"] * candidates
    after = found.summary[found.summary["round"] > last].drop_duplicates("round")
    pruning = after.seconds[:-1].sum()
    seconds = searched.drop_duplicates("round").seconds.sum()
    train, levels = found.config["train"]["steps"], fields["imp_rounds"]
    lines.append(
        f"\nA replicate measured {candidates:,.0f} candidates, {steps:,.0f} optimizer "
        f"steps; iterative pruning takes {levels * train:,} to find its mask. "
        f"All {found.config['replicates']} searches together took {seconds:.0f} s, the "
        f"dense networks and all levels but the last {pruning:.0f} s."
    )
    return "\n".join(lines)


def draw_xor(found: results.Results, name: str):
    """What tickets decide and look like; returns accuracies on noisy points."""
    config = config_of(name)
    task, state = assembly.load_state(config, found.workdir)
    raw = xor(None, jax.random.key(1)).train
    noisy = Split(*(np.asarray(part, np.float32) for part in raw))
    drawn, accuracies = [], []
    for i in range(config.replicates):
        params, mask = (
            jax.tree.map(lambda leaf, i=i: np.asarray(leaf[i]), tree)
            for tree in (state.matched.ticket, state.best.mask)
        )
        logits, _ = task.model.apply(
            masks.apply(params, mask), {}, noisy.x, train=False
        )
        accuracies.append(np.mean((np.asarray(logits)[:, 0] > 0) == noisy.y))
        drawn.append((params, mask, f"replicate {i}"))
    points = task.dataset.test
    boundaries = [
        (task.model.apply, params, mask, points, title)
        for params, mask, title in drawn[:3]
    ]
    figure = search_figures.decisions(boundaries)
    figure.savefig(HERE / f"{name}_decisions.png")
    if name == "xor10":
        search_figures.networks(drawn[:3]).savefig(HERE / f"{name}_networks.png")
    return np.array(accuracies)


def main(runs: Path, names: list[str]):
    for name in names or PRESETS:
        found = experiment.run(config_of(name), runs / name)
        text = f"# {name}\n\n{course(found)}\n\n{table(found)}\n"
        if name.startswith("xor"):
            on_noisy = with_interval(draw_xor(found, name))
            text += f"\nTickets on noisy points: {on_noisy} %.\n"
            text += f"\n![What tickets decide]({name}_decisions.png)\n"
        if name == "xor10":
            text += f"\n![Tickets]({name}_networks.png)\n"
        for figure in FIGURES:
            text += f"\n![{figure}]({name}_{figure}.png)\n"
        (HERE / f"{name}.md").write_text(text)
        columns = ["round", "lane", "sample", "replicate", "density", "kept"]
        columns += [
            column for column in ("fitness", ACCURACY, "test_accuracy", "seconds")
            if column in found.summary
        ]  # fmt: skip
        found.summary[columns].to_csv(
            HERE / f"{name}.csv", index=False, float_format="%.6g"
        )
        lottery_jax.draw_figures(found)
        for figure in FIGURES:
            shutil.copy(
                found.workdir / "figures" / f"{figure}.png",
                HERE / f"{name}_{figure}.png",
            )


if __name__ == "__main__":
    jax.config.update("jax_num_cpu_devices", 2)
    main(Path(sys.argv[1]), sys.argv[2:])
