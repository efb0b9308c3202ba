"""Whole process of an IMP run, in lane-steps per second, against a plain PyTorch loop.

    python benchmarks/imp.py --data_dir=DATA [--compilation_cache] [--output=FILE]

Times `lottery --config=configs/lenet_mnist.py` from the start of the process to its end
(imports, compilation, evaluation, selection, certificates, saving, figures) and, just
before and just after, a plain PyTorch loop of the same network, batch size and
optimizer with re-masking after every step, without any evaluation. Machines differ and
drift: the ratio is the result.
"""

import subprocess
import sys
import tempfile
import time
from pathlib import Path

import common
import numpy as np
from absl import app, flags

DATA_DIR = flags.DEFINE_string("data_dir", None, "Folder with mnist/.", required=True)
ROUNDS = flags.DEFINE_integer("rounds", 20, "Rounds after the dense one.")
STEPS = flags.DEFINE_integer("steps", 3000, "Optimizer steps per round.")
REPLICATES = flags.DEFINE_integer("replicates", 2, "Replicates.")
WORKDIR = flags.DEFINE_string("workdir", None, "Where to keep the run.")
CACHE = flags.DEFINE_boolean(
    "compilation_cache", False, "Use the programs that an earlier run has compiled."
)
OUTPUT = flags.DEFINE_string("output", None, "JSON file for the rows.")

TORCH = {"model": "lenet_300_100", "num": 55_000, "steps": 2000}


def lottery_run() -> tuple[int, float]:
    """(lane-steps, seconds) of one whole process."""
    lanes = 3 * REPLICATES.value  # ticket, reinit, random
    with tempfile.TemporaryDirectory() as folder:
        command = [
            *(sys.executable, "-m", "lottery_jax.main"),
            "--config=configs/lenet_mnist.py:iclr2019",
            f"--config.data.dir={DATA_DIR.value}",
            f"--config.algorithm.rounds={ROUNDS.value}",
            f"--config.train.steps={STEPS.value}",
            f"--config.replicates={REPLICATES.value}",
            "--config.controls.reinit=1",
            "--config.controls.random=1",
            f"--config.compilation_cache={CACHE.value}",
            f"--workdir={WORKDIR.value or folder + '/run'}",
        ]
        start = time.perf_counter()
        subprocess.run(command, check=True, cwd=Path(__file__).parents[1])
        seconds = time.perf_counter() - start
    return lanes * STEPS.value * (ROUNDS.value + 1), seconds


def main(argv):
    """Prints a table and writes it."""
    del argv
    before = common.best_torch(**TORCH)
    steps, seconds = lottery_run()
    after = common.best_torch(**TORCH)
    rows = [{"program": "lottery_jax", "lane_steps_per_second": steps / seconds}]
    if before and after:
        rows += [
            {"program": f"PyTorch {when}", "lane_steps_per_second": speed}
            for when, speed in (("before", before), ("after", after))
        ]
        ratio = steps / seconds / np.mean([before, after])
        rows.append({"program": "ratio", "lane_steps_per_second": ratio})
    print(f"{steps:,} lane-steps in {seconds:.0f} s, whole process")
    common.report(rows, OUTPUT.value)


if __name__ == "__main__":
    app.run(main)
