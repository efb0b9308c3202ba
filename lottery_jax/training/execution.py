"""Which program trains the lanes of a round: how they share a device, dense or sparse.

A run compiles one dense program and, as densities fall, a sparse program for every
level of `sparse.LEVELS` (again where another layer falls below it later than the
largest), and small ones for trials. What `auto` finds by a trial is remembered, so that
a run that goes on does as it did before.
"""

from collections.abc import Callable

import jax

from lottery_jax.errors import ConfigError
from lottery_jax.training import lanes, sparse
from lottery_jax.training.lanes import Plan, Run
from lottery_jax.training.loop import Data, Train
from lottery_jax.types import Lane, Task, Trained

EXECUTIONS = ("auto", "dense", "sparse")

WORTH_A_TRIAL = 100_000
"""Weights of dense layers below which `auto` stays dense: a step is mostly overhead."""


def make_runner(
    build: Callable[[Task], Train],
    task: Task,
    data: Data,
    *,
    plan: Plan | None,
    memory: int | None,
    trial: Data,
    execution: str,
    remember: Callable[[str, Callable], object],
) -> Run:
    """Builds `run(lanes, grid) -> Trained`, which chooses and compiles as needed.

    Args:
      build: `loop.make_train` with all but the task given.
      task: network, loss, metrics.
      data: the splits.
      plan: how a device executes its lanes; None: the fastest in a trial.
      memory: bytes of a device that a trial may fill; None: most of what is free.
      trial: splits of a few examples, with which trials are made.
      execution: one of `EXECUTIONS`. `auto` times both in every round that a level
        reaches, until sparse execution wins; then it stays with it.
      remember: `remember(name, choose)` is what `choose()` was when it was first not
        None, in this process or in one before.

    Raises:
      ConfigError: sparse execution of a network without dense layers, or not on CPUs.
    """
    platform = jax.default_backend()
    if execution == "sparse" and platform != "cpu":
        problem = f"sparse: is for CPUs, and lanes run on {platform} here"
        raise ConfigError("train.execution", problem)
    if execution == "sparse" and not task.model.dense:
        raise ConfigError("train.execution", "sparse: the network has no dense layer")
    may_be_sparse = platform == "cpu" and task.model.dense and execution != "dense"
    runners: dict[sparse.Capacities | None, Run] = {}
    trials: dict[sparse.Capacities | None, Run] = {}
    placed = None  # data on the devices, which all runners share

    def train(capacities: sparse.Capacities | None) -> Train:
        if capacities is None:
            return build(task)
        return sparse.make_train(build, task, capacities)

    def run(stacked: Lane, grid: jax.Array) -> Trained:
        nonlocal plan, placed
        devices = lanes.devices_for(len(stacked.key))
        placed = placed or lanes.place(data, devices)
        if plan is None:

            def fastest():
                form = train(None)
                return lanes.choose(form, data, trial, stacked, devices, memory)

            plan = Plan(**remember("plan", lambda: fastest()._asdict()))
        capacities = None
        if may_be_sparse:
            sizes, kept = sparse.count(stacked.mask, task.model.dense)
            levels = (*sparse.LEVELS, 1.0) if execution == "sparse" else sparse.LEVELS
            capacities = sparse.capacities(sizes, kept, levels)
        if execution == "auto" and capacities is not None:

            def wins():
                """How many weights were kept when sparse execution won, or None."""
                few = stacked
                if plan.kind == "map":
                    num = min(len(devices) * plan.chunk, len(stacked.key))
                    few = lanes.resize(stacked, num)
                seconds = []
                for form in (None, capacities):
                    if form not in trials:
                        trials[form] = lanes.make_runner(
                            train(form), trial, plan, devices
                        )
                    seconds.append(lanes.step_seconds(trials[form], few))
                slow, fast = seconds
                return sum(kept.values()) if fast < slow else None

            worth = sum(sizes.values()) >= WORTH_A_TRIAL
            won = remember("sparse_below", wins) if worth else None
            if won is None or sum(kept.values()) > won:
                capacities = None
        if capacities not in runners:
            runners[capacities] = lanes.make_runner(
                train(capacities), placed, plan, devices
            )
        return runners[capacities](stacked, grid)

    return run
