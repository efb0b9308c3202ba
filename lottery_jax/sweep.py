"""Runs a config with many values, and makes one table of all runs.

    lottery-sweep --config=configs/NAME.py[:PRESET,...] --sweep=configs/sweeps/NAME.py
                  --workdir=DIR [--config.FIELD=VALUE ...]
                  [--cluster=slurm|local --cluster_options='{"timeout_min": 60}']

The sweep file has `get_sweep() -> list of dicts` of dotted fields and values, one for
every run. What can be lanes of one program (learning rates, scores, seeds, ...) is; see
lottery_jax/sweeps.py. The same command goes on where it was.
"""

import json
import sys
from pathlib import Path

import jax
from absl import app, flags

from lottery_jax import hosts, sweeps
from lottery_jax import main as launcher
from lottery_jax.commands import fail, show_help
from lottery_jax.config import load_function
from lottery_jax.errors import LotteryError
from lottery_jax.reporting import progress

SWEEP = flags.DEFINE_string("sweep", None, "File with get_sweep().")
CLUSTER = flags.DEFINE_string("cluster", None, "Of submitit: slurm or local.")
OPTIONS = flags.DEFINE_string("cluster_options", "{}", "JSON: submitit's parameters.")


def main(argv: list[str]):
    """Runs what the flags say."""
    del argv
    hosts.set_up_devices()
    workdir = Path(launcher.WORKDIR.value)
    try:
        table = sweeps.run_sweep(
            launcher.CONFIG.value,
            load_sweep(SWEEP.value),
            workdir,
            CLUSTER.value,
            json.loads(OPTIONS.value),
        )
    except (LotteryError, OSError) as error:
        fail(error)
    except KeyboardInterrupt:
        progress.say("stopped; whole rounds are kept, the same command goes on")
        sys.exit(130)
    table.to_csv(workdir / "sweep.csv", index=False)
    last = table[table["round"] == table.groupby("run")["round"].transform("max")]
    quantity = progress.quantity(last)
    columns = ["density", quantity]
    shown = last.groupby(["run", "lane"], sort=False)[columns].mean()
    percent = [name for name in columns if name.endswith(("accuracy", "density"))]
    shown[percent] *= 100
    shown = shown.rename(columns={name: f"{name} (%)" for name in percent})
    progress.say(shown.to_string(float_format="%.4g"))
    progress.say(f"table: lottery_jax.load_results('{workdir}/*'), {workdir}/sweep.csv")


def load_sweep(path: str) -> list[dict]:
    """What `get_sweep()` of a file returns.

    Raises:
      LotteryError: no such file, no such function, something else than dicts.
    """
    found = list(load_function(path, "sweep")())
    if not all(isinstance(overrides, dict) for overrides in found):
        raise LotteryError(f"{path}: get_sweep() must return a list of dicts")
    return found


def parse_flags(argv: list[str]) -> list[str]:
    """The launcher's, and those that a sweep cannot do without."""
    show_help(argv, __doc__)
    rest = launcher.parse_flags(argv)
    for flag in (SWEEP, launcher.WORKDIR):
        if flag.value is None:
            fail(LotteryError(f"no --{flag.name}"))
    if launcher.DISTRIBUTED.value or launcher.COORDINATOR.value:
        problem = "a sweep is one process, or --cluster's jobs"
        fail(LotteryError(f"--distributed, --coordinator: {problem}"))
    try:
        json.loads(OPTIONS.value)
    except ValueError as error:
        fail(LotteryError(f"--cluster_options: {error}"))
    return rest


def console():
    """Entry point of the console script."""
    jax.config.config_with_absl()
    app.run(main, flags_parser=parse_flags)


if __name__ == "__main__":
    console()
