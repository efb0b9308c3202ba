"""Which sparse topology is best at equal parameters, and does reconstruction tell?

    cd docs/results/topologies
    PYTHONPATH=../../.. python run.py RUNS

runs the presets of `configs/topologies.py` that are not there yet under the folder
RUNS, reconstructs random dense matrices on the masks that were trained, and writes
`topologies.csv`, `reconstruction.csv`, `tables.md` and the figures beside this file.
"""

import sys
from pathlib import Path

import jax
import numpy as np
import pandas as pd
from scipy.stats import spearmanr

import lottery_jax
from configs import topologies
from lottery_jax.analysis.reconstruction import (
    low_rank_error,
    random_targets,
    reconstruction_error,
)
from lottery_jax.analysis.statistics import (
    confidence_interval,
    difference,
    paired_bootstrap,
)
from lottery_jax.reporting import topology_figures
from lottery_jax.reporting.figures import FigureCanvasAgg
from lottery_jax.tickets.topology import TOPOLOGIES

PRESETS = ("", "few", "many", "parallel")
NODES, TARGETS = 64, 4
BEST = "early_stop_test_accuracy"

# Topology, stages, degree -> relative squared error in a first trial with two seeds.
# Its random supports had an exact number of places before each node alone.
PILOT = {
    ("butterfly", 6, 2): 0.765,
    ("butterfly", 3, 8): 0.365,
    ("butterfly", 6, 4): 0.396,
    ("random_regular", 6, 4): 0.418,
    ("butterfly", 12, 2): 0.535,
    ("parallel_butterfly", 6, 4): 0.556,
    ("random_regular", 3, 16): 0.041,
    ("random_regular", 6, 8): 0.074,
    ("hypercube", 7, 7): 0.074,
    ("torus", 10, 5): 0.122,
    ("parallel_butterfly", 6, 8): 0.253,
    ("butterfly", 24, 2): 0.303,
}
LOW_RANK = {6: 0.693, 12: 0.482}


def reconstruct(supports) -> float:
    targets = random_targets(jax.random.key(0), TARGETS, NODES)
    return float(reconstruction_error(jax.random.key(1), supports, targets).mean())


def pilot() -> pd.DataFrame:
    rows = []
    for (name, stages, degree), before in PILOT.items():
        supports = TOPOLOGIES[name].supports(
            NODES, stages, degree, np.random.default_rng(0)
        )
        rows.append((name, stages, degree, supports.sum(), before,
                     reconstruct(supports)))  # fmt: skip
    targets = random_targets(jax.random.key(0), TARGETS, NODES)
    for rank, before in LOW_RANK.items():
        error = np.mean([low_rank_error(target, rank) for target in targets])
        rows.append((f"rank {rank}", 2, rank, 2 * NODES * rank, before, error))
    names = ["topology", "stages", "degree", "weights", "pilot", "error"]
    return pd.DataFrame(rows, columns=names)


def cascade(masks: dict, ticket: int, layer: int = 0) -> np.ndarray:
    """Supports [P, S, N, N] of a hidden layer of a ticket of `load_masks`."""
    found = {}
    for name, leaf in masks.items():
        if name.startswith(f"cascade_{layer}/"):
            _, branch, _, stage = name.split("/")[1].split("_")
            found[int(branch), int(stage)] = leaf[ticket]
    branches, stages = np.array(list(found)).max(0) + 1
    supports = np.array(
        [
            [found[branch, stage] for stage in range(stages)]
            for branch in range(branches)
        ]
    )
    return supports[supports.any((1, 2, 3))]


def of_run(results: lottery_jax.reporting.results.Results) -> list[dict]:
    """A row per topology and degree: what it is, its error, its accuracies."""
    rows, config = [], results.config
    replicates = config["replicates"]
    for number, degree in enumerate(config["algorithm"]["degrees"], 1):
        masks = lottery_jax.load_masks(results.workdir, number)
        summary = results.summary[results.summary["round"] == number]
        tickets = summary[~summary.lane.str.contains("/")]
        for place, (lane, own) in enumerate(tickets.groupby("lane", sort=False)):
            aware = np.array(own[BEST])
            dense_init = summary[summary.lane == f"{lane}/dense_init"][BEST]
            stages = config["model"]["stages"]
            mean, low, high = 100 * np.array(confidence_interval(aware))
            rows.append({
                "lane": lane, "stages": stages, "degree": degree,
                "weights": NODES * degree * stages,
                "least_paths": own.least_paths.min(),
                "most_paths": own.most_paths.max(),
                "error": reconstruct(cascade(masks, place * replicates)),
                "mean": mean, "low": low, "high": high,
                "dense_init": 100 * dense_init.mean(), "accuracies": aware,
            })  # fmt: skip
    return rows


def correlations(table: pd.DataFrame) -> pd.DataFrame:
    """Spearman's rank correlation of error and accuracy, its mean over replicates.

    Of all points, of those with as many weights, and of those with as many weights and
    stages, the last averaged over groups of at least five.
    """
    by_weights = {size: [own] for size, own in table.groupby("weights") if len(own) > 5}
    both = [own for _, own in table.groupby(["weights", "stages"]) if len(own) > 4]
    groups = {"all": [table], **by_weights, "as many weights and stages": both}
    rows = []
    for name, parts in groups.items():
        each = np.mean([rank_correlation(own) for own in parts], 0)
        points = sum(len(own) for own in parts)
        rows.append((name, points, *confidence_interval(each)))
    return pd.DataFrame(rows, columns=["weights", "points", "mean", "low", "high"])


def rank_correlation(table: pd.DataFrame) -> list[float]:
    """Of error and accuracy over the rows, one number per replicate."""
    accuracies = np.stack(table.accuracies.to_list())
    return [spearmanr(table.error, column).statistic for column in accuracies.T]


def versus_random_regular(table: pd.DataFrame) -> pd.DataFrame:
    """Points of accuracy above random_regular of the same stages and degree."""
    rows = []
    for (stages, degree), own in table.groupby(["stages", "degree"]):
        by_lane = own.drop_duplicates("lane").set_index("lane").accuracies
        if "random_regular" not in by_lane:
            continue
        base = by_lane["random_regular"]
        for lane in by_lane.index.drop("random_regular"):
            pair = by_lane[lane], base
            low, high, _ = paired_bootstrap(*pair, difference)
            points = 100 * np.array([difference(*pair), low, high])
            rows.append((lane, stages, degree, *points))
    return pd.DataFrame(rows, columns=["topology", "stages", "degree", "points", "low",
                                       "high"])  # fmt: skip


def markdown(table: pd.DataFrame) -> str:
    def cell(value):
        return f"{value:.3g}" if isinstance(value, float) else str(value)

    lines = [
        table.columns,
        ["---"] * len(table.columns),
        *table.itertuples(index=False),
    ]
    return "\n".join(f"| {' | '.join(map(cell, line))} |" for line in lines)


def save(figure, path: Path):
    FigureCanvasAgg(figure).print_png(path)


def main(folder):
    here, rows = Path(__file__).parent, []
    for preset in PRESETS:
        print(f"--- {preset or 'six stages'}", flush=True)
        config = topologies.get_config(preset)
        results = lottery_jax.run(config, Path(folder) / (preset or "six"))
        rows += of_run(results)
        if not preset:
            save(topology_figures.topologies(results), here / "topologies.png")
    # The butterfly of `parallel` is that of the default again.
    table = pd.DataFrame(rows).drop_duplicates(["lane", "stages", "degree"])
    save(topology_figures.against_reconstruction(table), here / "reconstruction.png")
    tables = {
        "Accuracy at equal weights of a cascade": table.drop(
            columns="accuracies"
        ).sort_values(["weights", "mean"], ascending=[True, False]),
        "Points above random_regular": versus_random_regular(table),
        "Rank correlation of reconstruction error and accuracy": correlations(table),
        "Reconstruction error": pilot(),
    }
    first, *_, last = tables.values()
    first.to_csv(here / "topologies.csv", index=False, float_format="%.6g")
    last.to_csv(here / "reconstruction.csv", index=False, float_format="%.4g")
    text = "\n\n".join(f"## {name}\n\n{markdown(one)}" for name, one in tables.items())
    (here / "tables.md").write_text(f"# Tables\n\n{text}\n")
    print(text)


if __name__ == "__main__":
    main(sys.argv[1])
