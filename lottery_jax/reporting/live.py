"""Event files for TensorBoard: a run for every lane, written after every round.

    tensorboard --logdir=RUN/tensorboard

By round stand all columns of the summary, by optimizer step those of the curves, each
the mean over replicates and draws. What is there is written anew when a run goes on.
"""

import importlib.util
import shutil
from pathlib import Path

import pandas as pd

from lottery_jax.errors import ConfigError

NOT_SHOWN = ("round", "sample", "replicate", "step")


def check():
    """Refuses what cannot be written, before anything else is.

    Raises:
      ConfigError: the library is not installed.
    """
    if importlib.util.find_spec("tensorboardX") is None:
        problem = "True: needs tensorboardX: pip install 'lottery-jax[tensorboard]'"
        raise ConfigError("tensorboard", problem)


class Writer:
    """Of one run; one for all of its rounds."""

    def __init__(self, workdir: Path):
        self._folder = workdir / "tensorboard"
        self._files = {}
        shutil.rmtree(self._folder, ignore_errors=True)

    def write(self, summary: pd.DataFrame, curves: pd.DataFrame):
        """Adds rounds: rows of their tables."""
        for lane, rows in summary.groupby("lane"):
            for number, own in rows.groupby("round"):
                self._scalars(lane, "", own, number)
        for (lane, number), rows in curves.groupby(["lane", "round"]):
            for step, own in rows.groupby("step"):
                self._scalars(lane, f"curves_of_round_{number:02d}/", own, step)
        for file in self._files.values():
            file.flush()

    def close(self):
        """Ends the files."""
        for file in self._files.values():
            file.close()

    def _scalars(self, lane: str, prefix: str, rows: pd.DataFrame, step: int):
        if lane not in self._files:
            from tensorboardX import SummaryWriter

            self._files[lane] = SummaryWriter(str(self._folder / lane))
        means = rows.select_dtypes(["number", "bool"]).mean()
        for name, value in means.drop(NOT_SHOWN, errors="ignore").items():
            if pd.notna(value):
                self._files[lane].add_scalar(f"{prefix}{name}", float(value), int(step))
