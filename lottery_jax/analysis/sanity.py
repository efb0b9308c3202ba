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
      verdict, see `verdict`.
    """
    suffix = "accuracy" if "test_accuracy" in summary else "loss"
    scale = 100 if suffix == "accuracy" else 1
    column = f"early_stop_test_{suffix}"
    names = ["round", "lane", "replicate"]
    means = summary.groupby(names, sort=False)[[column, "density"]].agg(np.mean)
    rows = []
    groups = dict(list(means.groupby(level=["round", "lane"], sort=False)))
    for (number, lane), own in groups.items():
        method, _, check = lane.partition("/")
        if not check:
            continue
        ticket = groups[number, method]
        # float32 has rounded the same accuracy in two ways: it is a part of examples.
        decimals = 6 if suffix == "accuracy" else 12
        original, changed = (
            scale * np.round(values.to_numpy(np.float64), decimals)
            for values in (ticket[column], own[column])
        )
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
                "density": ticket.density.mean(),
                suffix: original.mean(),
                "difference": sign * (original - changed).mean(),
                "low": low,
                "high": high,
                "verdict": verdict(
                    sign * (original - changed).mean(), low, high, matters
                ),
            }
        )
    return pd.DataFrame(rows)


def verdict(difference: float, low: float, high: float, margin: float) -> str:
    """Of what a check costs, its interval, and what does not matter.

    `depends on it`: above 0 with all of the interval, and more than the margin;
    `better without`: the same below; `does not`: the interval lies below the margin.
    `underpowered` is all else, so are lanes that diverged (NaN) and an interval of no
    width, since few replicates may agree by chance.
    """
    if not high - low > 1e-9:
        return UNDERPOWERED
    if low > 0 and difference > margin:
        return DEPENDS
    if high < 0 and difference < -margin:
        return BETTER
    return INDEPENDENT if high < margin else UNDERPOWERED


def to_markdown(rows: pd.DataFrame) -> str:
    """A table of methods x checks for each density: difference, interval, verdict."""
    if rows.empty:
        return ""
    suffix = "accuracy" if "accuracy" in rows else "loss"
    unit = "percentage points" if suffix == "accuracy" else "test loss"
    margin = "0.5" if suffix == "accuracy" else "0.5 % of the method's"
    parts = [
        "# What the methods depend on\n",
        f"What the test {suffix} at early stop loses by each check, in {unit}, with "
        f"the 95 % interval over replicates. **Bold**: more than {margin}, and all of "
        "the interval is above 0 (the method depends on it). *Slanted*: the same below "
        f"(better without). Plain: the interval lies below {margin} (it does not). (In "
        "brackets): too few replicates to say. -: the check cannot change its masks.\n",
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
