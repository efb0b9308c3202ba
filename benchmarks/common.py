"""What the benchmarks share: lanes to train on made data, a PyTorch loop, tables."""

import json
import logging
import os
import statistics
import time
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
from absl import flags

from lottery_jax.models import MODELS
from lottery_jax.tickets import masks
from lottery_jax.training import lanes, loop, losses, optimizers
from lottery_jax.types import Dataset, Lane, Split, Task

LEARNING_RATE = 1.2e-3


def define_names(flag: str, valid):
    """A flag for some of the names, separated by commas; all of them by default."""
    holder = flags.DEFINE_list(flag, list(valid), f"Some of {', '.join(valid)}.")
    flags.register_validator(flag, set(valid).issuperset, f"valid: {list(valid)}")
    return holder


def start():
    """One CPU device per core, as the command `lottery` has it."""
    logging.getLogger("jax._src.xla_bridge").setLevel(logging.WARNING)
    jax.config.update("jax_num_cpu_devices", os.cpu_count())


def made_task(name, input_shape, outputs, *, num, held_out=1, **options) -> Task:
    """A network of the package on `num` random examples; one output is regression."""
    numbers = np.random.default_rng(0)

    def split(size):
        x = numbers.random((size, *input_shape), np.float32)
        if outputs == 1:
            return Split(x, numbers.random((size, 1), np.float32))
        return Split(x, numbers.integers(0, outputs, size, np.int32))

    classes = None if outputs == 1 else outputs
    dataset = Dataset(split(num), split(held_out), split(1), classes, "made")
    return losses.make_task(dataset, MODELS[name](input_shape, outputs, **options))


def make_lanes(task: Task, num: int) -> Lane:
    """`num` lanes [N, ...] of different networks, every weight kept."""

    @jax.vmap
    def one(key):
        params, _ = task.model.init(key)
        hypers = {
            "learning_rate": jnp.float32(LEARNING_RATE),
            "schedule_offset": jnp.int32(0),
        }
        return Lane(params, masks.full(params), key, hypers)

    return jax.jit(one)(jax.random.split(jax.random.key(0), num))


def make_run(task: Task, stacked: Lane, plan: lanes.Plan, steps: int, batch_size: int):
    """`seconds(last)` of all lanes trained to step `last` <= `steps`; it compiles now.

    The package's own loop and runner, with Adam; lanes are spread over the devices as
    in a run.
    """
    train = loop.make_train(
        task,
        optimizers.adam(0.0, 0.0),
        optimizers.constant(steps, (), 1.0),
        steps=steps,
        batch_size=batch_size,
    )
    splits = (task.dataset.train, task.dataset.validation, task.dataset.test)
    devices = jax.devices()[: len(stacked.key)]
    run = lanes.make_runner(train, splits, plan, devices)

    def seconds(last):
        start = time.perf_counter()
        jax.block_until_ready(run(stacked, jnp.array([0, last])))
        return time.perf_counter() - start

    seconds(0)
    return seconds


def torch_steps_per_second(
    model: str, threads: int, *, num: int, steps: int, batch_size: int = 60
) -> float:
    """A plain PyTorch loop with Adam; masks are applied after every step."""
    import torch

    nn = torch.nn

    def dense(*widths):
        layers = [nn.Flatten()]
        for inputs, outputs in zip(widths, widths[1:], strict=False):
            layers += [nn.Linear(inputs, outputs), nn.ReLU()]
        return layers[:-1]

    def conv(*channels, **options):
        return [nn.Conv2d(*channels, 5, **options), nn.ReLU(), nn.MaxPool2d(2)]

    side, layers = {
        "mlp": lambda: (8, dense(64, 100, 50, 10)),
        "lenet_300_100": lambda: (28, dense(784, 300, 100, 10)),
        "lenet_5": lambda: (
            *(28,),
            [*conv(1, 6, padding=2), *conv(6, 16), *dense(400, 120, 84, 10)],
        ),
    }[model]()
    torch.set_num_threads(threads)
    torch.manual_seed(0)
    x, y = torch.randn(num, 1, side, side), torch.randint(0, 10, (num,))
    network = nn.Sequential(*layers)
    kernels = [weight for weight in network.parameters() if weight.ndim > 1]
    kept = [torch.ones_like(weight) for weight in kernels]
    optimizer = torch.optim.Adam(network.parameters(), lr=LEARNING_RATE)
    loss = nn.CrossEntropyLoss()
    order = torch.randperm(num)
    start = 0.0
    for step in range(-steps // 20, steps):  # the first few warm up
        if step == 0:
            start = time.perf_counter()
        first = batch_size * (step % (num // batch_size))
        batch = order[first : first + batch_size]
        optimizer.zero_grad()
        loss(network(x[batch]), y[batch]).backward()
        optimizer.step()
        with torch.no_grad():
            for weight, mask in zip(kernels, kept, strict=True):
                weight.mul_(mask)
    return steps / (time.perf_counter() - start)


def best_torch(model: str, **sizes) -> float | None:
    """The faster of one thread and all cores; None where PyTorch is not installed."""
    try:
        return max(
            torch_steps_per_second(model, threads, **sizes)
            for threads in {1, os.cpu_count()}
        )
    except ImportError:
        return None


def middle(values: list[float], name: str) -> dict[str, float]:
    """Columns `name`: the median, `low` and `high`: the spread of the repeats."""
    return {name: statistics.median(values), "low": min(values), "high": max(values)}


def report(rows: list[dict], output: str | None):
    """Prints the rows as a table; writes them to `output` (JSON) where it is named."""
    names = list(dict.fromkeys(name for row in rows for name in row))
    cells = [names] + [[_cell(row.get(name)) for name in names] for row in rows]
    widths = [max(map(len, column)) for column in zip(*cells, strict=True)]
    for line in cells:
        print("  ".join(map(str.rjust, line, widths)))
    if output:
        Path(output).write_text(json.dumps(rows, indent=1))


def _cell(value) -> str:
    if value is None:
        return "-"
    if isinstance(value, float):
        return f"{value:,.0f}" if abs(value) >= 100 else f"{value:.3g}"
    return str(value)
