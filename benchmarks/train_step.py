"""Training steps: by network, number of lanes and plan; against peak and PyTorch.

    python benchmarks/train_step.py [--models=mlp,...] [--lanes=1,4,16] [--output=FILE]

The package's own loop and runner on made data; evaluation and dispatch are left out by
subtracting the time of no steps. The peak is one 2048-cube float32 matrix product per
device, all at once, and PyTorch a plain loop of one network (extra `bench`); both are
timed beside each network, in the same run. Takes three minutes on two cores.
"""

import time
from typing import NamedTuple

import common
import jax
import numpy as np
from absl import app, flags
from jax.sharding import NamedSharding, PartitionSpec

from lottery_jax.training.lanes import Plan


class Size(NamedTuple):
    """A network, and how much of it is timed.

    Attributes:
      input_shape: of one example.
      steps: that are timed.
      num: training examples; they are evaluated once at the end of training.
      most: lanes; more are left out (convolutions in a loop are slow on a CPU).
      options: of the model.
    """

    input_shape: tuple[int, ...]
    steps: int
    num: int
    most: int
    options: dict


MODELS = {
    "mlp": Size((8, 8, 1), 2000, 1200, 256, {"hidden": (100, 50)}),
    "lenet_300_100": Size((28, 28, 1), 200, 6000, 64, {}),
    "lenet_5": Size((28, 28, 1), 10, 600, 4, {}),
}
BATCH = 60
CUBE = 2048

NAMES = common.define_names("models", MODELS)
LANES = flags.DEFINE_list("lanes", ["1", "4", "16"], "Numbers of lanes.")
STEPS = flags.DEFINE_integer("steps", None, "Steps that are timed, for all networks.")
REPEATS = flags.DEFINE_integer("repeats", 3, "Timings of each row.")
OUTPUT = flags.DEFINE_string("output", None, "JSON file for the rows.")


def peak() -> float:
    """FLOP/s of a product of two [2048, 2048] matrices per device, at once."""
    mesh = jax.sharding.Mesh(np.asarray(jax.devices()), ("device",))
    sharding = NamedSharding(mesh, PartitionSpec("device"))
    num = len(jax.devices())
    x = jax.device_put(np.ones((num, CUBE, CUBE), np.float32), sharding)
    spec = sharding.spec
    product = jax.jit(
        jax.shard_map(lambda x: x @ x, mesh=mesh, in_specs=spec, out_specs=spec)
    )
    times = []
    for _ in range(1 + REPEATS.value):
        start = time.perf_counter()
        jax.block_until_ready(product(x))
        times.append(time.perf_counter() - start)
    return 2 * CUBE**3 * num / min(times[1:])


def flops(task) -> float:
    """Of one training step: 3 products per dense layer; XLA's count with convolutions.

    The products are forward, gradient of the weights, gradient of the inputs: 2 * batch
    * weights each. XLA counts the loss and its gradient.
    """
    shapes, state = jax.eval_shape(task.model.init, jax.random.key(0))
    kernels = [x for x in jax.tree.leaves(shapes) if x.ndim > 1]
    if all(kernel.ndim == 2 for kernel in kernels):
        return 3.0 * 2 * BATCH * sum(kernel.size for kernel in kernels)

    def loss(params, state, x, y):
        return task.loss(task.model.apply(params, state, x, train=True)[0], y)

    batch = jax.tree.map(lambda leaf: leaf[:BATCH], task.dataset.train)
    lowered = jax.jit(jax.value_and_grad(loss)).lower(shapes, state, *batch)
    return lowered.cost_analysis()["flops"]


def measure(name: str) -> list[dict]:
    """The rows of one network."""
    size = MODELS[name]
    steps = STEPS.value or size.steps
    task = common.made_task(name, size.input_shape, 10, num=size.num, **size.options)
    highest, step_flops = peak(), flops(task)
    torch = common.best_torch(name, num=size.num, steps=5 * steps)
    rows = []
    for num in map(int, LANES.value):
        if num > size.most:
            continue
        stacked = common.make_lanes(task, num)
        for plan in ("map", "vmap"):
            seconds = common.make_run(task, stacked, Plan(plan), steps, BATCH)
            speeds = [
                num * steps / (seconds(steps) - seconds(0))
                for _ in range(REPEATS.value)
            ]
            row = {"model": name, "lanes": num, "plan": plan}
            row |= common.middle(speeds, "lane_steps_per_second")
            speed = row["lane_steps_per_second"]
            row["mflop_per_step"] = step_flops / 1e6
            row["fraction_of_peak"] = speed * step_flops / highest
            row["peak_gflops"] = highest / 1e9
            row["torch_steps_per_second"] = torch
            row["ratio_to_torch"] = torch and speed / torch
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
