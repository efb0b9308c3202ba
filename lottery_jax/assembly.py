"""From a config to what a run needs: its task, its algorithm, its state."""

import functools
import os
from pathlib import Path
from typing import Any

import jax
import numpy as np
from ml_collections import ConfigDict

from lottery_jax import tasks
from lottery_jax.algorithms import ALGORITHMS
from lottery_jax.algorithms.base import Algorithm, MakeRun
from lottery_jax.errors import ConfigError
from lottery_jax.fields import FIELDS
from lottery_jax.programs import make_programs
from lottery_jax.reporting import results, run_directory
from lottery_jax.tickets import allocation, masks, planting, targets
from lottery_jax.training import loop, losses
from lottery_jax.types import Dataset, Model, Task


def make_task(config: ConfigDict, roots: dict) -> Task:
    """Loads and splits the data, builds the network, plants a ticket in it."""
    dataset = tasks.load_data(config, roots)
    model = tasks.make_model(config, dataset)
    if config.planting.target is not None:
        model = _plant(config, model, dataset)
    return losses.make_task(dataset, model, config.train.loss)


def _plant(config: ConfigDict, model: Model, dataset: Dataset) -> Model:
    """The model with a hand-made network, or the last ticket of a run, in it."""
    planting_of = config.planting
    if planting_of.target in targets.TARGETS:
        target = targets.make_target(planting_of.target, len(config.model.hidden) + 2)
    else:
        target = last_ticket(planting_of.target, planting_of.replicate)
    return planting.planted_model(
        model,
        target,
        mode=planting_of.mode,
        common=dataset.num_classes is not None,
        loudness=planting_of.loudness,
    )


def _finished(workdir: str | os.PathLike, field: str) -> ConfigDict:
    """The config of a run of `imp`, all of whose rounds are there."""
    found = results.load_results(workdir)
    config = ConfigDict(found.config)
    if config.algorithm.name != "imp":
        problem = f"{workdir} is a run of {config.algorithm.name}: expected imp"
        raise ConfigError(field, problem)
    done, rounds = len(found.certificates), len(found.ladder)
    if done < rounds:
        problem = f"{workdir} has {done} of {rounds} rounds: finish it first"
        raise ConfigError(field, problem)
    return config


def last_ticket(workdir: str | os.PathLike, replicate: int = 0) -> targets.Target:
    """The trained ticket of the last round of a run of `imp` on an `mlp`.

    Raises:
      LotteryError: no such run or replicate, one that is not finished, another
        algorithm or network, tickets that were not made of each other.
    """
    config = _finished(workdir, "planting.target")
    if config.model.name not in ("lenet_300_100", "mlp"):
        problem = f"{workdir} is a run on {config.model.name}: expected an mlp"
        raise ConfigError("planting.target", problem)
    if config.algorithm.one_shot or not config.algorithm.pretrain:
        problem = f"{workdir} keeps no trained ticket (one_shot, or no pretrain)"
        raise ConfigError("planting.target", problem)
    if not replicate < config.replicates:
        problem = f"{replicate}: the run has replicates 0 to {config.replicates - 1}"
        raise ConfigError("planting.replicate", problem)
    _, state = load_state(config, workdir)
    ticket = jax.tree.map(
        lambda leaf: np.asarray(leaf[replicate], np.float64),
        masks.apply(state.final, state.mask),
    )
    return [
        targets.Layer(ticket[name]["kernel"], ticket[name]["bias"])
        for name in planting.layer_names(len(ticket))
    ]


def load_state(config: ConfigDict, workdir: str | os.PathLike) -> tuple[Task, Any]:
    """What a run goes on from: the task, and the state after its last whole round.

    Raises:
      LotteryError: damaged data, a damaged file, a state of another config or version.
    """
    roots = tasks.make_roots(config)
    task = make_task(config, roots)
    make_run = make_programs(config, task, Path(workdir))
    state = make_algorithm(config, task, make_run).init(roots)
    return task, run_directory.restore(Path(workdir), like=state)


def check_batch_statistics(config: ConfigDict, task: Task):
    """Refuses what has no meaning, or is not written, for batch statistics.

    Raises:
      ConfigError: the field that asks for it of a network that has them.
    """
    _, state = jax.eval_shape(task.model.init, jax.random.key(0))
    if not jax.tree.leaves(state):
        return
    problem = "this network has batch statistics,"
    refused = FIELDS[config.algorithm.name].stateless(config)
    if refused:
        field, why = refused
        raise ConfigError(field, f"{problem} and {why} without")
    on_a_line = {
        "level_barrier": config.level_barrier,
        "controls.order": config.controls.get("order"),
    }
    for field, wanted in on_a_line.items():
        if wanted:
            raise ConfigError(field, f"{problem} and networks on a line have none")


def make_algorithm(config: ConfigDict, task: Task, make_run: MakeRun) -> Algorithm:
    """The algorithm of the config, over the programs that `make_run` makes.

    Raises:
      ConfigError: a value that does not fit the task.
    """
    options = config.algorithm.to_dict()
    if options.get("allocation"):
        options["allocation"] = _allocation(options["allocation"])
    train = config.train
    return ALGORITHMS[options.pop("name")](
        task,
        make_run,
        functools.partial(loop.evaluation_grid, train.steps, train.eval_every),
        learning_rate=train.learning_rate,
        replicates=config.replicates,
        controls=config.controls.to_dict(),
        **options,
    )


def _allocation(name: str) -> allocation.Allocation:
    """By its name, or as dense as the layers of the last tickets of a run."""
    if name in allocation.ALLOCATIONS:
        return allocation.ALLOCATIONS[name]
    config = _finished(name, "algorithm.allocation")
    found = results.load_masks(name, config.algorithm.rounds)
    return allocation.learned({layer: float(x.mean()) for layer, x in found.items()})
