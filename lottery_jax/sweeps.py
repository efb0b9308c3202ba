"""Many runs of one config with other values: one table over all of them.

What can be lanes of one program is: learning rates, momenta, weight decays, and what is
done between rounds. The rest runs one program after another, or as jobs of a cluster.
Every run keeps a directory of its own, with all that a run has, and goes on after a
kill.
"""

import glob
import json
import os
import re
import threading
from collections.abc import Iterable, Mapping
from pathlib import Path

import pandas as pd
from ml_collections import ConfigDict

from lottery_jax import experiment, hosts, validation
from lottery_jax.errors import ConfigError, LotteryError, nearest
from lottery_jax.fields import FIELDS, checks
from lottery_jax.reporting import progress, results
from lottery_jax.training.teams import Member, Team

HYPERS = ("train.momentum", "train.weight_decay")
"""Fields that lanes carry in a sweep; they carry `train.learning_rate` always."""

LANES = (
    "train.learning_rate",
    *HYPERS,
    "algorithm.jitter",
    *("seed.init", "seed.order", "seed.control"),
)
"""Fields that may differ between lanes of one program, beside `Fields.swept`."""

Overrides = Mapping[str, object]
"""Dotted field -> value."""


def configs_of(config: ConfigDict, sweep: Iterable[Overrides]) -> dict[str, ConfigDict]:
    """Name of a run -> its config; every one of them is valid.

    Raises:
      LotteryError: no overrides, two runs alike, a field that the config has not, a
        value that may not be (says in which of the runs).
    """
    found = {}
    for overrides in sweep:
        own = config.copy_and_resolve_references()
        name = name_of(overrides)
        for field, value in overrides.items():
            _check_field(own, field)
            try:
                own.update_from_flattened_dict({field: value})
            except (TypeError, ValueError) as error:
                raise ConfigError(field, f"{value!r}: {error}") from error
        if name in found:
            raise LotteryError(f"--sweep: two runs are {name}")
        try:
            validation.validate(own)
        except LotteryError as error:
            raise LotteryError(f"--sweep, {name}: {error}") from error
        found[name] = own
    if not found:
        raise LotteryError("--sweep: no overrides; expected a list of dicts")
    return found


def name_of(overrides: Overrides) -> str:
    """Of the directory of a run: "train.learning_rate=0.1,replicates=3"."""
    name = ",".join(f"{field}={value}" for field, value in overrides.items())
    return re.sub(r"[^\w.,=()+-]", "_", name.replace(" ", "")) or "as_it_is"


def groups_of(configs: Mapping[str, ConfigDict]) -> list[dict[str, ConfigDict]]:
    """Runs that share their programs stand together, in the order of the sweep."""
    groups = {}
    for name, config in configs.items():
        fields = config.to_dict()
        own = FIELDS[config.algorithm.name].swept
        for field in (*LANES, *(f"algorithm.{each}" for each in own)):
            group, last = field.split(".")
            fields[group].pop(last, None)
        key = json.dumps(fields, sort_keys=True)
        groups.setdefault(key, {})[name] = config
    return list(groups.values())


def run_group(configs: Mapping[str, ConfigDict], workdir: str | os.PathLike):
    """Runs of one group side by side, each in `workdir`/name.

    Raises:
      LotteryError: what went wrong in some of the runs; the others have gone on.
    """
    swept = [
        field
        for field in HYPERS
        if len({checks.get(config, field) for config in configs.values()}) > 1
    ]

    def on_round(number: int, last: int):
        # Not by `progress`, which the runs have made quiet.
        print(f"round {number}/{last} of {len(configs)} runs", flush=True)

    hypers = [
        {field: checks.get(config, field) for field in swept}
        for config in configs.values()
    ]
    team = Team(hypers, on_round)
    failed: dict[str, BaseException] = {}

    def one(name: str, config: ConfigDict, member: Member):
        try:
            experiment.run(config, Path(workdir) / name, member)
        except BaseException as error:
            failed[name] = error
        finally:
            member.leave()

    threads = [
        threading.Thread(target=one, args=(name, config, member))
        for (name, config), member in zip(configs.items(), team.members, strict=True)
    ]
    try:
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    except KeyboardInterrupt:
        team.stop()
        for thread in threads:
            thread.join()
        raise
    finally:
        progress.console.quiet = False
    for error in failed.values():
        if not isinstance(error, (LotteryError, OSError)):
            raise error
    if failed:
        said = "\n  ".join(f"{name}: {error}" for name, error in failed.items())
        raise LotteryError(f"{len(failed)} of {len(configs)} runs failed\n  {said}")


def run_sweep(
    config: ConfigDict,
    sweep: Iterable[Overrides],
    workdir: str | os.PathLike,
    cluster: str | None = None,
    cluster_options: Mapping[str, object] | None = None,
) -> pd.DataFrame:
    """Runs all, or what is left of them, and returns the table of all.

    Args:
      config: what the overrides change.
      sweep: a dict of dotted fields for every run.
      workdir: of the sweep; each run has a directory in it.
      cluster: None: here, one group after another; else of submitit, "slurm" or
        "local" (processes of this machine): a job for every group.
      cluster_options: of `submitit.AutoExecutor.update_parameters`.

    Returns:
      `load_results(f"{workdir}/*")`.

    Raises:
      LotteryError: a wrong override, before anything runs; what failed, after all else.
    """
    workdir = Path(workdir)
    groups = groups_of(configs_of(config, sweep))
    total = sum(map(len, groups))
    progress.say(f"{total} runs, {len(groups)} programs")
    failed, jobs = [], []
    if cluster:
        jobs = _submit(groups, workdir, cluster, cluster_options or {})
    for number, group in enumerate(groups):
        progress.say(f"program {number + 1} of {len(groups)}: {', '.join(group)}")
        try:
            if cluster:
                jobs[number].result()
            else:
                run_group(group, workdir)
        except KeyboardInterrupt:
            for job in jobs:
                job.cancel()
            raise
        except Exception as error:  # of a job it is submitit's own
            if not cluster and not isinstance(error, LotteryError):
                raise
            failed.append(str(error))
    if failed:
        raise LotteryError("\n".join(failed))
    return results.load_results(Path(glob.escape(str(workdir))) / "*")


def _submit(groups, workdir: Path, cluster: str, options: Mapping[str, object]) -> list:
    try:
        import submitit
    except ImportError as error:
        problem = "needs submitit: pip install 'lottery-jax[cluster]'"
        raise LotteryError(f"--cluster={cluster} {problem}") from error
    try:
        executor = submitit.AutoExecutor(workdir / ".jobs", cluster=cluster)
        executor.update_parameters(**options)
    except (NameError, RuntimeError, ValueError) as error:
        raise LotteryError(f"--cluster={cluster}: {error}") from error
    with executor.batch():
        return [executor.submit(_job, group, workdir) for group in groups]


def _job(group: Mapping[str, ConfigDict], workdir: Path):
    """A group in a process of its own."""
    hosts.set_up_devices()
    run_group(group, workdir)


def _check_field(config: ConfigDict, field: str):
    group, valid = config, []
    for part in field.split("."):
        valid = list(group) if isinstance(group, ConfigDict) else []
        if part not in valid:
            raise ConfigError(field, f"no such field; {nearest(part, valid)}")
        group = group[part]
