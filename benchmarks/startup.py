"""Start-up: imports, and the time to a run's first round, cold and warm.

    python benchmarks/startup.py [--config=configs/quickstart.py] [--output=FILE]

Each timing is a process of its own, from its start. Cold: with an empty compilation
cache; warm: with the one that the cold start left. Takes two minutes on two cores.
"""

import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import common
from absl import app, flags

CONFIG = flags.DEFINE_string("config", "configs/quickstart.py", "What is started.")
REPEATS = flags.DEFINE_integer("repeats", 5, "Timings of each row.")
OUTPUT = flags.DEFINE_string("output", None, "JSON file for the rows.")

IMPORTS = ("jax", "lottery_jax", "lottery_jax.experiment")


def seconds_to_import(module: str) -> float:
    """Of a Python process that imports the module and ends."""
    start = time.perf_counter()
    subprocess.run([sys.executable, "-c", f"import {module}"], check=True)
    return time.perf_counter() - start


def seconds_to_first_round(cache: str) -> float:
    """From the start of `lottery` to the line of its first round, which is on disk."""
    env = os.environ | {"XDG_CACHE_HOME": cache}
    env.pop("JAX_COMPILATION_CACHE_DIR", None)
    command = [sys.executable, "-m", "lottery_jax.main", f"--config={CONFIG.value}"]
    root = Path(__file__).parents[1]
    with tempfile.TemporaryDirectory() as folder:
        start = time.perf_counter()
        with subprocess.Popen(
            [*command, f"--workdir={folder}/run"],
            cwd=root,
            env=env,
            stdout=subprocess.PIPE,
            text=True,
        ) as process:
            for line in process.stdout:
                if line.startswith("round"):
                    seconds = time.perf_counter() - start
                    process.kill()
                    process.communicate()
                    return seconds
        raise RuntimeError(f"{command} ended without a round")


def main(argv):
    """Prints a table and writes it."""
    del argv
    times = {f"import {module}": [] for module in IMPORTS}
    starts = {"first round, cold": [], "first round, warm": []}
    seconds_to_import(IMPORTS[-1])  # reads the files once
    for _ in range(REPEATS.value):
        for module in IMPORTS:
            times[f"import {module}"].append(seconds_to_import(module))
        with tempfile.TemporaryDirectory() as cache:
            for values in starts.values():
                values.append(seconds_to_first_round(cache))
    rows = [
        {"what": what, **common.middle(values, "seconds")}
        for what, values in (times | starts).items()
    ]
    for row in rows:
        row["ratio_to_import_jax"] = row["seconds"] / rows[0]["seconds"]
    common.report(rows, OUTPUT.value)


if __name__ == "__main__":
    app.run(main)
