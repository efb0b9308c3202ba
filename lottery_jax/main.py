"""Runs the experiment of a config, or goes on with it.

    lottery --config=configs/NAME.py[:PRESET,...] [--config.FIELD=VALUE ...]
            [--workdir=DIR]

Without --workdir the run directory is runs/<config name>-<short hash>. All fields
stand with their meaning in lottery_jax/config.py. --helpfull lists the flags of all
libraries.
"""

import hashlib
import json
import logging
import os
import sys
from pathlib import Path

import jax
from absl import app, flags
from ml_collections import config_flags

from lottery_jax import experiment
from lottery_jax.errors import LotteryError, nearest
from lottery_jax.reporting import progress

CONFIG = config_flags.DEFINE_config_file(
    "config", None, "Config file, with presets after a colon.", lock_config=True
)
WORKDIR = flags.DEFINE_string(
    "workdir", None, "Run directory; default runs/<config name>-<short hash>."
)


def main(argv: list[str]):
    """Runs what the flags say."""
    del argv
    # jax tells of every backend that is not installed.
    logging.getLogger("jax._src.xla_bridge").setLevel(logging.WARNING)
    # One lane per core: small matrix products gain nothing from a second one.
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else 1
    jax.config.update("jax_num_cpu_devices", cores)
    try:
        experiment.run(CONFIG.value, WORKDIR.value or default_workdir())
    except (LotteryError, OSError) as error:
        _fail(error)
    except KeyboardInterrupt:
        progress.say("stopped; whole rounds are kept, the same command goes on")
        sys.exit(130)


def default_workdir() -> Path:
    """runs/<config name>-<eight digits of the hash of the config>."""
    text = json.dumps(CONFIG.value.to_dict(), sort_keys=True)
    name = Path(_config_path()).stem
    return Path("runs") / f"{name}-{hashlib.sha256(text.encode()).hexdigest()[:8]}"


def parse_flags(argv: list[str]) -> list[str]:
    """absl's parser, with errors that name what would be right (exit status 2)."""
    if {"-h", "-help", "--help"} & set(argv):
        print(__doc__)
        sys.exit(0)
    try:
        rest = flags.FLAGS(argv)
        if CONFIG.value is None:
            raise LotteryError(
                "no --config; for example --config=configs/quickstart.py"
            )
        path = Path(_config_path())
        if not path.is_file():
            known = [str(file) for file in path.parent.glob("*.py")]
            raise LotteryError(f"no config file {path}; {nearest(str(path), known)}")
        if len(rest) > 1:
            raise LotteryError(f"{rest[1]!r} is no flag: they start with --")
        return rest
    except LotteryError as error:
        _fail(error)
    except flags.Error as error:
        _fail(error)
    except (AttributeError, KeyError, TypeError, ValueError) as error:
        # ml_collections: an unknown field, with its nearest valid name.
        _fail(f"config: {error}".replace("\\n", "; ").replace("\n", "; "))


def _config_path() -> str:
    return flags.FLAGS["config"].config_filename.split(":")[0]


def _fail(error):
    print(f"error: {error}", file=sys.stderr)
    sys.exit(2)


def console():
    """Entry point of the console script."""
    jax.config.config_with_absl()
    app.run(main, flags_parser=parse_flags)


if __name__ == "__main__":
    console()
