"""What is printed while a run goes on: one line per round, a table at the end."""

import contextlib
from collections.abc import Iterable
from pathlib import Path

import pandas as pd
from rich.console import Console
from rich.markup import escape
from rich.table import Table

MOST_COLUMNS = 5
"""Lanes that stand side by side in a table; more stand below each other."""

console = Console(highlight=False, soft_wrap=True)


def say(text: str):
    """Prints a plain line; square brackets are no markup."""
    console.print(text, markup=False)


@contextlib.contextmanager
def training(number: int, last: int):
    """A live line while a round trains; nothing where the output is no terminal."""
    if not console.is_terminal:
        yield
        return
    with console.status(f"round {number}/{last} is training"):
        yield


def quantity(summary: pd.DataFrame) -> str:
    """The column that people look at first."""
    wanted = ("success", "early_stop_test_accuracy", "early_stop_test_loss")
    wanted += ("test_accuracy", "fitness")  # of searches: in their last round, before
    return next((name for name in wanted if name in summary), "validation_accuracy")


def ticket_density(summary: pd.DataFrame) -> pd.Series:
    """Of the lanes that stand first in each round: mean density by round."""
    first = summary.groupby("round").lane.transform("first")
    return summary[summary.lane == first].groupby("round").density.mean()


def of_checks(summary: pd.DataFrame) -> pd.Series:
    """Which rows are of controls and checks of one of several methods."""
    return summary.lane.str.contains("/")


def show_round(
    summary: pd.DataFrame, last: int, steps: int, seconds_left: float, compiled: bool
):
    """One line: density, each lane's mean over replicates, speed, time left.

    Args:
      summary: rows of the round.
      last: number of the last round.
      steps: optimizer steps a lane was trained.
      seconds_left: estimate for the rounds to come.
      compiled: whether the round's time includes compilation.
    """
    number, seconds = summary["round"].iloc[0], summary.seconds.iloc[0]
    density = ticket_density(summary)[number]
    column = quantity(summary)
    tickets = summary[~of_checks(summary)]
    means = tickets.groupby("lane", sort=False)[column].mean()
    unit = "%" if column.endswith("accuracy") else ""
    what = "fitness (lower is better): " if column == "fitness" else ""
    shown = "  ".join(
        f"{lane} {100 * mean:.2f}%" if unit else f"{lane} {mean:.4g}"
        for lane, mean in means.items()
    )
    diverged = int(summary.diverged.sum())
    speed = f"{len(summary) * steps / seconds:,.0f} lane-steps/s" if steps else ""
    say(
        f"round {number:>2}/{last}  density {100 * density:6.2f}%  {what}{shown}  "
        f"{speed}{' (compiling included)' if compiled else ''}  "
        f"{_duration(seconds_left)} left"
        + (f"  {diverged} lanes diverged" if diverged else "")
    )


def show_end(summary: pd.DataFrame, figures: Iterable[Path], workdir: Path):
    """A table of density by lane, and where everything is."""
    column = quantity(summary)
    summary = summary[~of_checks(summary)]
    measured = summary[column].notna().groupby(summary["round"]).transform("any")
    summary = summary[measured] if measured.any() else summary
    lanes = list(dict.fromkeys(summary.lane))
    scale = 100 if column.endswith("accuracy") else 1
    replicates = summary.replicate.nunique()
    table = Table(
        title=f"{column}{' in %' if scale == 100 else ''}: mean of {replicates} "
        f"replicate{'s' if replicates > 1 else ''}"
        + (" +- standard deviation" if replicates > 1 else "")
    )
    means = summary.groupby(["round", "lane", "replicate"])[column].mean()
    by_cell = means.groupby(["round", "lane"]).agg(["mean", "std"]) * scale
    densities = 100 * ticket_density(summary)

    def cell(number, lane):
        if (number, lane) not in by_cell.index:
            return ""
        mean, std = by_cell.loc[(number, lane)]
        return f"{mean:.2f}" + (f" +- {std:.2f}" if replicates > 1 else "")

    if len(lanes) <= MOST_COLUMNS:
        head = ("round", "density %", *lanes)
        rows = [
            (str(number), f"{density:.2f}", *(cell(number, lane) for lane in lanes))
            for number, density in densities.items()
        ]
    else:  # many methods at few densities
        head = ("lane", *(f"{density:.3g} %" for density in densities))
        rows = [(lane, *(cell(number, lane) for number in densities.index))
                for lane in lanes]  # fmt: skip
    for name in head:
        table.add_column(name, justify="right")
    for row in rows:
        table.add_row(*row)
    console.print(table)
    for path in figures:
        say(f"figure: {path}")
    say(f"tables: lottery_jax.load_results({str(workdir)!r}).summary and .curves")


def show_verdicts(verdicts: pd.DataFrame, path: Path):
    """A table of claims: what the paper says, what was found, the verdict.

    Args:
      verdicts: of `claims.judge`.
      path: where it stands in full.
    """
    table = Table(title="claims, with 95 % intervals over replicates")
    for name in ("claim", "paper", "found", "verdict"):
        table.add_column(name, overflow="fold")
    for row in verdicts.itertuples():
        found = f"{row.estimate:.3g} [{row.low:.3g}, {row.high:.3g}]"
        cells = (f"{row.id}: {row.statement}", row.expected, found, row.verdict)
        table.add_row(*map(escape, cells))
    console.print(table)
    say(f"claims: {path}")


def _duration(seconds: float) -> str:
    minutes, seconds = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    if hours:
        return f"{hours}h{minutes:02d}m"
    return f"{minutes}m{seconds:02d}s" if minutes else f"{seconds}s"
