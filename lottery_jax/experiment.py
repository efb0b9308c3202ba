"""From a config to results: task and algorithm, then round by round onto the disk."""

import contextlib
import functools
import os
import time
import zlib
from collections.abc import Callable
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import jax
import numpy as np
from ml_collections import ConfigDict

from lottery_jax import cache, hosts, tasks, validation
from lottery_jax.algorithms import ALGORITHMS
from lottery_jax.algorithms.base import Algorithm
from lottery_jax.algorithms.methods import METHODS
from lottery_jax.analysis import claims, columns, sanity
from lottery_jax.analysis.certificates import certify
from lottery_jax.errors import ConfigError
from lottery_jax.fields import FIELDS
from lottery_jax.reporting import environment, progress, results, run_directory
from lottery_jax.reporting import live as tensorboard
from lottery_jax.tickets import allocation, masks, planting, targets
from lottery_jax.training import (
    execution,
    fitness,
    lanes,
    loop,
    losses,
    optimizers,
)
from lottery_jax.training.teams import Member
from lottery_jax.types import Dataset, Model, Task

SHORT = 1000
"""Steps below which `auto` stays dense: they are over before a trial is."""


def run(
    config: ConfigDict, workdir: str | os.PathLike, member: Member | None = None
) -> results.Results:
    """Runs an experiment, or goes on with it, and returns its results.

    Everything that can be wrong with the config or the data is found before the
    directory is touched. Progress is printed. With several processes each calls it; the
    first prints and keeps the directory, and all fail where one does.

    Args:
      config: as `lottery_jax.config.default()` or a file in `configs/` makes it.
      workdir: directory of the run; see `reporting/run_directory.py` for what it holds.
      member: of a team of runs that train their lanes together; it says nothing.

    Raises:
      LotteryError: a wrong value, damaged data, an unusable directory, or a round that
        violates what must hold.
    """
    hosts.on_all(validation.validate, config)
    hosts.check_same("fields in its config", config.to_dict)
    if config.tensorboard:
        hosts.on_all(tensorboard.check)
    progress.console.quiet = jax.process_index() > 0 or member is not None
    workdir = Path(workdir)
    if hosts.from_first(run_directory.is_finished, workdir, config.to_dict()):
        return hosts.from_first(_show_finished, workdir, config)
    problem = cache.enable() if config.compilation_cache else None
    if problem:
        progress.say(f"note: {problem}")
    roots = tasks.make_roots(config)
    task = hosts.on_all(make_task, config, roots)
    hosts.on_all(_check_state, config, task)
    hosts.check_same("data", _checksums, task)
    algorithm = make_algorithm(config, task, workdir, member)
    with ExitStack() as stack:

        def take():
            run = run_directory.open_run(workdir, config.to_dict(), algorithm.ladder)
            done = stack.enter_context(run)
            for change in environment.record(workdir):
                progress.say(f"note: {change}; bits may differ from here on")
            return done

        done, compiled = hosts.from_first(take), cache.compile_seconds()
        measure = functools.partial(
            columns.of_round, task, level_barrier=config.level_barrier
        )
        live = None
        if config.tensorboard and jax.process_index() == 0:
            live = stack.enter_context(contextlib.closing(tensorboard.Writer(workdir)))
        _rounds(algorithm, measure, roots, workdir, done, live, member)
        compiling = cache.compile_seconds() - compiled
        progress.say(f"{compiling:.0f} s of these rounds were compilation")
        return hosts.from_first(_show_end, workdir, config.claims)


def _show_finished(workdir: Path, config: ConfigDict) -> results.Results:
    found = results.load_results(workdir)
    progress.say(f"{workdir} is finished: rounds 0 to {len(found.ladder) - 1}")
    if config.claims or not (workdir / "figures").is_dir():
        with run_directory.open_run(workdir, config.to_dict(), found.ladder):
            return _show_end(workdir, config.claims)
    return found


def _checksums(task: Task) -> list[int]:
    return [
        zlib.crc32(np.ascontiguousarray(x)) for x in jax.tree.leaves(task.dataset[:3])
    ]


def _rounds(
    algorithm: Algorithm,
    measure: Callable,
    roots,
    workdir: Path,
    done: int,
    live: tensorboard.Writer | None,
    member: Member | None,
):
    state, last = algorithm.init(roots), len(algorithm.ladder) - 1
    if done and live:
        before = results.load_results(workdir)
        live.write(before.summary, before.curves)
    if done:
        state = run_directory.restore(workdir, like=state)
        progress.say(f"going on with round {done} of {workdir}")
    for number in range(done, last + 1):
        start, compiled = time.perf_counter(), cache.compile_seconds()
        with progress.training(number, last):
            state, info = algorithm.step(state)
            jax.block_until_ready(state)
        certificate = certify(info)
        seconds = time.perf_counter() - start
        compiling = cache.compile_seconds() - compiled
        found = measure(info) | {"seconds": seconds}
        if empty := certificate["empty_layers"]:
            more = f" and {len(empty) - 3} more" if len(empty) > 3 else ""
            layers = ", ".join(empty[:3]) + more
            progress.say(f"note: nothing is left of {layers} in a ticket of this round")
        for note in info.notes:
            progress.say(f"note: {note}")
        summary, curves = hosts.from_first(
            run_directory.commit, workdir, info, state, certificate, found
        )
        if live:
            live.write(summary, curves)
        if member:
            member.tell(number, last)
        # What is compiled now need not be compiled again.
        left = max(time.perf_counter() - start - compiling, 0) * (last - number)
        much = compiling > seconds / 10
        steps = info.trained.history["step"][0, -1] - info.start
        steps = 0 if info.in_generations else steps
        progress.show_round(summary, last, int(steps), left, compiled=much)


def _show_end(workdir: Path, stated: tuple) -> results.Results:
    from lottery_jax.reporting import figures  # Matplotlib: not before it is needed

    found = results.load_results(workdir)
    progress.show_end(found.summary, figures.draw(found), workdir)
    compared = None
    if progress.of_checks(found.summary).any():
        compared = sanity.to_markdown(sanity.table(found.summary))
    if compared:
        path = run_directory.write_text(workdir, "sanity.md", compared)
        progress.say(f"checks: {path}")
    if stated:
        _judge(found, stated)
    return found


def _judge(found: results.Results, stated: tuple):
    last_step = int(found.curves.step.max())
    try:
        verdicts = claims.judge(found.summary, stated, last_step)
    except ConfigError as error:  # of what was not measured; the run is there
        return progress.say(f"note: claims are not judged: {error}")
    text = claims.to_markdown(verdicts)
    path = run_directory.write_text(found.workdir, "claims.md", text)
    progress.show_verdicts(verdicts, path)


def make_task(config: ConfigDict, roots: dict) -> Task:
    """Loads and splits the data, builds the network, plants a ticket in it."""
    dataset = tasks.load_data(config, roots)
    model = tasks.make_model(config, dataset)
    if config.planting.target is not None:
        model = _plant(config, model, dataset)
    return losses.make_task(dataset, model, config.train.loss)


def _check_batch(size: int, dataset: Dataset, group: str):
    num = len(dataset.train.x)
    if size > num:
        problem = f"{size}: the training split has {num} examples"
        raise ConfigError(f"{group}.batch_size", problem)


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
    algorithm = make_algorithm(config, task, Path(workdir))
    return task, run_directory.restore(Path(workdir), like=algorithm.init(roots))


def _check_state(config: ConfigDict, task: Task):
    """What has no meaning, or is not written, for networks with batch statistics."""
    _, state = jax.eval_shape(task.model.init, jax.random.key(0))
    if not jax.tree.leaves(state):
        return
    problem = "this network has batch statistics,"
    without = FIELDS[config.algorithm.name].stateless
    if without:
        raise ConfigError("model.name", f"{problem} and {without}")
    for name in config.algorithm.get("methods", ()):
        if METHODS[name].learns:
            problem = f"{name}: {problem} and scores are learned of networks without"
            raise ConfigError("algorithm.methods", problem)
    on_a_line = {
        "level_barrier": config.level_barrier,
        "controls.order": config.controls.get("order"),
    }
    for field, wanted in on_a_line.items():
        if wanted:
            raise ConfigError(field, f"{problem} and networks on a line have none")


def make_algorithm(
    config: ConfigDict, task: Task, workdir: Path, member: Member | None = None
) -> Algorithm:
    """Builds the algorithm over a training loop.

    Nothing is compiled before the first round; what `auto` finds in a trial is
    remembered in the run directory. A member of a team trains with the others.
    """
    plan = None
    if config.lanes.plan != "auto":
        plan = lanes.Plan(config.lanes.plan, config.lanes.chunk)
    memory = config.lanes.memory_gb

    def make_run(
        model: Model = task.model,
        name: str = "",
        dataset: Dataset = task.dataset,
        make_train: Callable = loop.make_train,
        search: bool = False,
        **special,
    ) -> lanes.Run:
        splits = dataset.train, dataset.validation, dataset.test
        settings = config.algorithm.search if search else config.train
        _check_batch(
            settings.batch_size, dataset, "algorithm.search" if search else "train"
        )
        shape = optimizers.SCHEDULES[settings.schedule](
            settings.steps, settings.milestones, settings.gamma
        )
        build = functools.partial(
            _per_lane,
            make_train=make_train,
            settings=settings,
            search=search,
            schedule=optimizers.with_warmup(shape, settings.warmup_steps),
            steps=settings.steps,
            batch_size=settings.batch_size,
            **({} if search else {"test_curve": settings.test_curve}),
            **special,
        )
        chosen = config.train.execution
        # Sparse execution has pruned weights at 0, one mask for all steps, and weights
        # where the network has them.
        may_be_sparse = make_train in (loop.make_train, fitness.make_train)
        if special.get("link") or not may_be_sparse:
            chosen = "dense"
        generations = config.algorithm.get("generations", 1) if search else 1
        short = settings.steps * generations < SHORT
        if chosen == "auto" and (special.get("keep_pruned") or short):
            chosen = "dense"
        run = execution.make_runner(
            build,
            task._replace(model=model),
            splits,
            plan=plan,
            memory=memory and int(memory * 2**30),
            trial=lanes.trial_data(splits, settings.batch_size),
            execution=chosen,
            remember=lambda key, choose: run_directory.remember(
                workdir, name + key, choose
            ),
        )
        return member.join(run) if member else run

    train = config.train
    grid = functools.partial(loop.evaluation_grid, train.steps, train.eval_every)
    options = config.algorithm.to_dict()
    if options.get("allocation"):
        options["allocation"] = _allocation(options["allocation"])
    return ALGORITHMS[options.pop("name")](
        task,
        make_run,
        grid,
        learning_rate=train.learning_rate,
        replicates=config.replicates,
        controls=config.controls.to_dict(),
        **options,
    )


def _per_lane(
    task: Task, *, make_train: Callable, settings: ConfigDict, search: bool, **options
) -> loop.Train:
    """A training, of which lanes of a team may have momentum and decay of their own."""

    def train(lane, data, grid):
        own = {} if search else lane.hypers
        momentum, decay = (
            own.get(name, settings[name]) for name in ("momentum", "weight_decay")
        )
        optimizer = optimizers.OPTIMIZERS[settings.optimizer](momentum, decay)
        return make_train(task, optimizer, **options)(lane, data, grid)

    return train


def _allocation(name: str) -> allocation.Allocation:
    """By its name, or as dense as the layers of the last tickets of a run."""
    if name in allocation.ALLOCATIONS:
        return allocation.ALLOCATIONS[name]
    config = _finished(name, "algorithm.allocation")
    found = results.load_masks(name, config.algorithm.rounds)
    return allocation.learned({layer: float(x.mean()) for layer, x in found.items()})
