"""What a method depends on: its tickets against those of a check, with a verdict.

A check or control takes one thing away from a method (Su et al., arXiv:2009.11094;
Frankle et al., arXiv:2009.08576). What the tickets lose by it, over replicates, says
whether they needed it.
"""

import numpy as np
import pandas as pd

from lottery_jax.analysis import statistics

MARGIN = 0.5
"""Percentage points of accuracy (percent of the loss) that do not matter."""

DEPENDS, INDEPENDENT = "depends on it", "does not"
BETTER, UNDERPOWERED = "better without", "underpowered"


def table(summary: pd.DataFrame, margin: float = MARGIN) -> pd.DataFrame:
    """One row per method, check and round.

    Args:
      summary: of a run of `compare`; draws of a control are averaged per replicate.
      margin: what does not matter, in percentage points (regression: in percent of the
        method's mean loss).

    Returns:
      method, check, round, density (mean of the method's tickets), accuracy (test
      accuracy of the method in percent; or `loss`), difference (method less check,
      positive where the check does harm), its 95 % interval low to high, and the
      verdict: `depends on it` where the interval lies above 0, `better without` where
      it lies below minus the margin, `does not` where it lies below the margin, and
      `underpowered` else, and where a lane has diverged.
    """
    suffix = "accuracy" if "test_accuracy" in summary else "loss"
    scale = 100 if suffix == "accuracy" else 1
    column = f"early_stop_test_{suffix}"
    names = ["round", "lane", "replicate"]
    means = summary.groupby(names, sort=False)[[column, "density"]].agg(np.mean)
    rows = []
    for (number, lane), own in means.groupby(level=["round", "lane"], sort=False):
        method, _, check = lane.partition("/")
        if not check:
            continue
        original = scale * means[column].loc[number, method].to_numpy(np.float64)
        changed = scale * own[column].to_numpy(np.float64)
        sign = 1 if suffix == "accuracy" else -1
        low, high, _ = statistics.paired_bootstrap(
            sign * original, sign * changed, statistics.difference
        )
        matters = margin if suffix == "accuracy" else margin / 100 * original.mean()
        rows.append(
            {
                "method": method,
                "check": check,
                "round": number,
                "density": means.density.loc[number, method].mean(),
                suffix: original.mean(),
                "difference": sign * (original - changed).mean(),
                "low": low,
                "high": high,
                "verdict": verdict(low, high, matters),
            }
        )
    return pd.DataFrame(rows)


def verdict(low: float, high: float, margin: float) -> str:
    """Of an interval of what a check costs; no width, or NaN, is underpowered.

    Few replicates may agree by chance: an interval of no width says nothing.
    """
    if low == high:
        return UNDERPOWERED
    if low > 0:
        return DEPENDS
    if high < -margin:
        return BETTER
    return INDEPENDENT if high < margin else UNDERPOWERED


def to_markdown(rows: pd.DataFrame) -> str:
    """A table of methods x checks for each density: difference, interval, verdict."""
    if rows.empty:
        return ""
    suffix = "accuracy" if "accuracy" in rows else "loss"
    unit = "percentage points" if suffix == "accuracy" else "test loss"
    parts = [
        "# What the methods depend on\n",
        f"What the test {suffix} at early stop loses by each check, in {unit}, with "
        "the 95 % interval over replicates: **bold** where the interval lies above 0 "
        "(the method depends on it; in one cell of forty by chance), *slanted* where "
        f"it lies below -{MARGIN} (the tickets are better without), plain where it "
        f"lies below {MARGIN} (it does not), (in brackets) where there are too few "
        "replicates to say. -: the check cannot change the method's masks.\n",
    ]
    checks = list(dict.fromkeys(rows.check))
    for density, at in rows.groupby("density", sort=False):
        parts.append(f"## {100 * density:.3g} % of the weights\n")
        parts.append(f"| method | test {suffix} | {' | '.join(checks)} |")
        parts.append("| --- " * (len(checks) + 2) + "|")
        for method, own in at.groupby("method", sort=False):
            found = own.set_index("check")
            cells = [
                _cell(found.loc[check]) if check in found.index else "-"
                for check in checks
            ]
            value = f"{own[suffix].iloc[0]:.4g}"
            parts.append(f"| {method} | {value} | {' | '.join(cells)} |")
        parts.append("")
    return "\n".join(parts)


def _cell(row) -> str:
    # Accuracies are float32: what is beyond the fourth decimal is rounding.
    shown = (f"{round(x, 4) + 0.0:.3g}" for x in (row.difference, row.low, row.high))
    text = "{} [{}, {}]".format(*shown)
    marked = {DEPENDS: f"**{text}**", BETTER: f"*{text}*", UNDERPOWERED: f"({text})"}
    return marked.get(row.verdict, text)
