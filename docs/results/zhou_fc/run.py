"""Zhou et al.'s scores, trained and untrained, beside an independent run of their code.

    cd docs/results/zhou_fc
    LOTTERY_DATA_DIR=DATA PYTHONPATH=../../.. python run.py RUNS

runs what is not there yet of the presets of `configs/zhou_fc.py` in the folder RUNS,
and writes claims, tables and figures beside this file: two hours on two free cores, of
which a score takes 20 minutes and its untrained masks about five.

`reference.csv`: means and sample standard deviations of five seeds in percent, from the
tables of bmiselis/deconstructing-lottery-tickets. It lacks their variants of
magnitude_increase by sign, which keep weights of the other sign too.
"""

import sys
from pathlib import Path

import pandas as pd
from matplotlib.backends.backend_agg import FigureCanvasAgg
from scipy import stats

import lottery_jax
from configs import zhou_fc
from lottery_jax.analysis import claims
from lottery_jax.reporting import plotting

ITERATIVE = ("large_final", "magnitude_increase", "movement", "random", "small_final")
SEEDS = 5  # of the reference
BEST_OF_SEEDS = {
    "large_final": "39.9 +- 4.0",
    "magnitude_increase": "35.1 +- 1.2",
    "movement": "17.0 +- 2.2",
    "random": "16.9 +- 2.7",
    "large_final_same_sign": "79.3 +- 2.1",
}
"""The reference's untrained masks of initial weights: best round of each seed."""

UNTRAINED = tuple(BEST_OF_SEEDS)
LOOKS = {
    score: plotting.layer_style(place)
    for place, score in enumerate(dict.fromkeys(ITERATIVE + UNTRAINED))
}

BEST = "early_stop_test_accuracy"
HERE = Path(__file__).parent


def run(folder: Path, presets: list[str]) -> pd.DataFrame:
    """The runs of some presets as one summary, with `score` and `accuracy` (%)."""
    found = []
    for preset in presets:
        print(f"--- {preset}", flush=True)
        summary = lottery_jax.run(zhou_fc.get_config(preset), folder / preset).summary
        score = preset.removesuffix(",untrained")
        found.append(summary.assign(score=score, accuracy=100 * summary[BEST]))
    return pd.concat(found, ignore_index=True)


def beside_reference(tickets: pd.DataFrame, protocol: str) -> pd.DataFrame:
    """A row per score and round that the reference has, with both means.

    `p`: of Welch's test that they are equal; NaN where they are and nothing varies.
    """
    ours = tickets.groupby(["score", "round"]).agg(
        density=("density", "mean"), ours=("accuracy", "mean"),
        ours_sd=("accuracy", "std"), replicates=("accuracy", "count"),
    ).round(6)  # equal replicates deviate by 0, not by 1e-15  # fmt: skip
    reference = pd.read_csv(HERE / "reference.csv").query("protocol == @protocol")
    both = reference.merge(ours, on=["score", "round"])
    columns = ["ours", "ours_sd", "replicates", "mean", "sd"]
    sides = [both[column].to_numpy() for column in columns]
    test = stats.ttest_ind_from_stats(*sides, SEEDS, equal_var=False)
    return both.assign(p=test.pvalue)


def table(both: pd.DataFrame, scores: tuple[str, ...], digits: int) -> str:
    """Markdown: ours / the reference's mean, a column per score; * where p < 0.01."""
    cells = [
        f"{ours:.{digits}f} / {reference:.{digits}f}" + (" *" if p < 0.01 else "")
        for ours, reference, p in zip(both.ours, both["mean"], both.p, strict=True)
    ]
    shown = both.assign(cell=cells).pivot(index="round", columns="score", values="cell")
    density = both.groupby("round").density.mean()
    lines = [
        f"| percent of weights | {' | '.join(scores)} |",
        "| --- " * (1 + len(scores)) + "|",
    ]
    for number, row in shown[list(scores)].iterrows():
        lines.append(f"| {100 * density[number]:.3g} | {' | '.join(row)} |")
    return "\n".join(lines) + "\n"


def best_table(pruned: pd.DataFrame) -> str:
    """Markdown: each replicate's best round on the test split, as the paper has it."""
    best = pruned.groupby(["score", "lane", "replicate"], sort=False).accuracy.max()
    best = best.groupby(["score", "lane"], sort=False).agg(["mean", "std"])
    lines = [
        "| score | initial weights | reference | signed constants |",
        "| --- | --- | --- | --- |",
    ]
    for score, reference in BEST_OF_SEEDS.items():
        initial, constants = (
            "{:.1f} +- {:.1f}".format(*best.loc[score, lane])
            for lane in ("ticket", "constant_signed")
        )
        lines.append(f"| {score} | {initial} | {reference} | {constants} |")
    return "\n".join(lines) + "\n"


def draw(axes, summary: pd.DataFrame, both: pd.DataFrame | None):
    """Ours as lines with bands, the reference as hollow marks with bars."""
    half = stats.t.ppf(0.975, SEEDS - 1) / SEEDS**0.5
    for score, rows in summary.groupby("score", sort=False):
        look = LOOKS[score]
        plotting.band(axes, rows, "percent", "accuracy", look, score)
        if both is not None:
            reference = both[both.score == score]
            axes.errorbar(
                100 * reference.density, reference["mean"], half * reference.sd,
                linestyle="", marker=look["marker"], color=look["color"],
                markerfacecolor="white", markersize=7, zorder=0,
            )  # fmt: skip
    plotting.density_axis(axes, summary.percent)


def figure(contents, about: str, path: Path):
    """Two panels; contents: (summary, both or None, label, limits of y) of each."""
    drawn, panels = plotting.panels(2, share=False, width=4.4)
    for axes, (summary, both, label, limits) in zip(panels, contents, strict=True):
        draw(axes, summary, both)
        axes.set_ylabel(label)
        axes.set_ylim(limits)
    panels[0].legend(frameon=False, handlelength=3.5, fontsize=8)
    drawn.suptitle(
        f"{about}, five replicates; hollow: Zhou et al.'s code, five seeds; "
        "bands and bars: 95 %",
        fontsize=9,
    )
    FigureCanvasAgg(drawn).print_png(path)


def order(better: str, worse: str) -> dict:
    """A claim: after 12 rounds one score's tickets are more accurate than another's."""
    return dict(
        id=f"{better} > {worse}", statement="accuracy after 12 rounds (points)",
        quantity=BEST, lane=f"{better}/ticket", round=12,
        versus_lane=f"{worse}/ticket", versus_round=12,
        measure="points", relation="at_least", expected=0.0,
    )  # fmt: skip


def save(summary: pd.DataFrame, both: pd.DataFrame, name: str):
    """Every replicate, and the means beside the reference's."""
    columns = ["score", "lane", "round", "replicate", "density", "early_stop_step"]
    columns += [BEST, "test_accuracy"]
    summary[columns].to_csv(HERE / f"{name}.csv", index=False, float_format="%.6g")
    path = HERE / f"{name}_beside_reference.csv"
    both.to_csv(path, index=False, float_format="%.4g")


def iterative(folder: Path):
    """Iterative pruning: claims, table, figure."""
    tickets = plotting.with_percent(run(folder, list(ITERATIVE)))
    both = beside_reference(tickets, "iterative")
    save(tickets, both, "iterative")
    stated = [
        claim | {"lane": f"{score}/ticket"}
        for score in ITERATIVE
        for claim in zhou_fc.get_config(score).claims
    ]
    stated += [order("large_final", "movement"), order("movement", "random"),
               order("random", "small_final")]  # fmt: skip
    together = claims.together(dict(iter(tickets.groupby("score", sort=False))))
    verdicts = claims.judge(together, stated, zhou_fc.get_config().train.steps)
    (HERE / "claims.md").write_text(claims.to_markdown(verdicts))
    (HERE / "iterative.md").write_text(table(both, ITERATIVE, 2))
    label = "test accuracy at early stop (%)"
    contents = [(tickets, both, label, limits) for limits in ((0, 101), (93, 98.6))]
    figure(contents, "Trained tickets", HERE / "iterative.png")


def untrained(folder: Path):
    """Masks alone, on initial weights and on signed constants: tables, figure."""
    summary = run(folder, [f"{score},untrained" for score in UNTRAINED])
    # Round 0 is the trained dense network here, the untrained one in the reference.
    pruned = plotting.with_percent(summary[summary["round"] > 0])
    tickets = pruned[pruned.lane == "ticket"]
    constants = pruned[pruned.lane == "constant_signed"]
    both = beside_reference(tickets, "untrained")
    save(summary, both, "untrained")
    text = f"{best_table(pruned)}\n{table(both, UNTRAINED, 1)}"
    (HERE / "untrained.md").write_text(text)
    label = "test accuracy untrained (%)"
    contents = [(tickets, both, f"{label}, initial weights", (0, 101)),
                (constants, None, f"{label}, signed constants", (0, 101))]  # fmt: skip
    figure(contents, "Masks alone", HERE / "untrained.png")


if __name__ == "__main__":
    iterative(Path(sys.argv[1]))
    untrained(Path(sys.argv[1]))
