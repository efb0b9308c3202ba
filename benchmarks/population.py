"""Candidates per second of neuroevolutionary ticket search, by size of the population.

    python benchmarks/population.py [--networks=xor10] [--output=FILE]

A candidate is trained as its preset of configs/nets.py says, by SGD: 100 steps on the
four points of XOR, or an epoch of 859 batches of 64 for LeNet-300-100, on made data of
MNIST's size; then its loss is measured. The time is that of whole generations:
selection, crossover, mutation, training and evaluation of the children, of one search;
two fifths of a population are elites and not trained again. LeNet's are timed from
generation 7 on, by when a search has found its density. PyTorch, where it is there:
one candidate after another, weights times masks in every forward pass, the faster of
one thread and all cores, timed in turn. Takes five minutes on two cores.
"""

import os
import statistics
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import common
import jax
import numpy as np
from absl import app, flags

import lottery_jax
from lottery_jax import assembly, programs, rng
from lottery_jax.models import MODELS
from lottery_jax.training import losses
from lottery_jax.types import Dataset, Split

SECONDS = 1.0  # that a timing of small networks lasts at least
FIRST = {"xor10": 3, "xor100": 3, "lenet_mnist": 7}  # generations, not timed

# preset of configs/nets.py -> (populations, widths)
NETWORKS = {
    "xor10": ((5, 100, 1000, 10_000), (2, 10, 1)),
    "xor100": ((5, 100, 1000, 10_000), (2, 100, 1)),
    "lenet_mnist": ((5, 25), (784, 300, 100, 10)),
}

NAMES = common.define_names("networks", NETWORKS)
POPULATIONS = flags.DEFINE_list("populations", None, "In place of the usual ones.")
STEPS = flags.DEFINE_integer("steps", None, "Of a candidate; the preset's by default.")
EXECUTION = flags.DEFINE_string("execution", "auto", "Or dense, as PyTorch has it.")
REPEATS = flags.DEFINE_integer("repeats", 3, "Timings of each row.")
OUTPUT = flags.DEFINE_string("output", None, "JSON file for the rows.")


def preset(name: str, population: int):
    """The config of a search with one replicate."""
    configs = Path(__file__).parents[1] / "configs"
    config = lottery_jax.load_config(configs / f"nets.py:{name}")
    config.replicates = 1
    config.train.execution = EXECUTION.value
    algorithm = config.algorithm
    algorithm.population = population
    algorithm.elites = 2 * population // 5
    algorithm.tournament = min(algorithm.tournament, population)
    algorithm.patience = None
    algorithm.generations = 1_000_000
    algorithm.search.optimizer = "sgd"
    algorithm.search.steps = STEPS.value or algorithm.search.steps
    if name == "lenet_mnist":
        config.data.name = "digits"  # the task below has data of its own
        config.data.validation_size = 100
    return config


def made_mnist() -> Dataset:
    """Random examples in the shapes of MNIST."""
    numbers = np.random.default_rng(0)

    def split(size):
        x = numbers.standard_normal((size, 28, 28, 1), np.float32)
        return Split(x, numbers.integers(0, 10, size, np.int32))

    return Dataset(split(55_000), split(5000), split(100), 10, "made")


class Search(NamedTuple):
    """One search.

    Attributes:
      timing: `timing() -> candidates per second`, of the generations that come next.
      density: `density() -> mean of the population`.
    """

    timing: Callable[[], float]
    density: Callable[[], float]


def start_search(name: str, population: int, workdir: Path) -> Search:
    """A search whose programs are compiled and whose first generations are over."""
    config = preset(name, population)
    roots = rng.roots(0)
    if name == "lenet_mnist":
        model = MODELS["lenet_300_100"]((28, 28, 1), 10, biases="none")
        task = losses.make_task(made_mnist(), model)
    else:
        task = assembly.make_task(config, roots)
    # A trial of sparse execution is remembered there.
    (workdir / "environment.json").write_text("{}")
    make_run = programs.make_programs(config, task, workdir)
    algorithm = assembly.make_algorithm(config, task, make_run)
    state = algorithm.init(roots)
    for _ in range(FIRST[name]):
        state, _ = algorithm.step(state)
    children = population - config.algorithm.elites

    def timing():
        nonlocal state
        start, number = time.perf_counter(), 0
        while not number or time.perf_counter() - start < SECONDS:
            state, _ = algorithm.step(state)
            jax.block_until_ready(state)
            number += 1
        return children * number / (time.perf_counter() - start)

    return Search(timing, lambda: float(state.measured["density"].mean()))


def torch_candidates_per_second(name: str, threads: int) -> float:
    """A plain loop: candidate after candidate, masks in the forward pass, SGD."""
    import torch

    config = preset(name, 5)
    search = config.algorithm.search
    torch.set_num_threads(threads)
    torch.manual_seed(0)
    widths = NETWORKS[name][1]
    pairs = list(zip(widths, widths[1:], strict=False))
    if name == "lenet_mnist":
        loss = torch.nn.CrossEntropyLoss()
        (x, y), (x_validation, y_validation) = (
            (torch.from_numpy(split.x.reshape(-1, 784)), torch.from_numpy(split.y))
            for split in made_mnist()[:2]
        )
        y, y_validation, squash = y.long(), y_validation.long(), torch.relu
    else:
        loss, squash = torch.nn.BCEWithLogitsLoss(), torch.sigmoid
        x = torch.tensor([[0.0, 0], [0, 1], [1, 0], [1, 1]])
        y = torch.tensor([[0.0], [1], [1], [0]])
        x_validation, y_validation = x, y
    size = search.batch_size

    def forward(weights, masks, x):
        for weight, mask in zip(weights[:-1], masks[:-1], strict=True):
            x = squash(x @ (weight * mask))
        return x @ (weights[-1] * masks[-1])

    def candidate():
        weights = [0.1 * torch.randn(pair) for pair in pairs]
        masks = [(torch.rand(pair) < 0.5).float() for pair in pairs]
        for weight in weights:
            weight.requires_grad_(True)
        optimizer = torch.optim.SGD(weights, lr=search.learning_rate)
        for step in range(search.steps):
            first = step % (len(x) // size) * size
            batch = slice(first, first + size)
            optimizer.zero_grad()
            loss(forward(weights, masks, x[batch]), y[batch]).backward()
            optimizer.step()
        with torch.no_grad():
            return float(loss(forward(weights, masks, x_validation), y_validation))

    candidate()
    start, number = time.perf_counter(), 0
    while number < 2 or time.perf_counter() - start < SECONDS:
        candidate()
        number += 1
    return number / (time.perf_counter() - start)


def best_torch(name: str) -> float | None:
    """The faster of one thread and all cores; None where PyTorch is not installed."""
    try:
        return max(torch_candidates_per_second(name, n) for n in {1, os.cpu_count()})
    except ImportError:
        return None


def measure(name: str) -> list[dict]:
    """The rows of one network."""
    rows = []
    for population in map(int, POPULATIONS.value or NETWORKS[name][0]):
        timings, ratios = [], []
        with tempfile.TemporaryDirectory() as workdir:
            search = start_search(name, population, Path(workdir))
            for _ in range(REPEATS.value):
                torch = best_torch(name)
                timings.append(search.timing())
                ratios.append(torch and timings[-1] / torch)
        found = common.middle(timings, "candidates_per_second")
        row = {"network": name, "population": population, "density": search.density()}
        row |= found
        row["over_first"] = (
            found["candidates_per_second"]
            / (rows[0] if rows else found)["candidates_per_second"]
        )
        if all(ratios):
            row["over_pytorch"] = statistics.median(ratios)
        rows.append(row)
    return rows


def main(argv):
    """Prints a table and writes it."""
    del argv
    common.start()
    rows = [row for name in NAMES.value for row in measure(name)]
    common.report(rows, OUTPUT.value)


if __name__ == "__main__":
    app.run(main)
