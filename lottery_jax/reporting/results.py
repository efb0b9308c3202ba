"""Results as they are read from run directories: one run, or a table of several."""

import glob
import os
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pandas as pd

from lottery_jax.errors import ResultsError
from lottery_jax.reporting import files
from lottery_jax.reporting.run_directory import round_folders


class Results(NamedTuple):
    """A run as it was read from disk.

    Attributes:
      workdir: the run directory.
      config: nested dict.
      environment: versions, devices, commit, and what `auto` chose.
      ladder: per round, group -> weights kept.
      summary: one row per round x lane x sample x replicate. Losses in nats, accuracies
        and density in [0, 1], steps in optimizer steps, `seconds` of the whole round;
        `live_weights` and `flops` as in `analysis/cost.py`; `empty_layers`: kernels of
        which nothing is kept.
      curves: one row per evaluation; no training loss at the step training starts from.
      certificates: one dict per round.
      weights: of the first ticket of every round whose mask was made from a training,
        some weights of every layer: `start` and `final` of that training, and whether
        the mask has `kept` them.
      search: where tickets are searched for, a row for every candidate or evaluation of
        the search; columns beside `round` are the algorithm's own.
    """

    workdir: Path
    config: dict
    environment: dict
    ladder: list[dict[str, int]]
    summary: pd.DataFrame
    curves: pd.DataFrame
    certificates: list[dict]
    weights: pd.DataFrame
    search: pd.DataFrame


def load_results(workdir: str | os.PathLike) -> Results | pd.DataFrame:
    """Reads a run directory up to its last whole round, or one table of several runs.

    Args:
      workdir: the directory; with `*`, `?` or `[` a pattern of directories, of which
        one frame is made: the summaries, with the name of the directory as `run` and a
        column for every field in which the configs differ.

    Raises:
      ResultsError: no run directory, no whole round yet, a damaged file.
    """
    workdir = Path(workdir)
    if set("*?[") & set(str(workdir)) and not workdir.is_dir():
        return _table(workdir)
    if not (workdir / "config.json").is_file():
        raise ResultsError(f"{workdir} is no run directory: it has no config.json")
    folders = round_folders(workdir)
    if not folders:
        raise ResultsError(f"{workdir} has no whole round yet")
    frames = {}
    for table in ("summary", "curves", "weights", "search"):
        paths = [folder / f"{table}.parquet" for folder in folders]
        parts = [files.reading(path, pd.read_parquet) for path in paths]
        frames[table] = pd.concat(parts, ignore_index=True)
    return Results(
        workdir=workdir,
        config=files.read_json(workdir / "config.json"),
        environment=files.read_json(workdir / "environment.json"),
        ladder=files.read_json(workdir / "ladder.json"),
        certificates=[
            files.read_json(folder / "certificate.json") for folder in folders
        ],
        **frames,
    )


def _table(pattern: Path) -> pd.DataFrame:
    """Summaries of all runs that a pattern names; other directories are passed over.

    So are runs that have only just begun.
    """
    found = sorted(
        Path(path).parent for path in glob.glob(str(pattern / "config.json"))
    )
    found = [path for path in found if round_folders(path)]
    if not found:
        raise ResultsError(f"{pattern} names no run directory with a whole round")
    runs = {path.name: load_results(path) for path in found}
    varied, parts = varied_fields({name: run.config for name, run in runs.items()}), []
    for name, run in runs.items():
        own = pd.DataFrame([{"run": name, **varied[name]}] * len(run.summary))
        parts.append(pd.concat([own, run.summary], axis=1))
    return pd.concat(parts, ignore_index=True)


def varied_fields(configs: Mapping[str, dict]) -> dict[str, dict[str, object]]:
    """Name of a run -> the dotted fields in which the configs differ, with its values.

    None stands for a field that a config has not.
    """
    fields = {name: dict(_flat(config)) for name, config in configs.items()}
    every = dict.fromkeys(field for own in fields.values() for field in own)
    varied = [
        field
        for field in every
        if len({repr(own.get(field)) for own in fields.values()}) > 1
    ]
    return {name: {f: own.get(f) for f in varied} for name, own in fields.items()}


def _flat(fields: dict, prefix: str = "") -> Iterator[tuple[str, object]]:
    """Nested fields with dots."""
    for name, value in fields.items():
        if isinstance(value, dict):
            yield from _flat(value, f"{prefix}{name}.")
        else:
            yield f"{prefix}{name}", value


def lane_names(summary: pd.DataFrame) -> dict[str, str]:
    """Lane -> its name for people: a planted ticket is not as dense as its round."""
    names = {lane: lane for lane in dict.fromkeys(summary.lane)}
    if "planted" in names:
        density = summary.density[summary.lane == "planted"].mean()
        names["planted"] += f" ({100 * density:.3g} %)"
    return names


def ticket_density(summary: pd.DataFrame) -> pd.Series:
    """Of the lanes that stand first in each round: mean density by round."""
    first = summary.groupby("round").lane.transform("first")
    return summary[summary.lane == first].groupby("round").density.mean()


def load_masks(workdir: str | os.PathLike, round: int) -> dict[str, np.ndarray]:
    """Masks of the tickets of a round: path of a leaf -> bool [tickets, *shape].

    There is one ticket per replicate; of several methods, those of the first stand
    first, in the order of the summary.

    Raises:
      ResultsError: no such round, or a damaged file.
    """
    folder = Path(workdir) / "rounds" / f"{round:04d}"
    if not folder.is_dir():
        there = [int(folder.name) for folder in round_folders(Path(workdir))]
        raise ResultsError(f"{workdir} has no round {round}; there are {there}")
    stored = files.reading(folder / "masks.npz", files.read_npz)
    return {
        name: np.unpackbits(bits, axis=1, count=int(np.prod(stored[f"{name}.shape"])))
        .reshape(-1, *stored[f"{name}.shape"])
        .astype(bool)
        for name, bits in stored.items()
        if not name.endswith(".shape")
    }
