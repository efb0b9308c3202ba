"""Training steps per second against density: LeNet-300-100, dense, sparse and auto.

    python benchmarks/density.py [--densities=1,0.2,...] [--repeats=5] [--output=FILE]

Random masks of the same density in every layer, one lane per device, the package's own
loop and runner on made data, batch 60, Adam; evaluation and dispatch are left out by
subtracting the time of no steps. `auto` is what a run does: its trial first, then the
execution that it took. `ratio` is to dense execution at that density, timed in turns
with it. Takes two minutes on two cores.
"""

import functools
import time

import common
import jax
import jax.numpy as jnp
from absl import app, flags

from lottery_jax.tickets import masks, selection
from lottery_jax.training import execution, lanes, loop, optimizers

DENSITIES = flags.DEFINE_list(
    "densities", ["1", "0.2", "0.1", "0.05", "0.02", "0.01"], "Kept fractions."
)
STEPS = flags.DEFINE_integer("steps", 300, "Steps that are timed.")
REPEATS = flags.DEFINE_integer("repeats", 5, "Timings of each row.")
OUTPUT = flags.DEFINE_string("output", None, "JSON file for the rows.")

NUM = 6000  # training examples
BATCH = 60


def prune(stacked, density: float):
    """The same lanes with a random mask each; layers keep their share exactly."""

    def one(lane):
        kernels = [name for name in masks.named_leaves(lane.mask) if "kernel" in name]
        sizes = {name: masks.named_leaves(lane.mask)[name].size for name in kernels}
        keys = jax.random.split(lane.key, len(jax.tree.leaves(lane.params)))
        keys = jax.tree.unflatten(jax.tree.structure(lane.params), list(keys))
        noise = jax.tree.map(
            lambda key, leaf: jax.random.uniform(key, leaf.shape), keys, lane.params
        )
        keep = {name: round(density * size) for name, size in sizes.items()}
        groups = selection.layerwise(kernels)
        return lane._replace(mask=selection.select(noise, lane.mask, keep, groups))

    return jax.jit(jax.vmap(one))(stacked)


def make_run(task, name: str):
    """`run(lanes, grid)` of an execution, as `lottery_jax.experiment` makes it."""
    chosen = {}

    def remember(choice, choose):
        if choice not in chosen:
            chosen[choice] = choose()
        return chosen[choice]

    build = functools.partial(
        loop.make_train,
        optimizer=optimizers.adam(0.0, 0.0),
        schedule=optimizers.constant(STEPS.value, (), 1.0),
        steps=STEPS.value,
        batch_size=BATCH,
    )
    return execution.make_runner(
        build,
        task,
        tuple(task.dataset[:3]),
        plan=lanes.Plan("map"),
        memory=None,
        trial=lanes.trial_data(task.dataset[:3], BATCH),
        execution=name,
        remember=remember,
    )


def seconds(run, stacked, last: int) -> float:
    start = time.perf_counter()
    jax.block_until_ready(run(stacked, jnp.array([0, last])))
    return time.perf_counter() - start


def main(argv):
    """Prints a table and writes it."""
    del argv
    common.start()
    task = common.made_task("lenet_300_100", (28, 28, 1), 10, num=NUM)
    whole = common.make_lanes(task, len(jax.devices()))
    rows = []
    for density in map(float, DENSITIES.value):
        stacked = prune(whole, density)
        # A new `auto` for every density: each has its trial.
        runs = {name: make_run(task, name) for name in ("dense", "sparse", "auto")}
        for run in runs.values():
            seconds(run, stacked, 0)  # compiles
        speeds = {name: [] for name in runs}
        for _ in range(REPEATS.value):
            for name, run in runs.items():
                idle = seconds(run, stacked, 0)
                busy = seconds(run, stacked, STEPS.value) - idle
                speeds[name].append(len(stacked.key) * STEPS.value / busy)
        for name, values in speeds.items():
            ratios = [a / b for a, b in zip(values, speeds["dense"], strict=True)]
            rows.append(
                {"density": density, "execution": name}
                | common.middle(values, "steps_per_second")
                | {"ratio": common.middle(ratios, "ratio")["ratio"]}
            )
    common.report(rows, OUTPUT.value)


if __name__ == "__main__":
    app.run(main)
