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
import json
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import jax
import numpy as np
import pandas as pd

from lottery_jax import hosts
from lottery_jax.algorithms.base import RoundInfo
from lottery_jax.errors import ResultsError
from lottery_jax.reporting import files, tables

CHANGE_NO_NUMBER = ("claims", "compilation_cache", "tensorboard")
"""Fields of a config that may differ when a run goes on."""


def round_folders(workdir: Path) -> list[Path]:
    """The folders of whole rounds, in their order."""
    return sorted((workdir / "rounds").glob("[0-9][0-9][0-9][0-9]"))


def is_finished(workdir: Path, config: dict) -> bool:
    """Whether every round of this very config is there; nothing is opened for writing.

    Raises:
      ResultsError: a directory of another config.
    """
    if not (workdir / "config.json").is_file():
        return False
    _check_same(workdir, files.read_json(workdir / "config.json"), _plain(config))
    return len(round_folders(workdir)) == len(files.read_json(workdir / "ladder.json"))


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
        with writing(workdir):
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
                stored = files.read_json(workdir / "config.json")
                _check_same(workdir, stored, config)
            else:
                stored = None
                files.write_json(workdir / "ladder.json", ladder)
            if stored != config:
                files.write_json(workdir / "config.json", config)
            (workdir / "rounds").mkdir(exist_ok=True)
            for leftover in (workdir / "rounds").glob(".writing-*"):
                shutil.rmtree(leftover)
        yield len(round_folders(workdir))


@contextlib.contextmanager
def new_folder(workdir: Path, name: str) -> Iterator[Path]:
    """A folder of a run that appears whole or not at all: yields where to write.

    Raises:
      ResultsError: disk full, not writable; what was there before stays as it is.
    """
    final = workdir / name
    folder = final.with_name(f".writing-{final.name}")
    with writing(workdir):
        shutil.rmtree(folder, ignore_errors=True)
        folder.mkdir()
        try:
            yield folder
            for path in (*folder.iterdir(), folder):
                files.sync(path)
            shutil.rmtree(final, ignore_errors=True)
            folder.rename(final)
            files.sync(final.parent)
        except OSError:
            shutil.rmtree(folder, ignore_errors=True)
            raise


@contextlib.contextmanager
def writing(workdir: Path):
    """Says what is kept when the disk is full or may not be written."""
    try:
        yield
    except OSError as error:
        folders = round_folders(workdir)
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
        leaves = jax.device_get(jax.tree.leaves(jax.tree.map(without_key, state)))
        np.savez(folder / "state.npz", **{str(i): x for i, x in enumerate(leaves)})
        (folder / "certificate.json").write_text(json.dumps(certificate, indent=1))
    with writing(workdir):
        for folder in round_folders(workdir)[:-1]:
            (folder / "state.npz").unlink(missing_ok=True)
    return summary, curves


def write_text(workdir: Path, name: str, text: str) -> Path:
    """A file of a run, in place of an older one; returns its path.

    Raises:
      ResultsError: disk full, not writable.
    """
    path = workdir / name
    with writing(workdir):
        files.write(path, text.encode())
    return path


def restore(workdir: Path, like: Any) -> Any:
    """State after the last whole round, in the structure and on the device of `like`.

    Raises:
      ResultsError: a damaged file, or a state of another program version.
    """
    path, stored = hosts.from_first(_last_state, workdir)
    plain, structure = jax.tree.flatten(jax.tree.map(without_key, like))
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
    path = round_folders(workdir)[-1] / "state.npz"
    return path, files.reading(path, files.read_npz)


def remember(workdir: Path, name: str, choose):
    """What `choose()` gave when it was first not None: a resumed run has the same bits.

    The value is JSON and stands in environment.json under `name`.
    """
    path = workdir / "environment.json"
    chosen = hosts.from_first(lambda: files.read_json(path).get(name))
    if chosen is not None:
        return chosen
    chosen = choose()  # by all processes: each may find another
    if hosts.from_first(lambda: chosen) is None:
        return None

    def write():
        with writing(workdir):
            files.write_json(path, files.read_json(path) | {name: chosen})
        return chosen

    return hosts.from_first(write)


def _plain(config: dict) -> dict:
    """Tuples become lists, as they are in the file."""
    return json.loads(json.dumps(config))


def _check_same(workdir: Path, stored: dict, config: dict):
    one, other = (
        {name: value for name, value in each.items() if name not in CHANGE_NO_NUMBER}
        for each in (stored, config)
    )
    differing = sorted(differences(one, other))
    if differing:
        raise ResultsError(
            f"{workdir} belongs to another config; fields that differ:\n  "
            + "\n  ".join(differing)
        )


def differences(old: dict, new: dict, prefix: str = "") -> Iterator[str]:
    """A line for every field that differs, nested fields with dots."""
    for name in dict.fromkeys([*old, *new]):
        one, other = old.get(name), new.get(name)
        if isinstance(one, dict) and isinstance(other, dict):
            yield from differences(one, other, f"{prefix}{name}.")
        elif one != other:
            yield f"{prefix}{name}: {one!r} here, {other!r} now"


def without_key(leaf):
    """Random keys as the numbers they are."""
    if jax.dtypes.issubdtype(leaf.dtype, jax.dtypes.prng_key):
        return jax.random.key_data(leaf)
    return leaf
