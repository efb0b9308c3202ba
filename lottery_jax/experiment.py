"""From a config to results: round by round, each of them onto the disk."""

import contextlib
import functools
import os
import time
import zlib
from collections.abc import Callable
from contextlib import ExitStack
from pathlib import Path

import jax
import numpy as np
from ml_collections import ConfigDict

from lottery_jax import assembly, cache, hosts, programs, tasks, validation
from lottery_jax.algorithms.base import Algorithm
from lottery_jax.analysis import claims, columns, sanity
from lottery_jax.analysis.certificates import certify
from lottery_jax.errors import ConfigError
from lottery_jax.reporting import environment, progress, results, run_directory
from lottery_jax.reporting import live as tensorboard
from lottery_jax.training.teams import Member
from lottery_jax.types import Task


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
    task = hosts.on_all(assembly.make_task, config, roots)
    hosts.on_all(assembly.check_batch_statistics, config, task)
    hosts.check_same("data", _checksums, task)
    make_run = programs.make_programs(config, task, workdir, member)
    algorithm = assembly.make_algorithm(config, task, make_run)
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
        progress.say(f"{compiling:.1f} s of these rounds were compilation")
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
    work = [1] * (last + 1) if algorithm.work is None else algorithm.work
    idle = -1  # the last round that is known to have nothing to do
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
        summary, curves = hosts.from_first(
            run_directory.commit, workdir, info, state, certificate, found
        )
        if live:
            live.write(summary, curves)
        if member:
            member.tell(number, last)
        if number <= idle:
            continue
        idle = number + info.idle
        for note in progress.notes(info, certificate):
            progress.say(f"note: {note}")
        # What is compiled now need not be compiled again.
        took = max(time.perf_counter() - start - compiling, 0)
        left = progress.seconds_left(took, work[number], work[idle + 1 :])
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
