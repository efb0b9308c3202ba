"""The fields that `config.train` and `config.algorithm.search` have alike."""

from ml_collections import ConfigDict

from lottery_jax.fields import checks
from lottery_jax.training.optimizers import OPTIMIZERS, SCHEDULES


def make() -> ConfigDict:
    """The fields with their defaults."""
    fields = ConfigDict()
    fields.optimizer = "adam"
    fields.learning_rate = 1.2e-3
    fields.schedule = "constant"  # of the learning rate
    fields.milestones = ()  # steps at which `piecewise` multiplies by gamma
    fields.gamma = 0.1  # factor of `piecewise`
    fields.warmup_steps = 0  # steps of linear warm-up
    fields.momentum = 0.9  # of `momentum`
    fields.weight_decay = 0.0  # per step; not with `adam`
    fields.batch_size = 60  # examples per step
    return fields


def check(config: ConfigDict, group: str):
    """Of `group`, "train" or "algorithm.search"."""
    fields = checks.get(config, group)

    def refuse(field, problem):
        checks.refuse(config, f"{group}.{field}", problem)

    checks.choice(config, f"{group}.optimizer", OPTIMIZERS)
    checks.choice(config, f"{group}.schedule", SCHEDULES)
    for field in ("batch_size", "steps"):
        checks.at_least(config, f"{group}.{field}", 1)
    for field in ("learning_rate", "gamma"):
        checks.positive(config, f"{group}.{field}")
    checks.at_least(config, f"{group}.weight_decay", 0)
    if fields.optimizer == "adam" and fields.weight_decay:
        refuse("weight_decay", "adam has none, adamw does")
    if not 0 <= fields.momentum < 1:
        refuse("momentum", "expected 0 <= x < 1")
    if not 0 <= fields.warmup_steps < fields.steps:
        refuse("warmup_steps", f"expected 0 to steps - 1 = {fields.steps - 1}")
    if (fields.schedule == "piecewise") != bool(fields.milestones):
        refuse("milestones", "steps for the schedule piecewise, and only for it")
    for step in fields.milestones:
        if not isinstance(step, int) or not 0 < step < fields.steps:
            refuse("milestones", f"expected steps between 0 and {fields.steps}")
