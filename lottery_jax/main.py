"""Runs the experiment of a config, or goes on with it.

    lottery --config=configs/NAME.py[:PRESET,...] [--config.FIELD=VALUE ...]
            [--workdir=DIR] [--more_figures]
            [--distributed | --coordinator=HOST:PORT --num_processes=N --process_id=I]

Without --workdir the run directory is runs/<config name>-<short hash>. All fields
stand with their meaning in lottery_jax/config.py, those of algorithms in
lottery_jax/fields/. --more_figures draws masks, weights and cost into more_figures/,
also of a run that is finished.
--helpfull lists the flags of all libraries. Several processes run one experiment
together: --distributed where a cluster says who they are (Slurm, Open MPI, Kubernetes,
cloud TPU), the three flags elsewhere.
"""

import hashlib
import json
import os
import sys
import traceback
from collections import Counter
from pathlib import Path

import jax
from absl import app, flags
from ml_collections import ConfigDict, config_flags

from lottery_jax import experiment, hosts
from lottery_jax.commands import fail, show_help
from lottery_jax.config import check_file
from lottery_jax.errors import ConfigError, LotteryError, nearest
from lottery_jax.reporting import progress
from lottery_jax.reporting.results import Results

CONFIG = config_flags.DEFINE_config_file(
    "config", None, "Config file, with presets after a colon.", lock_config=True
)
WORKDIR = flags.DEFINE_string(
    "workdir", None, "Run directory; default runs/<config name>-<short hash>."
)
MORE_FIGURES = flags.DEFINE_boolean(
    "more_figures", False, "Draw masks, weights and cost too, into more_figures/."
)
DISTRIBUTED = flags.DEFINE_boolean(
    "distributed", False, "Join the processes that the cluster has started."
)
COORDINATOR = flags.DEFINE_string(
    "coordinator", None, "HOST:PORT at which process 0 can be reached."
)
NUM_PROCESSES = flags.DEFINE_integer(
    "num_processes", None, "How many processes run the experiment.", lower_bound=1
)
PROCESS_ID = flags.DEFINE_integer(
    "process_id", None, "Which of them this is, from 0.", lower_bound=0
)
HEARTBEAT = 30
"""Seconds of silence, or of waiting at the end, after which a process is dead."""


def main(argv: list[str]):
    """Runs what the flags say."""
    del argv
    hosts.set_up_devices()
    _join()
    try:
        found = experiment.run(CONFIG.value, WORKDIR.value or default_workdir())
        hosts.from_first(_report, found)
        if MORE_FIGURES.value:
            hosts.from_first(_draw_more, found)
    except (LotteryError, OSError) as error:
        fail(error)
    except KeyboardInterrupt:
        progress.say("stopped; whole rounds are kept, the same command goes on")
        _leave(130)
    except Exception as error:
        if not jax.distributed.is_initialized():
            raise
        traceback.print_exc()
        print(
            f"error: this process or another one has failed: {str(error)[:300]}\n"
            "whole rounds are kept; start all processes again to go on",
            file=sys.stderr,
        )
        _leave(1)


def _report(found: Results):
    from lottery_jax.reporting.report import write_report

    path = write_report([found.workdir], found.workdir / "report.html")
    progress.say(f"report: {path}")


def _draw_more(found: Results):
    from lottery_jax.reporting import figures

    for path in figures.draw_more(found):
        progress.say(f"figure: {path}")


def _join():
    """Joins the other processes, if the flags say that there are some."""
    method = "deactivate" if COORDINATOR.value else None
    if not DISTRIBUTED.value and method is None:
        return
    # A process that is told to end shall end: the rounds are safe at any time.
    jax.config.update("jax_enable_preemption_service", False)
    try:
        jax.distributed.initialize(
            COORDINATOR.value,
            NUM_PROCESSES.value,
            PROCESS_ID.value,
            cluster_detection_method=method,
            heartbeat_timeout_seconds=HEARTBEAT,
            shutdown_timeout_seconds=HEARTBEAT,
        )
    except (RuntimeError, ValueError) as error:
        by_hand = "--coordinator, --num_processes and --process_id say who they are"
        fail(f"cannot join the other processes: {error} Without a cluster {by_hand}.")
    counts = Counter(device.process_index for device in jax.devices())
    if len(set(counts.values())) > 1:
        known = ", ".join(f"process {i} has {n}" for i, n in sorted(counts.items()))
        fail(f"processes must have equally many devices: {known} (JAX_NUM_CPU_DEVICES)")


def default_workdir() -> Path:
    """runs/<config name>-<eight digits of the hash of the config>."""
    text = json.dumps(CONFIG.value.to_dict(), sort_keys=True)
    name = Path(_config_path()).stem
    return Path("runs") / f"{name}-{hashlib.sha256(text.encode()).hexdigest()[:8]}"


def parse_flags(argv: list[str]) -> list[str]:
    """absl's parser, with errors that name what would be right (exit status 2)."""
    show_help(argv, __doc__)
    try:
        rest = flags.FLAGS(argv)
        if CONFIG.value is None:
            raise LotteryError(
                "no --config; for example --config=configs/quickstart.py"
            )
        check_file(_config_path(), "config")
        if not isinstance(CONFIG.value, ConfigDict):
            kind = type(CONFIG.value).__name__
            raise LotteryError(f"get_config() must return a ConfigDict, not a {kind}")
        if len(rest) > 1:
            raise LotteryError(f"{rest[1]!r} is no flag: they start with --")
        _check_processes()
        return rest
    except (LotteryError, flags.Error) as error:
        fail(error)
    except SyntaxError as error:
        fail(f"{error.filename} is no Python file: line {error.lineno}: {error.msg}")
    except ImportError as error:
        where = traceback.extract_tb(error.__traceback__)[-1]
        fail(f"{where.filename}, line {where.lineno}: {error}")
    except (AttributeError, KeyError, TypeError, ValueError) as error:
        if str(error).endswith("has no attribute 'get_config'"):
            fail("the config file has no function get_config()")
        fail(
            _unknown_field(argv)
            or f"config: {error}".replace("\\n", "; ").replace("\n", "; ")
        )


def _unknown_field(argv: list[str]) -> ConfigError | None:
    """Of the fields on the command line, the first that the config has not.

    ml_collections says neither in which group nor, unless one is close, what is valid.
    """
    words = [word.lstrip("-") for argument in argv[1:] for word in argument.split("=")]
    try:
        config = flags.FLAGS["config"].parser.parse(words[words.index("config") + 1])
    except (AttributeError, LookupError, TypeError, ValueError):
        return None  # what is wrong is the file
    for argument in argv[1:]:
        path = argument.lstrip("-").split("=")[0]
        if not argument.startswith("-") or not path.startswith("config."):
            continue
        names, group = path.split(".")[1:], config
        for depth, name in enumerate(names, 1):
            if not isinstance(group, ConfigDict):
                break
            if name.split("[")[0] not in group:
                problem = f"no such field; {nearest(name, group)}"
                return ConfigError(".".join(names[:depth]), problem)
            group = group[name.split("[")[0]]
    return None


def _check_processes():
    values = {
        flag.name: flag.value for flag in (COORDINATOR, NUM_PROCESSES, PROCESS_ID)
    }
    missing = [f"--{name}" for name, value in values.items() if value is None]
    if len(missing) == 3:
        return
    if DISTRIBUTED.value:
        raise LotteryError("--distributed asks the cluster: no --coordinator beside it")
    if missing:
        raise LotteryError(f"{' and '.join(missing)} missing: the three go together")
    host, _, port = COORDINATOR.value.rpartition(":")
    if not host or not port.isdecimal():
        raise LotteryError(f"--coordinator={COORDINATOR.value}: must be HOST:PORT")
    if PROCESS_ID.value >= NUM_PROCESSES.value:
        raise LotteryError(
            f"--process_id={PROCESS_ID.value}: must be below --num_processes"
        )


def _config_path() -> str:
    return flags.FLAGS["config"].config_filename.split(":")[0]


def _leave(status: int):
    """Ends this process; at once where others would be waited for on the way out."""
    if jax.distributed.is_initialized():
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(status)
    sys.exit(status)


def console():
    """Entry point of the console script."""
    jax.config.config_with_absl()
    app.run(main, flags_parser=parse_flags)


if __name__ == "__main__":
    console()
