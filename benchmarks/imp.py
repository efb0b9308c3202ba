"""Whole process of an IMP run, in lane-steps per second, against a plain PyTorch loop.

    python benchmarks/imp.py --data_dir=DATA [--rounds=20] [--output=FILE.json]

Times `lottery --config=configs/lenet_mnist.py` from the start of the process to its end
(imports, compilation, evaluation, selection, certificates, saving, figures) and, just
before and just after, a plain PyTorch loop of the same network, batch size and
optimizer with re-masking after every step, without any evaluation. Machines differ and
drift: the ratio is the result.
"""

import json
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
from absl import app, flags

DATA_DIR = flags.DEFINE_string("data_dir", None, "Folder with mnist/.", required=True)
ROUNDS = flags.DEFINE_integer("rounds", 20, "Rounds after the dense one.")
STEPS = flags.DEFINE_integer("steps", 3000, "Optimizer steps per round.")
REPLICATES = flags.DEFINE_integer("replicates", 2, "Replicates.")
WORKDIR = flags.DEFINE_string("workdir", None, "Where to keep the run.")
OUTPUT = flags.DEFINE_string("output", None, "JSON file for the rows.")

TORCH_STEPS = 2000


def torch_steps_per_second(threads: int) -> float:
    """LeNet-300-100, Adam 1.2e-3, batch 60, masks applied after every step."""
    import torch

    torch.set_num_threads(threads)
    torch.manual_seed(0)
    x, y = torch.randn(55_000, 784), torch.randint(0, 10, (55_000,))
    layers = [torch.nn.Linear(a, b) for a, b in ((784, 300), (300, 100), (100, 10))]
    relu = torch.nn.ReLU()
    network = torch.nn.Sequential(layers[0], relu, layers[1], relu, layers[2])
    masks = [(layer.weight, torch.ones_like(layer.weight)) for layer in layers]
    optimizer = torch.optim.Adam(network.parameters(), lr=1.2e-3)
    loss = torch.nn.CrossEntropyLoss()
    order = torch.randperm(len(x))
    start = 0.0
    for step in range(-100, TORCH_STEPS):  # the first hundred warm up
        if step == 0:
            start = time.perf_counter()
        batch = order[60 * (step % 900) : 60 * (step % 900) + 60]
        optimizer.zero_grad()
        loss(network(x[batch]), y[batch]).backward()
        optimizer.step()
        with torch.no_grad():
            for weight, mask in masks:
                weight.mul_(mask)
    return TORCH_STEPS / (time.perf_counter() - start)


def best_torch() -> float | None:
    """The faster of one thread and two; None where PyTorch is not installed."""
    try:
        return max(torch_steps_per_second(threads) for threads in (1, 2))
    except ImportError:
        return None


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
            f"--workdir={WORKDIR.value or folder + '/run'}",
        ]
        start = time.perf_counter()
        subprocess.run(command, check=True, cwd=Path(__file__).parents[1])
        seconds = time.perf_counter() - start
    return lanes * STEPS.value * (ROUNDS.value + 1), seconds


def main(argv):
    """Prints a table and writes it."""
    del argv
    before = best_torch()
    steps, seconds = lottery_run()
    after = best_torch()
    rows = [{"program": "lottery_jax", "lane_steps_per_second": steps / seconds}]
    if before and after:
        rows += [
            {"program": f"PyTorch {when}", "lane_steps_per_second": speed}
            for when, speed in (("before", before), ("after", after))
        ]
        ratio = steps / seconds / np.mean([before, after])
        rows.append({"program": "ratio", "lane_steps_per_second": ratio})
    print(f"{steps:,} lane-steps in {seconds:.0f} s, whole process")
    for row in rows:
        print(f"{row['program']:16} {row['lane_steps_per_second']:10,.2f}")
    if OUTPUT.value:
        Path(OUTPUT.value).write_text(json.dumps(rows, indent=1))


if __name__ == "__main__":
    app.run(main)
