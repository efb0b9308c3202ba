"""A run is a directory: config, environment, ladder, and one folder per whole round.

    config.json  environment.json  ladder.json  .lock
    rounds/0007/ summary.parquet  curves.parquet  weights.parquet  search.parquet
                 masks.npz  certificate.json
                 state.npz (last round only: all that is needed to go on)
    figures/  more_figures/

A round is written beside its place, synced to disk and renamed, so that it is there
whole or not at all, whenever the process is killed. With several processes only the
first needs the directory; `restore` and `remember` are called by all of them.
"""

import contextlib
import fcntl
import glob
import json
import os
import platform
import shutil
import subprocess
import sys
import time
import zipfile
from collections.abc import Iterator
from importlib import metadata
from pathlib import Path
from typing import Any, NamedTuple

import jax
import numpy as np
import pandas as pd

from lottery_jax import hosts
from lottery_jax.algorithms.base import RoundInfo
from lottery_jax.errors import ResultsError
from lottery_jax.reporting import tables

CHANGE_NO_NUMBER = ("claims", "compilation_cache", "tensorboard")
"""Fields of a config that may differ when a run goes on."""


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
    folders = _round_folders(workdir)
    if not folders:
        raise ResultsError(f"{workdir} has no whole round yet")
    frames = {}
    for table in ("summary", "curves", "weights", "search"):
        paths = [folder / f"{table}.parquet" for folder in folders]
        parts = [_reading(path, pd.read_parquet) for path in paths]
        frames[table] = pd.concat(parts, ignore_index=True)
    return Results(
        workdir=workdir,
        config=_read_json(workdir / "config.json"),
        environment=_read_json(workdir / "environment.json"),
        ladder=_read_json(workdir / "ladder.json"),
        certificates=[_read_json(folder / "certificate.json") for folder in folders],
        **frames,
    )


def _table(pattern: Path) -> pd.DataFrame:
    """Summaries of all runs that a pattern names; other directories are passed over."""
    found = sorted(
        Path(path).parent for path in glob.glob(str(pattern / "config.json"))
    )
    if not found:
        raise ResultsError(f"{pattern} names no run directory")
    runs = {path.name: load_results(path) for path in found}
    fields = {name: dict(_flat(run.config)) for name, run in runs.items()}
    every = dict.fromkeys(field for own in fields.values() for field in own)
    varied = [
        field
        for field in every
        if len({repr(own.get(field)) for own in fields.values()}) > 1
    ]
    parts = []
    for name, run in runs.items():
        values = {field: fields[name].get(field) for field in varied}
        own = pd.DataFrame([{"run": name, **values}] * len(run.summary))
        parts.append(pd.concat([own, run.summary], axis=1))
    return pd.concat(parts, ignore_index=True)


def _flat(fields: dict, prefix: str = "") -> Iterator[tuple[str, object]]:
    """Nested fields with dots."""
    for name, value in fields.items():
        if isinstance(value, dict):
            yield from _flat(value, f"{prefix}{name}.")
        else:
            yield f"{prefix}{name}", value


def load_masks(workdir: str | os.PathLike, round: int) -> dict[str, np.ndarray]:
    """Masks of the tickets of a round: path of a leaf -> bool [tickets, *shape].

    There is one ticket per replicate; of several methods, those of the first stand
    first, in the order of the summary.

    Raises:
      ResultsError: no such round, or a damaged file.
    """
    folder = Path(workdir) / "rounds" / f"{round:04d}"
    if not folder.is_dir():
        there = [int(folder.name) for folder in _round_folders(Path(workdir))]
        raise ResultsError(f"{workdir} has no round {round}; there are {there}")
    stored = _reading(folder / "masks.npz", _read_npz)
    return {
        name: np.unpackbits(bits, axis=1, count=int(np.prod(stored[f"{name}.shape"])))
        .reshape(-1, *stored[f"{name}.shape"])
        .astype(bool)
        for name, bits in stored.items()
        if not name.endswith(".shape")
    }


def is_finished(workdir: Path, config: dict) -> bool:
    """Whether every round of this very config is there; nothing is opened for writing.

    Raises:
      ResultsError: a directory of another config.
    """
    if not (workdir / "config.json").is_file():
        return False
    _check_same(workdir, _read_json(workdir / "config.json"), _plain(config))
    return len(_round_folders(workdir)) == len(_read_json(workdir / "ladder.json"))


@contextlib.contextmanager
def open_run(workdir: Path, config: dict, ladder: list) -> Iterator[int]:
    """Takes a directory for a run: yields how many whole rounds it has already.

    Args:
      workdir: made where it does not exist.
      config: nested dict; must equal the directory's own.
      ladder: stored beside it.

    Raises:
      ResultsError: in use, of another config, not empty and no run, not writable, full.
    """
    config = _plain(config)
    with contextlib.ExitStack() as stack:
        with _writing(workdir):
            if workdir.exists() and not (workdir / ".lock").exists():
                if not workdir.is_dir():
                    raise ResultsError(f"{workdir} is a file, not a directory")
                if any(workdir.iterdir()):
                    problem = "is not empty and is no run directory; name another"
                    raise ResultsError(f"{workdir} {problem} --workdir")
            workdir.mkdir(parents=True, exist_ok=True)
            lock = stack.enter_context(open(workdir / ".lock", "w"))
            try:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError as error:
                problem = f"{workdir} is in use by another process"
                raise ResultsError(problem) from error
            if (workdir / "config.json").exists():
                stored = _read_json(workdir / "config.json")
                _check_same(workdir, stored, config)
            else:
                stored = None
                _write_json(workdir / "ladder.json", ladder)
            if stored != config:
                _write_json(workdir / "config.json", config)
            (workdir / "rounds").mkdir(exist_ok=True)
            for leftover in (workdir / "rounds").glob(".writing-*"):
                shutil.rmtree(leftover)
        yield len(_round_folders(workdir))


@contextlib.contextmanager
def new_folder(workdir: Path, name: str) -> Iterator[Path]:
    """A folder of a run that appears whole or not at all: yields where to write.

    Raises:
      ResultsError: disk full, not writable; what was there before stays as it is.
    """
    final = workdir / name
    folder = final.with_name(f".writing-{final.name}")
    with _writing(workdir):
        shutil.rmtree(folder, ignore_errors=True)
        folder.mkdir()
        try:
            yield folder
            for path in (*folder.iterdir(), folder):
                _sync(path)
            shutil.rmtree(final, ignore_errors=True)
            folder.rename(final)
            _sync(final.parent)
        except OSError:
            shutil.rmtree(folder, ignore_errors=True)
            raise


@contextlib.contextmanager
def _writing(workdir: Path):
    """Says what is kept when the disk is full or may not be written."""
    try:
        yield
    except OSError as error:
        folders = _round_folders(workdir)
        kept = f"rounds up to {int(folders[-1].name)} are kept" if folders else ""
        raise ResultsError(
            f"cannot write to {workdir}: {error.strerror or error}; "
            f"{kept or 'nothing was written'}"
        ) from error


def commit(
    workdir: Path, info: RoundInfo, state, certificate: dict, columns: dict
) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Writes a round whole and returns its summary and curves.

    The state of the round before is then no longer needed.

    Raises:
      ResultsError: disk full, not writable; the rounds before stay as they are.
    """
    summary, curves = tables.of_round(info, columns)
    with new_folder(workdir, f"rounds/{info.round:04d}") as folder:
        summary.to_parquet(folder / "summary.parquet", index=False)
        curves.to_parquet(folder / "curves.parquet", index=False)
        tables.some_weights(info).to_parquet(folder / "weights.parquet", index=False)
        tables.search(info).to_parquet(folder / "search.parquet", index=False)
        np.savez(folder / "masks.npz", **tables.packed_masks(info))
        leaves = jax.device_get(jax.tree.leaves(jax.tree.map(_without_key, state)))
        np.savez(folder / "state.npz", **{str(i): x for i, x in enumerate(leaves)})
        (folder / "certificate.json").write_text(json.dumps(certificate, indent=1))
    with _writing(workdir):
        for folder in _round_folders(workdir)[:-1]:
            (folder / "state.npz").unlink(missing_ok=True)
    return summary, curves


def write_text(workdir: Path, name: str, text: str) -> Path:
    """A file of a run, in place of an older one; returns its path.

    Raises:
      ResultsError: disk full, not writable.
    """
    path = workdir / name
    with _writing(workdir):
        beside = path.with_name(f".writing-{name}")
        beside.write_text(text)
        beside.replace(path)
    return path


def restore(workdir: Path, like: Any) -> Any:
    """State after the last whole round, in the structure and on the device of `like`.

    Raises:
      ResultsError: a damaged file, or a state of another program version.
    """
    path, stored = hosts.from_first(_last_state, workdir)
    plain, structure = jax.tree.flatten(jax.tree.map(_without_key, like))
    leaves = [stored.get(str(i)) for i in range(len(plain))]
    for leaf, expected in zip(leaves, plain, strict=True):
        if leaf is None or (leaf.shape, leaf.dtype) != (expected.shape, expected.dtype):
            raise ResultsError(f"{path} does not hold the state this version expects")
    state = jax.tree.map(
        lambda leaf, old: (
            jax.random.wrap_key_data(leaf)
            if jax.dtypes.issubdtype(old.dtype, jax.dtypes.prng_key)
            else leaf
        ),
        jax.tree.unflatten(structure, leaves),
        like,
    )
    return jax.device_put(state, jax.local_devices()[0])


def _last_state(workdir: Path) -> tuple[Path, dict[str, np.ndarray]]:
    path = _round_folders(workdir)[-1] / "state.npz"
    return path, _reading(path, _read_npz)


def remember(workdir: Path, name: str, choose):
    """What `choose()` gave when it was first not None: a resumed run has the same bits.

    The value is JSON and stands in environment.json under `name`.
    """
    path = workdir / "environment.json"
    chosen = hosts.from_first(lambda: _read_json(path).get(name))
    if chosen is not None:
        return chosen
    chosen = choose()  # by all processes: each may find another
    if hosts.from_first(lambda: chosen) is None:
        return None

    def write():
        with _writing(workdir):
            _write_json(path, _read_json(path) | {name: chosen})
        return chosen

    return hosts.from_first(write)


def record_environment(workdir: Path) -> list[str]:
    """Writes environment.json, or returns what is no longer as it says."""
    packages = ("jax", "jaxlib", "flax", "optax", "numba", "numpy", "lottery-jax")
    now = {
        "versions": {name: metadata.version(name) for name in packages},
        "python": platform.python_version(),
        "platform": platform.platform(),
        "devices": [str(device.device_kind) for device in jax.devices()],
        "commit": _commit(),
    }
    path = workdir / "environment.json"
    if not path.exists():
        command = [Path(sys.argv[0]).name, *sys.argv[1:]]
        now |= {"command": command, "started": time.strftime("%Y-%m-%dT%H:%M:%S%z")}
        with _writing(workdir):
            _write_json(path, now)
        return []
    before = _read_json(path)
    return sorted(_differences({name: before.get(name) for name in now}, now))


def _commit() -> str | None:
    """Of the checkout that this file is part of; None where it was installed."""
    file = Path(__file__)

    def git(*arguments):
        call = ["git", "-C", str(file.parent), *arguments]
        done = subprocess.run(call, capture_output=True, text=True, timeout=10)
        return done.stdout.strip() if done.returncode == 0 else ""

    try:
        if not git("ls-files", file.name):
            return None
        return git("describe", "--always", "--dirty", "--abbrev=40") or None
    except (OSError, subprocess.TimeoutExpired):
        return None


def _plain(config: dict) -> dict:
    """Tuples become lists, as they are in the file."""
    return json.loads(json.dumps(config))


def _check_same(workdir: Path, stored: dict, config: dict):
    one, other = (
        {name: value for name, value in each.items() if name not in CHANGE_NO_NUMBER}
        for each in (stored, config)
    )
    differing = sorted(_differences(one, other))
    if differing:
        raise ResultsError(
            f"{workdir} belongs to another config; fields that differ:\n  "
            + "\n  ".join(differing)
        )


def _differences(old: dict, new: dict, prefix: str = "") -> Iterator[str]:
    """A line for every field that differs, nested fields with dots."""
    for name in dict.fromkeys([*old, *new]):
        one, other = old.get(name), new.get(name)
        if isinstance(one, dict) and isinstance(other, dict):
            yield from _differences(one, other, f"{prefix}{name}.")
        elif one != other:
            yield f"{prefix}{name}: {one!r} here, {other!r} now"


def _round_folders(workdir: Path) -> list[Path]:
    return sorted((workdir / "rounds").glob("[0-9][0-9][0-9][0-9]"))


def _without_key(leaf):
    if jax.dtypes.issubdtype(leaf.dtype, jax.dtypes.prng_key):
        return jax.random.key_data(leaf)
    return leaf


def _reading(path: Path, read):
    try:
        return read(path)
    except (OSError, ValueError, KeyError, EOFError, zipfile.BadZipFile) as error:
        raise ResultsError(f"{path} is missing or damaged: {error}") from error


def _read_json(path: Path):
    return _reading(path, lambda path: json.loads(path.read_text()))


def _read_npz(path: Path) -> dict[str, np.ndarray]:
    with open(path, "rb") as file, np.load(file, allow_pickle=False) as stored:
        return dict(stored)


def _write_json(path: Path, value):
    beside = path.with_name(f".writing-{path.name}")
    beside.write_text(json.dumps(value, indent=1))
    _sync(beside)
    beside.rename(path)
    _sync(path.parent)


def _sync(path: Path):
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
