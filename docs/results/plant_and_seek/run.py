"""Planted tickets: are they exact, and do seven methods find them?

    cd docs/results/plant_and_seek
    PYTHONPATH=../../.. python run.py RUNS

checks every hand-made network at every depth, runs what is not there yet under the
folder RUNS (the three tasks; the circle planted as in the paper's code; a ticket that
`imp` found on digits, in a network of twice its width), and writes `tables.md`,
`summary.csv` and figures beside this file.
"""

import shutil
import sys
import time
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import pandas as pd

import lottery_jax
from configs import plant_and_seek, quickstart
from lottery_jax.analysis.statistics import confidence_interval
from lottery_jax.models import MODELS
from lottery_jax.tickets import masks, planting, targets

RUNS = {
    "circle": ("circle", {}),
    "helix": ("helix", {}),
    "relu": ("relu", {}),
    "circle_faithful": (
        "circle,faithful",
        {"algorithm.methods": ("random", "magnitude", "synflow", "synflow_one_shot")},
    ),
    "ticket": ("ticket", {}),
}
"""Name -> presets of `plant_and_seek.py` and changes."""

SEEDS = 20


def errors_of_planting() -> pd.DataFrame:
    """Largest error of masked networks, in parts of the target's largest output."""
    rows = []
    for mode in planting.MODES:
        for name in targets.TARGETS:
            for depth in range(3, 11):
                error = error_of_planting(mode, name, depth)
                rows.append(
                    {"task": name, "mode": mode, "depth": depth, "error": error}
                )
    return pd.DataFrame(rows)


def error_of_planting(mode, name, depth):
    target = targets.make_target(name, depth)
    ends = len(target[0].kernel), len(target[-1].bias)
    large = MODELS["mlp"](
        ends[:1], ends[1], hidden=(100,) * (depth - 2), initializer="kaiming_normal"
    )
    common = name == "circle"
    with jax.enable_x64(True):
        keys = jax.random.split(jax.random.key(depth), SEEDS)
        shapes, _ = jax.eval_shape(large.init, keys[0])

        def one(key):
            # As `planted_model` draws them, in double precision.
            leaves = {}
            scale = 1.0
            for i, layer in enumerate(planting.layer_names(depth - 1)):
                shape = shapes[layer]["kernel"].shape
                kernel_key, bias_key = jax.random.split(jax.random.fold_in(key, i))
                std = np.sqrt(2 / shape[0])
                scale *= std
                leaves[layer] = {
                    "kernel": std * jax.random.normal(kernel_key, shape, jnp.float64),
                    "bias": scale * jax.random.normal(bias_key, shape[1:], jnp.float64),
                }
            planted = planting.plant(leaves, target, mode, common=common)
            x = jax.random.uniform(key, (200, ends[0]), jnp.float64, -1, 1)
            ticket = masks.apply(planted.params, planted.truth.mask)
            outputs, _ = large.apply(ticket, {}, x, train=False)
            return x, outputs / planted.truth.scale

        x, outputs = jax.jit(jax.vmap(one))(keys)
        expected = np.stack([targets.apply(target, np.asarray(each)) for each in x])
        return np.abs(outputs - expected).max() / np.abs(expected).max()


def table(summary: pd.DataFrame) -> str:
    """Markdown: a row per density and method, means over replicates."""
    regression = "test_accuracy" not in summary
    quality = "rescaled_test_loss" if regression else "test_accuracy"
    strong = f"untrained_rescaled_test_{'loss' if regression else 'accuracy'}"
    lines = [
        f"| weights | method | {quality} | untrained | recall | random masks with its "
        "counts | precision | empty layers |",
        "| --- " * 8 + "|",
    ]
    for (number, lane), rows in summary.groupby(["round", "lane"], sort=False):
        del number
        recall, low, high = confidence_interval(rows.recall)
        shown = [
            f"{100 * rows.density.mean():.3g} %",
            lane,
            f"{rows[quality].mean():.4g}",
            f"{rows[strong].mean():.3g}",
            f"{recall:.3f} [{low:.3f}, {high:.3f}]",
            f"{rows.recall_chance.mean():.3f}",
            f"{rows.precision.mean():.3f}",
            f"{(rows.empty_layers > 0).sum()} of {len(rows)}",
        ]
        lines.append(f"| {' | '.join(shown)} |")
    return "\n".join(lines)


def main(folder):
    folder, here = Path(folder), Path(__file__).parent
    exact = errors_of_planting()
    worst = exact.groupby(["mode", "task"]).error.max()
    parts = [
        f"# Exactness\n\n{SEEDS} networks of each depth from 3 to 10, width 100, in "
        "float64: largest error of the masked network over its known factors.\n",
        *(f"- {mode}, {task}: {error:.1e}" for (mode, task), error in worst.items()),
    ]
    found = folder / "found"  # 100-50 hidden units, planted among twice as many
    lottery_jax.run(quickstart.get_config(), found)
    summaries = {}
    for name, (presets, changes) in RUNS.items():
        config = plant_and_seek.get_config(presets)
        if name == "ticket":
            changes = changes | {"planting.target": str(found)}
        config.update_from_flattened_dict(changes)
        print(f"--- {name}", flush=True)
        start = time.perf_counter()
        summary = lottery_jax.run(config, folder / name).summary
        print(f"--- {name}: {time.perf_counter() - start:.0f} s", flush=True)
        summaries[name] = summary
        parts += [f"\n# {name}\n", table(summary)]
        shutil.copy(folder / name / "figures/recovery.png", here / f"{name}.png")
    (here / "tables.md").write_text("\n".join(parts) + "\n")
    together = pd.concat(summaries, names=["run"]).reset_index("run")
    means = together.groupby(["run", "round", "lane"], sort=False).mean(
        numeric_only=True
    )
    means = means.drop(columns=["replicate", "sample", "seconds", "diverged"])
    means.to_csv(here / "summary.csv", float_format="%.5g")


if __name__ == "__main__":
    main(sys.argv[1])
