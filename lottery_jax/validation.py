"""What the fields of a config may be: `validate` refuses all else.

Before anything is compiled or written, naming the field, its value and what it may be.
"""

import inspect
import operator
from pathlib import Path

from ml_collections import ConfigDict

from lottery_jax import config as configs
from lottery_jax.algorithms import ALGORITHMS, genetic_search, matched
from lottery_jax.algorithms.bounds import BOUNDS
from lottery_jax.algorithms.gradual import LANE
from lottery_jax.algorithms.methods import MASK_CHECKS, METHODS, lane_names
from lottery_jax.algorithms.nets import (
    DENSITIES,
    PAIRS,
    PENALTIES,
    TERMS,
    WEIGHTS,
)
from lottery_jax.algorithms.topologies import DENSE, DENSE_INIT
from lottery_jax.analysis import claims
from lottery_jax.data import DATASETS, STANDARDIZE
from lottery_jax.errors import ConfigError, nearest
from lottery_jax.models import ACTIVATIONS, BIASES, INITIALIZERS, MODELS
from lottery_jax.tickets import (
    ALLOCATIONS,
    CONTROLS,
    FREEZES,
    LADDERS,
    LAWS,
    REINITS,
    REWINDS,
    SCOPES,
    SCORES,
    TOPOLOGIES,
)
from lottery_jax.tickets.controls import OF_THE_MASK
from lottery_jax.tickets.genetics import SELECTIONS
from lottery_jax.tickets.planting import MODES
from lottery_jax.tickets.saliency import SALIENCIES
from lottery_jax.tickets.schedules import PATHS
from lottery_jax.tickets.scores import OF_TRAINING
from lottery_jax.tickets.targets import TARGETS
from lottery_jax.training.execution import EXECUTIONS
from lottery_jax.training.lanes import PLANS
from lottery_jax.training.losses import LOSSES
from lottery_jax.training.optimizers import OPTIMIZERS, SCHEDULES


def validate(config: ConfigDict) -> None:
    """Refuses values that cannot be right, whatever the data.

    Raises:
      ConfigError: the field, its value and what it may be.
    """
    _check_names(config, configs.default(), ("algorithm", "controls"))
    _choice(config, "algorithm.name", ALGORITHMS)
    fields = configs.FIELDS[config.algorithm.name]()
    _check_names(config.algorithm, fields, (), "algorithm.")
    _choice(config, "data.name", DATASETS)
    _choice(config, "data.standardize", STANDARDIZE)
    _choice(config, "model.name", MODELS)
    _choice(config, "model.initializer", INITIALIZERS)
    takes = inspect.signature(MODELS[config.model.name]).parameters
    if config.model.hidden is not None:
        if "hidden" not in takes:
            problem = (
                f"{config.model.name} has widths of its own; {config.model.hidden}"
            )
            raise ConfigError("model.hidden", f"{problem} is for mlp and cascade")
        for width in config.model.hidden:
            if not isinstance(width, int) or width < 1:
                problem = f"{config.model.hidden}: widths are positive integers"
                raise ConfigError("model.hidden", problem)
    for field in ("stages", "branches", "activation", "biases"):
        if config.model[field] is not None and field not in takes:
            fit = [name for name, make in MODELS.items()
                   if field in inspect.signature(make).parameters]  # fmt: skip
            problem = f"{config.model[field]}: is for {', '.join(fit)}"
            raise ConfigError(f"model.{field}", problem)
    for field in ("stages", "branches"):
        if config.model[field] is not None:
            _at_least(config, f"model.{field}", 1)
    for field, valid in {"activation": ACTIVATIONS, "biases": BIASES}.items():
        if config.model[field] is not None:
            _choice(config, f"model.{field}", valid)

    if config.train.loss is not None:
        _choice(config, "train.loss", LOSSES)
    _choice(config, "train.execution", EXECUTIONS)
    _at_least(config, "train.eval_every", 1)
    _check_optimization(config, "train")
    if config.train.eval_every > config.train.steps:
        problem = f"{config.train.eval_every}: beyond the last step, "
        raise ConfigError("train.eval_every", f"{problem}{config.train.steps}")

    CHECKS.get(config.algorithm.name, lambda config: None)(config)
    for name in config.controls:
        if name not in CONTROLS:
            problem = f"no such control; {nearest(name, CONTROLS)}"
            raise ConfigError(f"controls.{name}", problem)
        _at_least(config, f"controls.{name}", 0)
    lanes, later = _lanes(config)
    last = LAST_ROUND.get(config.algorithm.name, ROUNDS)(config.algorithm)
    claims.validate(config.claims, lanes, last, later=later)
    _check_planting(config)
    from_training = config.algorithm.get("pretrain", False)
    if config.level_barrier and not from_training:
        problem = "True: masks are not made from trained networks here"
        raise ConfigError("level_barrier", problem)
    _check_measured(config)
    _choice(config, "lanes.plan", PLANS)
    _at_least(config, "lanes.chunk", 1)
    if config.lanes.memory_gb is not None:
        _positive(config, "lanes.memory_gb")
    _at_least(config, "replicates", 1)
    for name in config.seed:
        if config.seed[name] is not None:
            _at_least(config, f"seed.{name}", 0)
            if config.seed[name] >= 2**32:
                problem = f"{config.seed[name]}: expected less than 2**32"
                raise ConfigError(f"seed.{name}", problem)


def _check_optimization(config: ConfigDict, group: str):
    """The fields that `train` and `algorithm.search` have alike."""
    _choice(config, f"{group}.optimizer", OPTIMIZERS)
    _choice(config, f"{group}.schedule", SCHEDULES)
    for field in ("batch_size", "steps"):
        _at_least(config, f"{group}.{field}", 1)
    for field in ("learning_rate", "gamma"):
        _positive(config, f"{group}.{field}")
    _at_least(config, f"{group}.weight_decay", 0)

    def refuse(field, problem):
        raise ConfigError(f"{group}.{field}", f"{fields[field]}: {problem}")

    fields = _get(config, group)
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


def _check_imp(config: ConfigDict):
    algorithm = config.algorithm
    _choice(config, "algorithm.scope", SCOPES)
    _choice(config, "algorithm.score", SCORES)
    _choice(config, "algorithm.rewind", REWINDS)
    _at_least(config, "algorithm.rounds", 1)
    _fraction(config, "algorithm.prune_fraction")
    for field in ("conv_prune_fraction", "output_prune_fraction"):
        if algorithm[field]:
            _fraction(config, f"algorithm.{field}")
    if not 0 <= algorithm.rewind_step < config.train.steps:
        problem = (
            f"{algorithm.rewind_step}: expected 0 to steps - 1 = "
            f"{config.train.steps - 1}"
        )
        raise ConfigError("algorithm.rewind_step", problem)
    _choice(config, "algorithm.pruned", FREEZES)
    _choice(config, "algorithm.ladder", LADDERS)
    if algorithm.allocation is not None:
        if not (Path(algorithm.allocation) / "config.json").is_file():
            _choice(config, "algorithm.allocation", ALLOCATIONS)
        if config.model.prune_biases:
            problem = "shapes of kernels say how they are divided, biases have none"
            raise ConfigError("model.prune_biases", f"True: {problem}")
        others = {
            "scope": "layerwise",
            "ladder": "geometric",
            "conv_prune_fraction": None,
            "output_prune_fraction": None,
        }
        for field, value in others.items():
            if algorithm[field] != value:
                problem = f"{algorithm[field]}: with an allocation it is {value}"
                raise ConfigError(f"algorithm.{field}", problem)
    _at_least(config, "algorithm.iterations", 1)
    _choice(config, "algorithm.path", PATHS)
    _at_least(config, "algorithm.score_examples", 1)
    if not algorithm.pretrain:
        _check_untrained(config)
    if algorithm.score in SALIENCIES and algorithm.pruned != "zero":
        problem = f"{algorithm.score}: sees pruned weights at zero, pruned is not zero"
        raise ConfigError("algorithm.score", problem)
    _positive(config, "algorithm.jitter")
    if not algorithm.retrain and not algorithm.one_shot:
        problem = "False: what is not trained can be pruned once; set one_shot"
        raise ConfigError("algorithm.retrain", problem)
    if not algorithm.retrain and config.controls.get("order"):
        raise ConfigError("controls.order", "what is not trained sees no data")
    if algorithm.pruned != "zero" and config.train.execution == "sparse":
        problem = f"sparse: pruned weights are not zero (pruned={algorithm.pruned})"
        raise ConfigError("train.execution", problem)
    if REWINDS[algorithm.rewind].restart and algorithm.rewind_step:
        problem = f"{algorithm.rewind_step}: rewind={algorithm.rewind} restarts at 0"
        raise ConfigError("algorithm.rewind_step", problem)
    if algorithm.rewind == "constant_signed" and config.controls.get("constant_signed"):
        problem = "the ticket is rewound to just that, so they would not differ"
        raise ConfigError("controls.constant_signed", problem)
    for name in OF_THE_MASK:
        if algorithm.pruned != "zero" and config.controls.get(name):
            problem = f"another mask has other frozen weights ({algorithm.pruned})"
            raise ConfigError(f"controls.{name}", f"is for pruned=zero: {problem}")


def _check_untrained(config: ConfigDict):
    """What pruning at initialisation has not: trained weights."""
    algorithm = config.algorithm
    if algorithm.score in OF_TRAINING:
        problem = f"{algorithm.score}: compares the ends of a training; set pretrain"
        raise ConfigError("algorithm.score", problem)
    if algorithm.rewind_step:
        problem = f"{algorithm.rewind_step}: without pretrain there is step 0 alone"
        raise ConfigError("algorithm.rewind_step", problem)
    for field, valid in {
        "rewind": ("weights", *REINITS),
        "pruned": ("zero", "init"),
    }.items():
        if algorithm[field] not in valid:
            problem = f"{algorithm[field]}: is about trained weights; set pretrain"
            raise ConfigError(f"algorithm.{field}", problem)


def _check_compare(config: ConfigDict):
    algorithm = config.algorithm
    for field, valid in {"methods": METHODS, "checks": MASK_CHECKS}.items():
        for name in algorithm[field]:
            if name not in valid:
                problem = f"no {name!r}; {nearest(name, valid)}"
                raise ConfigError(f"algorithm.{field}", problem)
        if len(set(algorithm[field])) < len(algorithm[field]):
            raise ConfigError(f"algorithm.{field}", "a name is there twice")
    if not algorithm.methods:
        raise ConfigError("algorithm.methods", "expected at least one")
    _check_densities(algorithm.densities)
    _at_least(config, "algorithm.iterations", 1)
    _choice(config, "algorithm.path", PATHS)
    _at_least(config, "algorithm.score_examples", 1)
    _positive(config, "algorithm.jitter")
    divided = [name for name in algorithm.methods if METHODS[name].allocation]
    if config.model.prune_biases and (divided or "hybrid" in algorithm.checks):
        problem = "shapes of kernels say how they are divided, biases have none"
        raise ConfigError("model.prune_biases", f"True: {problem}")
    if config.controls.get("dense"):
        raise ConfigError("controls.dense", "round 0 is the dense network here")
    _check_optimization(config, "algorithm.search")
    search = algorithm.search
    _at_least(config, "algorithm.search.update_every", 1)
    if search.gem_miner_learning_rate is not None:
        _positive(config, "algorithm.search.gem_miner_learning_rate")
    weights, rounds = search.regularization, len(algorithm.densities)
    numbers = all(isinstance(x, int | float) and 0 <= x < 1e30 for x in weights)
    if not numbers or len(weights) not in (1, rounds):
        problem = f"{weights}: expected one number from 0, or one for every density"
        raise ConfigError("algorithm.search.regularization", problem)
    learned = [name for name in algorithm.methods if METHODS[name].learns]
    if learned and search.update_every >= search.steps:
        problem = f"{search.update_every}: expected less than steps, {search.steps}"
        raise ConfigError("algorithm.search.update_every", problem)
    if learned and config.model.prune_biases:
        problem = f"True: {learned[0]} learns scores of kernels alone"
        raise ConfigError("model.prune_biases", problem)


def _check_densities(densities: tuple):
    if not densities:
        raise ConfigError("algorithm.densities", "expected one for every round")
    for density in densities:
        if not isinstance(density, int | float) or not 0 < density < 1:
            problem = f"{density}: expected a fraction between 0 and 1"
            raise ConfigError("algorithm.densities", problem)


def _check_planting(config: ConfigDict):
    planted = config.planting
    _choice(config, "planting.mode", MODES)
    _positive(config, "planting.loudness")
    _at_least(config, "planting.replicate", 0)
    if planted.target is None:
        return
    if config.model.name != "mlp" or config.model.hidden is None:
        problem = f"{config.model.name}: what is planted needs an mlp and its widths"
        raise ConfigError("model.name", problem)
    if config.algorithm.name not in ("compare", "imp"):
        problem = f"{config.algorithm.name}: what is planted is for compare and imp"
        raise ConfigError("algorithm.name", problem)
    if planted.mode == "faithful" and planted.loudness != 1:
        problem = f"{planted.loudness}: the mode faithful has sizes of its own"
        raise ConfigError("planting.loudness", problem)
    if not planted.target:
        problem = "name a run, --config.planting.target=RUN"
        raise ConfigError("planting.target", problem)
    if planted.target in TARGETS:
        if config.data.standardize != "none":
            problem = f"{config.data.standardize}: the hand-made network takes inputs "
            raise ConfigError("data.standardize", f"{problem}as they are, none")
        if config.data.name != planted.target:
            problem = f"{planted.target}: solves that task, not {config.data.name}"
            raise ConfigError("planting.target", problem)
    elif not (Path(planted.target) / "config.json").is_file():
        problem = f"no run directory {planted.target!r}"
        hint = nearest(planted.target, TARGETS)
        raise ConfigError("planting.target", f"{problem}; {hint}")


def _check_gradual(config: ConfigDict):
    algorithm = config.algorithm
    _check_densities(algorithm.densities)
    if not 0 <= algorithm.begin < algorithm.end <= 1:
        problem = f"{algorithm.begin}: expected at least 0, less than end"
        raise ConfigError("algorithm.begin", f"{problem}, which is at most 1")
    _at_least(config, "algorithm.updates", 1)
    _at_least(config, "algorithm.power", 1)
    _positive(config, "algorithm.jitter")
    if algorithm.patience is not None:
        _at_least(config, "algorithm.patience", 1)
        if not config.train.test_curve:
            problem = "False: what patience reports is the test accuracy where it stops"
            raise ConfigError("train.test_curve", problem)


def _check_nets(config: ConfigDict):
    algorithm = config.algorithm
    _at_least(config, "algorithm.elites", 0)
    _at_least(config, "algorithm.generations", 0)
    _at_least(config, "algorithm.imp_rounds", 1)
    if algorithm.population < algorithm.elites + 2:
        problem = f"{algorithm.population}: expected at least elites + 2, "
        problem = f"{problem}{algorithm.elites + 2}; a child has two parents"
        raise ConfigError("algorithm.population", problem)
    children = algorithm.population - algorithm.elites
    if not 0 <= algorithm.migrants < children:
        problem = f"{algorithm.migrants}: expected 0 to {children - 1}, some "
        problem = f"{problem}of the {children} that are no elite"
        raise ConfigError("algorithm.migrants", problem)
    for field in ("crossover", "noise", "resample", "disable", "enable", "flip"):
        _probability(config, f"algorithm.{field}")
    _fraction(config, "algorithm.target_density")
    if not 0 < algorithm.initial_density <= 1:
        problem = f"{algorithm.initial_density}: expected more than 0, at most 1"
        raise ConfigError("algorithm.initial_density", problem)
    prunes, grows = (
        algorithm.disable + algorithm.flip,
        algorithm.enable + algorithm.flip,
    )
    if algorithm.initial_density > algorithm.target_density and not prunes:
        problem = f"{algorithm.target_density}: nothing prunes the masks of generation "
        problem = f"{problem}0 ({algorithm.initial_density}); set disable"
        raise ConfigError("algorithm.target_density", problem)
    if algorithm.initial_density < algorithm.target_density and not grows:
        problem = f"{algorithm.target_density}: masks start at "
        problem = f"{problem}{algorithm.initial_density} and never grow; set enable"
        raise ConfigError("algorithm.target_density", problem)
    for field, valid in {
        "term": TERMS,
        "penalty": PENALTIES,
        "density": DENSITIES,
        "weights": WEIGHTS,
        "select": SELECTIONS,
        "pairs": PAIRS,
    }.items():
        _choice(config, f"algorithm.{field}", valid)
    if algorithm.term == "last_batch_loss" and not algorithm.trains:
        problem = "last_batch_loss: there is no batch without training, set trains"
        raise ConfigError("algorithm.term", problem)
    if not 1 <= algorithm.tournament <= algorithm.population:
        problem = f"{algorithm.tournament}: expected 1 to population = "
        raise ConfigError("algorithm.tournament", f"{problem}{algorithm.population}")
    _at_least(config, "algorithm.swap", 0)
    for field in ("penalty_weight", "noise_std", "target_fitness"):
        value = algorithm[field]
        if value is not None and not 0 <= value < float("inf"):
            problem = f"{value}: expected a number that is not negative"
            raise ConfigError(f"algorithm.{field}", problem)
    _positive(config, "algorithm.jitter")
    if algorithm.resample_std is not None:
        _positive(config, "algorithm.resample_std")
    if algorithm.patience is not None:
        _at_least(config, "algorithm.patience", 0)
    _check_optimization(config, "algorithm.search")
    if config.controls.get("dense"):
        raise ConfigError("controls.dense", "the dense network has a round of its own")


def _check_sample_complexity(config: ConfigDict):
    algorithm = config.algorithm
    if config.model.name != "committee":
        problem = f"{config.model.name}: teachers and students are a committee"
        raise ConfigError("model.name", problem)
    for field in ("kept_per_unit", "samples"):
        numbers = algorithm[field]
        rising = all(a < b for a, b in zip(numbers, numbers[1:], strict=False))
        whole = all(isinstance(number, int) and number > 0 for number in numbers)
        if not numbers or not whole or not rising:
            problem = f"{numbers}: expected positive integers that rise"
            raise ConfigError(f"algorithm.{field}", problem)
    if not 0 < algorithm.support < algorithm.kept_per_unit[0]:
        problem = f"{algorithm.support}: expected 1 to less than kept_per_unit"
        raise ConfigError("algorithm.support", problem)
    if algorithm.samples[-1] > config.train.batch_size:
        problem = f"{algorithm.samples[-1]}: a step takes all samples of a lane, and"
        problem = f"{problem} train.batch_size is {config.train.batch_size}"
        raise ConfigError("algorithm.samples", problem)
    _fraction(config, "algorithm.distance")
    if not 0 < algorithm.tolerance < algorithm.distance:
        problem = f"{algorithm.tolerance}: expected a number between 0 and distance"
        raise ConfigError("algorithm.tolerance", problem)
    if config.train.execution == "sparse":
        raise ConfigError("train.execution", "sparse: is for the loop of batches")


def _check_strong_tickets(config: ConfigDict):
    algorithm = config.algorithm
    _choice(config, "algorithm.objective", ("accuracy", "cross_entropy"))
    _choice(config, "algorithm.prune_on", ("validation", "both"))
    _choice(config, "algorithm.bound", BOUNDS)
    for field in ("max_generations", "generations_per_round", "patience", "tries",
                  "bound_patience", "chunk", "mutation_bits"):  # fmt: skip
        _at_least(config, f"algorithm.{field}", 1)
    _at_least(config, "algorithm.population", 2)
    _at_least(config, "algorithm.sizes", 2)
    _at_least(config, "algorithm.min_generations", 0)
    _at_least(config, "algorithm.path_tries", 0)
    for field in ("recombination_rate", "mutation_rate", "migration_rate"):
        if not 0 <= algorithm[field] <= 1:
            problem = f"{algorithm[field]}: expected a rate from 0 to 1"
            raise ConfigError(f"algorithm.{field}", problem)
    for field in ("parent_rate", "target_accuracy", "max_density"):
        if algorithm[field] is not None and not 0 < algorithm[field] <= 1:
            problem = f"{algorithm[field]}: expected more than 0, at most 1"
            raise ConfigError(f"algorithm.{field}", problem)
    for field in ("bound_start", "bound_floor", "prune_tolerance"):
        if not 0 <= algorithm[field] < 1:
            problem = f"{algorithm[field]}: expected an accuracy from 0 to below 1"
            raise ConfigError(f"algorithm.{field}", problem)
    _fraction(config, "algorithm.initial_density")
    _positive(config, "algorithm.jitter")
    names = genetic_search.Settings._fields
    settings = {k: v for k, v in algorithm.items() if k in names}
    num = genetic_search.counts(genetic_search.Settings(**settings))
    if not num.parents:
        problem = f"{algorithm.population}: too few for parent_rate, no one is a parent"
        raise ConfigError("algorithm.population", problem)
    if not num.children + num.mutants + num.migrants:
        problem = f"{algorithm.population}: too few for these rates, no one is ever new"
        raise ConfigError("algorithm.population", problem)
    if algorithm.bound == "adaptive":
        if algorithm.bound_floor > algorithm.bound_start:
            problem = f"{algorithm.bound_floor}: above bound_start"
            raise ConfigError("algorithm.bound_floor", problem)
        if not algorithm.bound_patience < algorithm.tries:
            problem = f"{algorithm.bound_patience}: expected less than tries"
            raise ConfigError("algorithm.bound_patience", problem)
    if config.controls.get("order"):
        raise ConfigError("controls.order", "nothing is trained, batches have no order")
    if config.train.execution == "sparse":
        raise ConfigError("train.execution", "sparse: nothing is trained here")


def _check_supermask(config: ConfigDict):
    _at_least(config, "algorithm.samples", 1)
    logits = config.algorithm.initial_logits
    numbers = all(isinstance(logit, int | float) for logit in logits)
    if not logits or not numbers or not all(abs(x) < float("inf") for x in logits):
        problem = f"{logits}: expected a number for every round"
        raise ConfigError("algorithm.initial_logits", problem)
    if config.train.execution == "sparse":
        raise ConfigError("train.execution", "sparse: every weight takes part here")


def _check_topologies(config: ConfigDict):
    algorithm = config.algorithm
    if not algorithm.topologies:
        raise ConfigError("algorithm.topologies", "expected at least one")
    for name in algorithm.topologies:
        if name not in TOPOLOGIES:
            problem = f"no {name!r}; {nearest(name, TOPOLOGIES)}"
            raise ConfigError("algorithm.topologies", problem)
    if not algorithm.degrees:
        raise ConfigError("algorithm.degrees", "expected one for every round")
    for degree in algorithm.degrees:
        if not isinstance(degree, int) or degree < 1:
            problem = f"{degree!r}: weights of a node in a stage are a positive integer"
            raise ConfigError("algorithm.degrees", problem)
    for field in ("topologies", "degrees"):
        if len(set(algorithm[field])) < len(algorithm[field]):
            problem = f"{algorithm[field]}: one of them is there twice"
            raise ConfigError(f"algorithm.{field}", problem)
    _choice(config, "algorithm.law", LAWS)


def _lanes(config: ConfigDict) -> tuple[list[str], list[str]]:
    """Lanes that a claim may be about: from round 0 on, and from round 1 on."""
    algorithm = config.algorithm
    if algorithm.name == "topologies":
        controls = [f"{name}/{DENSE_INIT}" for name in algorithm.topologies]
        controls = controls if algorithm.dense_init else []
        return [DENSE], [*algorithm.topologies, *controls]
    if algorithm.name == "compare":
        names = lane_names(algorithm.methods, algorithm.checks, config.controls)
        return [DENSE], names
    controls = [name for name, number in config.controls.items() if number]
    if algorithm.name == "nets":
        return ["ticket"], ["dense", *matched.LANES[1:], *controls]
    return ["ticket", *controls], [LANE] if algorithm.name == "gradual" else []


def _check_measured(config: ConfigDict):
    """Claims about columns that the run will have, of lanes that have them."""
    controls = {name for name, number in config.controls.items() if number}
    some = {
        "instability": controls & {"order"},
        "distance": controls & {"dense", "order"},
        "level_barrier": {"ticket"} if config.level_barrier else set(),
        "reported": None if config.algorithm.get("patience") else set(),
        "most_likely": None if config.algorithm.name == "supermask" else set(),
        "kept": {"ticket"} if config.algorithm.get("pretrain") else set(),
    }
    some |= {"angle": some["distance"], "dropped": some["kept"]}
    for claim in map(claims.complete, config.claims):
        for side, quantity in (
            ("", claim["quantity"]),
            ("versus_", claim["versus_quantity"] or claim["quantity"]),
        ):
            lane = claim[f"{side}lane"]
            for beginning, lanes in some.items():
                if not quantity.startswith(beginning) or lanes is None:
                    continue
                if lane not in lanes:
                    problem = f"{quantity}: not measured of {lane} in this run"
                    raise ConfigError(f"claims.{claim['id']}.quantity", problem)


CHECKS = {
    "compare": _check_compare,
    "gradual": _check_gradual,
    "imp": _check_imp,
    "nets": _check_nets,
    "sample_complexity": _check_sample_complexity,
    "strong_tickets": _check_strong_tickets,
    "supermask": _check_supermask,
    "topologies": _check_topologies,
}
"""Name of an algorithm -> what its fields may be."""

ROUNDS = operator.attrgetter("rounds")
"""The number of the last round of an algorithm that is not named below."""

LAST_ROUND = {
    "compare": lambda fields: len(fields.densities),
    "gradual": lambda fields: len(fields.densities),
    "nets": lambda fields: fields.generations + fields.imp_rounds + 1,
    "sample_complexity": lambda fields: len(fields.kept_per_unit) - 1,
    "strong_tickets": lambda fields: (
        -(-fields.max_generations // fields.generations_per_round)
    ),
    "supermask": lambda fields: len(fields.initial_logits) - 1,
    "topologies": lambda fields: len(fields.degrees),
}
"""Name of an algorithm -> number of the last round."""


def _check_names(config, reference: ConfigDict, apart: tuple = (), prefix: str = ""):
    """Every group and field of `reference` and no other; groups `apart` are free."""
    if not isinstance(config, ConfigDict):
        problem = f"expected a group of fields, got {config!r}"
        raise ConfigError(prefix.rstrip(".") or "(all)", problem)
    for name in config:
        if name not in reference:
            problem = f"no such field; {nearest(name, reference)}"
            raise ConfigError(f"{prefix}{name}", problem)
    for name in reference:
        if name not in config:
            raise ConfigError(f"{prefix}{name}", "is missing")
        if name not in apart and isinstance(reference[name], ConfigDict):
            _check_names(config[name], reference[name], (), f"{prefix}{name}.")


def _get(config, field):
    for name in field.split("."):
        config = config[name]
    return config


def _choice(config, field, valid):
    value = _get(config, field)
    if value not in valid:
        raise ConfigError(field, f"no {value!r}; {nearest(value, valid)}")


def _at_least(config, field, low):
    value = _get(config, field)
    if not value >= low:
        raise ConfigError(field, f"{value}: expected at least {low}")


def _positive(config, field):
    value = _get(config, field)
    if not 0 < value < float("inf"):
        raise ConfigError(field, f"{value}: expected a positive number")


def _probability(config, field):
    value = _get(config, field)
    if not 0 <= value <= 1:
        raise ConfigError(field, f"{value}: expected a probability, 0 to 1")


def _fraction(config, field):
    value = _get(config, field)
    if not 0 < value < 1:
        raise ConfigError(field, f"{value}: expected a fraction between 0 and 1")
