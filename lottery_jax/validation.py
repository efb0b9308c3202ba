"""What the fields of a config may be: `validate` refuses all else.

Before anything is compiled or written, naming the field, its value and what it may be.
"""

import inspect
from pathlib import Path

from ml_collections import ConfigDict

from lottery_jax import config as configs
from lottery_jax.algorithms import ALGORITHMS
from lottery_jax.analysis import claims
from lottery_jax.data import DATASETS, STANDARDIZE
from lottery_jax.errors import ConfigError, LotteryError, nearest
from lottery_jax.fields import FIELDS, checks, optimization
from lottery_jax.fields.base import OWN_COLUMNS
from lottery_jax.models import ACTIVATIONS, BIASES, INITIALIZERS, MODELS
from lottery_jax.tickets import CONTROLS
from lottery_jax.tickets.planting import MODES
from lottery_jax.tickets.targets import TARGETS
from lottery_jax.training.execution import EXECUTIONS
from lottery_jax.training.lanes import PLANS
from lottery_jax.training.losses import LOSSES

RECOVERED = (
    *("recall", "precision", "jaccard"),
    *("untrained_test", "untrained_rescaled"),
)
"""Beginnings of names of columns that are there where a ticket is planted."""


def validate(config: ConfigDict) -> None:
    """Refuses values that cannot be right, whatever the data.

    Raises:
      ConfigError: the field, its value and what it may be.
    """
    _check_names(config, configs.default(), ("algorithm", "controls"))
    checks.choice(config, "algorithm.name", ALGORITHMS)
    fields = FIELDS[config.algorithm.name]
    _check_names(config.algorithm, fields.make(), (), "algorithm.")
    checks.choice(config, "data.name", DATASETS)
    checks.choice(config, "data.standardize", STANDARDIZE)
    _check_model(config)
    _check_train(config)
    fields.check(config)
    if "jitter" in config.algorithm:
        checks.positive(config, "algorithm.jitter")
    for name in config.controls:
        if name not in CONTROLS:
            problem = f"no such control; {nearest(name, CONTROLS)}"
            raise ConfigError(f"controls.{name}", problem)
        checks.at_least(config, f"controls.{name}", 0)
    last = fields.last_round(config.algorithm)
    claims.validate(config.claims, lambda number: fields.lanes(config, number), last)
    _check_planting(config)
    if config.level_barrier and "kept" not in fields.measures(config):
        problem = "masks are not made from trained networks here"
        checks.refuse(config, "level_barrier", problem)
    _check_measured(config)
    checks.choice(config, "lanes.plan", PLANS)
    checks.at_least(config, "lanes.chunk", 1)
    if config.lanes.memory_gb is not None:
        checks.positive(config, "lanes.memory_gb")
    checks.at_least(config, "replicates", 1)
    for name in config.seed:
        if config.seed[name] is not None:
            checks.at_least(config, f"seed.{name}", 0)
            if config.seed[name] >= 2**32:
                checks.refuse(config, f"seed.{name}", "expected less than 2**32")


def _check_model(config: ConfigDict):
    model = config.model
    checks.choice(config, "model.name", MODELS)
    checks.choice(config, "model.initializer", INITIALIZERS)
    takes = inspect.signature(MODELS[model.name]).parameters
    for field in ("hidden", "stages", "branches", "activation", "biases"):
        if model[field] is not None and field not in takes:
            fit = [name for name, make in MODELS.items()
                   if field in inspect.signature(make).parameters]  # fmt: skip
            checks.refuse(config, f"model.{field}", f"is for {', '.join(fit)}")
    whole = all(isinstance(width, int) and width > 0 for width in model.hidden or ())
    if not whole:
        checks.refuse(config, "model.hidden", "widths are positive integers")
    for field in ("stages", "branches"):
        if model[field] is not None:
            checks.at_least(config, f"model.{field}", 1)
    for field, valid in {"activation": ACTIVATIONS, "biases": BIASES}.items():
        if model[field] is not None:
            checks.choice(config, f"model.{field}", valid)


def _check_train(config: ConfigDict):
    if config.train.loss is not None:
        checks.choice(config, "train.loss", LOSSES)
    checks.choice(config, "train.execution", EXECUTIONS)
    checks.at_least(config, "train.eval_every", 1)
    optimization.check(config, "train")
    if config.train.eval_every > config.train.steps:
        problem = f"beyond the last step, {config.train.steps}"
        checks.refuse(config, "train.eval_every", problem)


def _check_planting(config: ConfigDict):
    planted = config.planting

    def refuse(field, problem):
        checks.refuse(config, field, problem)

    checks.choice(config, "planting.mode", MODES)
    checks.positive(config, "planting.loudness")
    checks.at_least(config, "planting.replicate", 0)
    if planted.target is None:
        return
    if config.model.name != "mlp" or config.model.hidden is None:
        refuse("model.name", "what is planted needs an mlp and its widths")
    if not FIELDS[config.algorithm.name].plants:
        fit = " and ".join(name for name, fields in FIELDS.items() if fields.plants)
        refuse("algorithm.name", f"what is planted is for {fit}")
    if planted.mode == "faithful" and planted.loudness != 1:
        refuse("planting.loudness", "the mode faithful has sizes of its own")
    if not planted.target:
        problem = "name a run, --config.planting.target=RUN"
        raise ConfigError("planting.target", problem)
    if planted.target in TARGETS:
        if config.data.name != planted.target:
            refuse("data.name", f"what is planted solves {planted.target}")
        if config.data.standardize != "none":
            problem = "the hand-made network takes inputs as they are, none"
            refuse("data.standardize", problem)
    elif not (Path(planted.target) / "config.json").is_file():
        problem = f"no run directory {planted.target!r}"
        hint = nearest(planted.target, TARGETS)
        raise ConfigError("planting.target", f"{problem}; {hint}")


def _check_measured(config: ConfigDict):
    """Claims about columns that the run will have, of lanes that have them."""
    controls = {name for name, number in config.controls.items() if number}
    on_a_line = controls & {"dense", "order"}
    recovered = set() if config.planting.target is None else None
    some = {
        "instability": controls & {"order"},
        "distance": on_a_line,
        "angle": on_a_line,
        "level_barrier": {"ticket"} if config.level_barrier else set(),
        **dict.fromkeys(RECOVERED, recovered),
        **dict.fromkeys(OWN_COLUMNS, set()),
        **FIELDS[config.algorithm.name].measures(config),
    }
    for claim in map(claims.complete, config.claims):
        for side in claims.sides(claim):
            quantity = claim[f"{side}quantity"] or claim["quantity"]
            lane = claim[f"{side}lane"]
            for beginning, lanes in some.items():
                if not quantity.startswith(beginning) or lanes is None:
                    continue
                if lane not in lanes:
                    problem = f"{quantity}: not measured of {lane} in this run"
                    raise ConfigError(f"claims.{claim['id']}.quantity", problem)


def _check_names(config, reference: ConfigDict, apart: tuple = (), prefix: str = ""):
    """Every group and field of `reference` and no other; groups `apart` are free.

    None is for fields that are None in `reference`.
    """
    if not isinstance(config, ConfigDict):
        if not prefix:
            raise LotteryError(f"get_config() must return a ConfigDict, not {config!r}")
        problem = f"expected a group of fields, got {config!r}"
        raise ConfigError(prefix.rstrip("."), problem)
    for name in config:
        if name not in reference:
            problem = f"no such field; {nearest(name, reference)}"
            raise ConfigError(f"{prefix}{name}", problem)
    for name in reference:
        if name not in config:
            raise ConfigError(f"{prefix}{name}", "is missing")
        if config[name] is None and reference[name] is not None:
            problem = f"None: expected a value, as {reference[name]!r}"
            raise ConfigError(f"{prefix}{name}", problem)
        if name not in apart and isinstance(reference[name], ConfigDict):
            _check_names(config[name], reference[name], (), f"{prefix}{name}.")
