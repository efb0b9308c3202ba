"""What is printed while a run goes on: a line per round, a table at the end."""

import contextlib
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path

import pandas as pd
from rich.console import Console
from rich.markup import escape
from rich.table import Table

from lottery_jax.algorithms.base import RoundInfo
from lottery_jax.reporting.results import lane_names, ticket_density

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


def of_checks(summary: pd.DataFrame) -> pd.Series:
    """Which rows are of controls and checks of one of several methods."""
    return summary.lane.str.contains("/")


def notes(info: RoundInfo, certificate: Mapping) -> list[str]:
    """What there is to say of a round beside its line."""
    found = []
    if empty := certificate["empty_layers"]:
        more = f" and {len(empty) - 3} more" if len(empty) > 3 else ""
        layers = ", ".join(empty[:3]) + more
        found.append(f"nothing is left of {layers} in a ticket of this round")
    for name in certificate["idle_controls"]:
        found.append(f"{name} came out as its ticket in this round")
    found += info.notes
    if info.idle:
        last = info.round + info.idle
        found.append(f"all searches have ended; nothing to do up to round {last}")
    return found


def seconds_left(took: float, work: float, to_come: Sequence[float]) -> float | None:
    """Estimate for the rounds to come; None where nothing like them was done yet.

    Args:
      took: seconds of a round.
      work: how much it had to do.
      to_come: how much each of those after it has.
    """
    if work and (any(to_come) or not to_come):
        return took / work * sum(to_come)
    return None if work or any(to_come) else took * len(to_come)


def show_round(
    summary: pd.DataFrame,
    last: int,
    steps: int,
    seconds_left: float | None,
    compiled: bool,
):
    """One line: density, each lane's mean over replicates, speed, time left.

    Args:
      summary: rows of the round.
      last: number of the last round.
      steps: optimizer steps a lane was trained.
      seconds_left: estimate for the rounds to come; None: there is none.
      compiled: whether the round's time includes compilation.
    """
    number, seconds = summary["round"].iloc[0], summary.seconds.iloc[0]
    density = ticket_density(summary)[number]
    column = quantity(summary)
    tickets = summary[~of_checks(summary)]
    names = tickets.lane.map(lane_names(tickets))
    means = tickets.groupby(names, sort=False)[column].mean()
    unit = "%" if column.endswith("accuracy") else ""
    usual = column.startswith("early_stop_test")
    lower = " (lower is better)" * (column == "fitness")
    what = "" if usual else f"{column.replace('_', ' ')}{lower}: "
    shown = "  ".join(
        f"{lane} {100 * mean:.2f}%" if unit else f"{lane} {mean:.4g}"
        for lane, mean in means.items()
    )
    diverged = int(summary.diverged.sum())
    speed = f"{len(summary) * steps / seconds:,.0f} lane-steps/s" if steps else ""
    parts = [
        f"round {number:>2}/{last}",
        f"density {100 * density:6.2f}%",
        f"{what}{shown}",
        speed and f"{speed}{' (compiling included)' * compiled}",
        "" if seconds_left is None else f"{_duration(seconds_left)} left",
        f"{diverged} lane{'s' if diverged > 1 else ''} diverged" * (diverged > 0),
    ]
    say("  ".join(filter(None, parts)))


def show_end(summary: pd.DataFrame, figures: Iterable[Path], workdir: Path):
    """A table of density by lane, and where everything is."""
    column = quantity(summary)
    summary = summary[~of_checks(summary)]
    summary = summary.assign(lane=summary.lane.map(lane_names(summary)))
    measured = summary[column].notna().groupby(summary["round"]).transform("any")
    summary = summary[measured] if measured.any() else summary
    console.print(_first_that_fits(_tables(summary, column)))
    for path in figures:
        say(f"figure: {path}")
    say(f"tables: lottery_jax.load_results({str(workdir)!r}).summary and .curves")


def _tables(summary: pd.DataFrame, column: str) -> Iterator[Table]:
    """A column by round and lane, in forms from the most readable to the narrowest."""
    scale = 100 if column.endswith("accuracy") else 1
    means = summary.groupby(["round", "lane", "replicate"], sort=False)[column].mean()
    cells = means.groupby(["round", "lane"], sort=False).agg(["mean", "std"]) * scale
    densities = 100 * ticket_density(summary)
    lanes, replicates = list(dict.fromkeys(summary.lane)), summary.replicate.nunique()
    title = f"{column}{' in %' if scale == 100 else ''}: mean of {replicates} "
    title += f"replicate{'s' if replicates > 1 else ''}"
    spreads = (True, False) if replicates > 1 else (False,)

    def text(mean, std, spread):
        return f"{mean:.2f} +- {std:.2f}" if spread else f"{mean:.2f}"

    for spread in spreads:
        more = " +- standard deviation" if spread else ""
        if spreads[0] and not spread:
            more = f"; deviations do not fit {console.width} columns"
        shown = {key: text(*cells.loc[key], spread) for key in cells.index}
        yield _table(
            title + more,
            ("round", "density %", *lanes),
            [
                (
                    str(i),
                    f"{density:.2f}",
                    *(shown.get((i, name), "") for name in lanes),
                )
                for i, density in densities.items()
            ],
        )
        yield _table(
            title + more,
            ("lane", *(f"{density:.3g} %" for density in densities)),
            [
                (name, *(shown.get((i, name), "") for i in densities.index))
                for name in lanes
            ],
        )
    rows = [
        (str(i), f"{densities[i]:.2f}", name, text(mean, std, spreads[0]))
        for (i, name), (mean, std) in cells.iterrows()
    ]
    title += " +- standard deviation" * spreads[0]
    yield _table(title, ("round", "density %", "lane", "mean"), rows)


def _table(title: str, head: Iterable[str], rows: Iterable[Iterable[str]]) -> Table:
    table = Table(title=title)
    for name in head:
        table.add_column(name, justify="right", overflow="fold")
    for row in rows:
        table.add_row(*row)
    return table


def _first_that_fits(tables: Iterable[Table]) -> Table:
    """As it is wide; the last where none fits, cells are folded then."""
    free = console.options.update(width=10_000)
    for table in tables:
        if console.measure(table, options=free).maximum <= console.width:
            break
    return table


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
