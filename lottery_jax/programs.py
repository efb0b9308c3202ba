"""The compiled programs of an experiment: how its config trains stacked lanes."""

from collections.abc import Callable
from pathlib import Path

from ml_collections import ConfigDict

from lottery_jax.algorithms.base import MakeRun
from lottery_jax.fields import checks
from lottery_jax.reporting import run_directory
from lottery_jax.training import execution, lanes, loop, optimizers
from lottery_jax.training.teams import Member
from lottery_jax.types import Dataset, Model, Task

SHORT = 1000
"""Steps below which `auto` stays dense: they are over before a trial is."""


def make_programs(
    config: ConfigDict, task: Task, workdir: Path, member: Member | None = None
) -> MakeRun:
    """Builds `make_run`; nothing is compiled before a program gets its first lanes.

    What `auto` finds in a trial is remembered in the run directory. The programs of a
    member of a team train with those of the others.
    """
    plan = None
    if config.lanes.plan != "auto":
        plan = lanes.Plan(config.lanes.plan, config.lanes.chunk)
    memory = config.lanes.memory_gb

    def make_run(
        model: Model = task.model,
        name: str = "",
        *,
        dataset: Dataset = task.dataset,
        make_train: Callable = loop.make_train,
        group: str = "train",
        sparse: bool | None = None,
        repeats: int = 1,
        **special,
    ) -> lanes.Run:
        settings = checks.get(config, group)
        if settings.batch_size > len(dataset.train.x):
            problem = f"the training split has {len(dataset.train.x)} examples"
            checks.refuse(config, f"{group}.batch_size", problem)
        shape = optimizers.SCHEDULES[settings.schedule](
            settings.steps, settings.milestones, settings.gamma
        )
        options = special | {
            "schedule": optimizers.with_warmup(shape, settings.warmup_steps),
            "steps": settings.steps,
            "batch_size": settings.batch_size,
        }
        if "test_curve" in settings:
            options["test_curve"] = settings.test_curve

        def build(own: Task) -> loop.Train:
            def train(lane, data, grid):
                momentum, decay = (
                    lane.hypers.get(field, settings[field])  # a team's have their own
                    for field in ("momentum", "weight_decay")
                )
                optimizer = optimizers.OPTIMIZERS[settings.optimizer](momentum, decay)
                return make_train(own, optimizer, **options)(lane, data, grid)

            return train

        if sparse is None:
            sparse = make_train is loop.make_train
        chosen = config.train.execution if sparse else "dense"
        if chosen == "auto" and settings.steps * repeats < SHORT:
            chosen = "dense"
        splits = dataset.train, dataset.validation, dataset.test
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
        return member.join(run, group) if member else run

    return make_run
