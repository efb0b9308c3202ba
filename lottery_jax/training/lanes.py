"""Many lanes in one compiled program, spread over the devices there are.

The lane axis is sharded over a mesh of all devices, of all processes where there are
several; each device runs its share as its plan says. The plan changes speed, never
results beyond float rounding.
"""

import functools
import time
from collections.abc import Callable
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax.sharding import NamedSharding, PartitionSpec

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
      data: the splits; copied to every device now and not again.
      plan: how a device executes its share.
      devices: what the lanes are spread over; of every process at least one.

    With several processes, each calls it with the same lanes and gets all that was
    trained, on its own first device.
    """
    mesh = jax.sharding.Mesh(np.asarray(devices), ("lane",))
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
        lanes = _resize(lanes, num + -num % len(devices))  # as many on every device
        lanes = _spread(lanes, NamedSharding(mesh, split))
        trained = program(lanes, data, _spread(grid, NamedSharding(mesh, everywhere)))
        # Back to one device, where the transformations between rounds run.
        return _resize(collect(trained), num)

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
        return jax.make_array_from_callback(leaf.shape, sharding, leaf.__getitem__)

    return jax.tree.map(spread, tree)


@functools.partial(jax.jit, static_argnums=1)
def _resize(tree, num: int):
    """Cuts the lane axis to `num`, or repeats its last lane."""
    return jax.tree.map(
        lambda leaf: leaf[jnp.minimum(jnp.arange(num), len(leaf) - 1)], tree
    )


def when_needed(make: Callable[[Lane], Run]) -> Run:
    """A runner that is made when the first lanes come: `make(lanes) -> run`."""
    made: list[Run] = []

    def run(lanes: Lane, grid: jax.Array) -> Trained:
        if not made:
            made.append(make(lanes))
        return made[0](lanes, grid)

    return run


def choose(train: Train, data: Data, lanes: Lane, devices, steps: int = 30) -> Plan:
    """Times a few steps of each plan on `lanes` [N, ...] and returns the fastest.

    Compilation and evaluation are left out: the time of no steps is subtracted.
    """
    share = -(-len(lanes.key) // len(devices))
    candidates = [Plan("map"), Plan("vmap")]
    candidates += [Plan("map", chunk) for chunk in (4, 16) if chunk < share]
    examples, *rest = data
    data = (examples, *(jax.tree.map(lambda leaf: leaf[:1], split) for split in rest))
    seconds = {}
    for plan in candidates:
        run = make_runner(train, data, plan, devices)
        ticks = []
        for last in (0, 0, steps):  # compile, overhead, work
            jax.block_until_ready(run(lanes, jnp.array([0, last])))
            ticks.append(time.perf_counter())
        compiled, idle, done = ticks
        seconds[plan] = (done - idle) - (idle - compiled)
    return min(seconds, key=seconds.get)
