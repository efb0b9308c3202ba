"""Many lanes in one compiled program, spread over the devices there are.

The lane axis is sharded over a mesh of all devices, of all processes where there are
several; each device runs its share as its plan says. The plan changes speed, never
results beyond float rounding.
"""

import functools
import os
import time
from collections.abc import Callable
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax.sharding import NamedSharding, PartitionSpec

from lottery_jax import hosts, stacks
from lottery_jax.training.loop import Data, Train
from lottery_jax.types import Lane, Trained

PLANS = ("auto", "map", "vmap")


class Plan(NamedTuple):
    """How a device executes its lanes.

    Attributes:
      kind: "vmap" for all at once, "map" for chunks one after another.
      chunk: lanes in a chunk of "map".
    """

    kind: str
    chunk: int = 1


Run = Callable[[Lane, jax.Array], Trained]


def make_runner(train: Train, data: Data, plan: Plan, devices: list) -> Run:
    """Builds `run(lanes, grid) -> Trained` for stacked lanes [N, ...], compiled once.

    Args:
      train: trains one lane.
      data: the splits; copied to every device now, unless `place` has done so.
      plan: how a device executes its share.
      devices: what the lanes are spread over; of every process at least one.

    With several processes, each calls it with the same lanes and gets all that was
    trained, on its own first device.
    """
    mesh = _mesh(devices)
    split, everywhere = PartitionSpec("lane"), PartitionSpec()
    data = _spread(data, NamedSharding(mesh, everywhere))

    def share(lanes, data, grid):
        if plan.kind == "vmap":
            return jax.vmap(train, (0, None, None))(lanes, data, grid)
        # A chunk of one is a loop without vmap: batched kernels of one lane are slower.
        chunk = plan.chunk if plan.chunk > 1 else None
        return jax.lax.map(
            lambda lane: train(lane, data, grid), lanes, batch_size=chunk
        )

    program = jax.jit(
        jax.shard_map(
            share,
            mesh=mesh,
            in_specs=(split, everywhere, everywhere),
            out_specs=split,
            check_vma=False,  # loop carries start as constants, equal on all devices
        )
    )

    def run(lanes: Lane, grid: jax.Array) -> Trained:
        num = len(lanes.key)
        lanes = resize(lanes, num + -num % len(devices))  # as many on every device
        lanes = _spread(lanes, NamedSharding(mesh, split))
        trained = program(lanes, data, _spread(grid, NamedSharding(mesh, everywhere)))
        # Back to one device, where the transformations between rounds run.
        return resize(collect(trained), num)

    def collect(trained):
        if jax.process_count() > 1:
            # The devices of a process enter the exchange together.
            everything = replicate(jax.block_until_ready(trained))
            trained = jax.tree.map(lambda leaf: leaf.addressable_data(0), everything)
        return jax.device_put(trained, jax.local_devices()[0])

    replicate = jax.jit(
        lambda tree: tree, out_shardings=NamedSharding(mesh, everywhere)
    )
    return run


def _spread(tree, sharding: NamedSharding):
    """Puts arrays that are equal on all processes onto the devices of all."""
    if sharding.is_fully_addressable:
        return jax.device_put(tree, sharding)

    def spread(leaf):
        if isinstance(leaf, jax.Array) and leaf.sharding == sharding:
            return leaf
        return jax.make_array_from_callback(leaf.shape, sharding, leaf.__getitem__)

    return jax.tree.map(spread, tree)


def resize(tree, num: int):
    """Cuts the lane axis to `num`, or repeats its last lane."""
    # Most often there is nothing to do, and nothing to compile then.
    return tree if len(jax.tree.leaves(tree)[0]) == num else _resized(tree, num)


@functools.partial(jax.jit, static_argnums=1)
def _resized(tree, num):
    return jax.tree.map(
        lambda leaf: leaf[jnp.minimum(jnp.arange(num), len(leaf) - 1)], tree
    )


def devices_for(num: int) -> list:
    """Devices for so many lanes: no more than those, for each holds all data.

    All there are where there are several processes: each takes part.
    """
    return jax.devices()[: num if jax.process_count() == 1 else None]


def place(data: Data, devices: list) -> Data:
    """The data on all devices, once for all runners made with them."""
    return _spread(data, NamedSharding(_mesh(devices), PartitionSpec()))


def _mesh(devices: list) -> jax.sharding.Mesh:
    return jax.sharding.Mesh(np.asarray(devices), ("lane",))


def choose(
    train: Train,
    data: Data,
    trial: Data,
    lanes: Lane,
    devices: list,
    memory: int | None = None,
) -> Plan:
    """Times a few steps of each plan on `lanes` [N, ...] and returns the fastest.

    Plans that need more memory than there is are left out: many lanes at once take that
    many times what one takes, which the compiler knows.

    Args:
      train: trains one lane.
      data: the splits.
      trial: splits of a few examples, with which the steps are timed.
      lanes: stacked lanes.
      devices: what the lanes are spread over.
      memory: bytes of a device that may be used; None: most of what is free.
    """
    share = -(-len(lanes.key) // len(devices))
    at_once = {Plan("map"): 1, Plan("vmap"): share}
    at_once |= {Plan("map", chunk): chunk for chunk in (4, 16, 64) if chunk < share}
    one = stacks.take(lanes, 0)
    grid = jnp.zeros(2, int)
    needs = jax.jit(train).lower(one, data, grid).compile().memory_analysis()
    # One answer for all processes, or they would try different plans.
    room = memory or hosts.from_first(free_bytes, jax.local_devices()[0])
    seconds = {}
    for plan, number in sorted(at_once.items(), key=lambda item: item[1]):
        if number > 1 and number * needs.temp_size_in_bytes > room:
            break
        try:
            run = make_runner(train, trial, plan, devices)
            seconds[plan] = step_seconds(run, lanes, steps=30)
        except jax.errors.JaxRuntimeError as error:
            if number == 1 or "RESOURCE_EXHAUSTED" not in str(error):
                raise
            break  # larger chunks would fail as well
    return min(seconds, key=seconds.get)


def trial_data(data: Data, batch_size: int) -> Data:
    """A few batches to train on and one example of each split that is evaluated."""
    sizes = (32 * batch_size, 1, 1)
    return tuple(
        stacks.first(split, size) for split, size in zip(data, sizes, strict=True)
    )


def step_seconds(run: Run, lanes: Lane, steps: int = 100) -> float:
    """Seconds that a few steps of all lanes take: the least of five trials.

    Compilation and evaluation are left out: the time of no steps is subtracted.
    """

    def seconds(last):
        start = time.perf_counter()
        jax.block_until_ready(run(lanes, jnp.array([0, last])))
        return time.perf_counter() - start

    seconds(0)  # compiles
    idle, busy = (min(seconds(last) for _ in range(5)) for last in (0, steps))
    return busy - idle


def free_bytes(device, part: float = 0.8) -> int:
    """The part of a device's free memory that lanes may take."""
    stats = device.memory_stats()
    if stats:
        return int(part * (stats["bytes_limit"] - stats["bytes_in_use"]))
    free = os.sysconf("SC_AVPHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    return int(part * free / jax.local_device_count())
