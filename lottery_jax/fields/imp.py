"""Fields of `imp`: iterative pruning, at initialisation or of trained networks."""

from pathlib import Path

from ml_collections import ConfigDict, config_dict

from lottery_jax.errors import ConfigError
from lottery_jax.fields import checks
from lottery_jax.fields.base import Fields
from lottery_jax.tickets import (
    ALLOCATIONS,
    FREEZES,
    LADDERS,
    REINITS,
    REWINDS,
    SCOPES,
    SCORES,
)
from lottery_jax.tickets.controls import OF_THE_MASK
from lottery_jax.tickets.saliency import SALIENCIES
from lottery_jax.tickets.schedules import PATHS
from lottery_jax.tickets.scores import OF_TRAINING


def make() -> ConfigDict:
    """The fields with their defaults."""
    fields = ConfigDict()
    fields.name = "imp"
    fields.rounds = 10  # rounds of pruning after the dense round 0
    # Per round: of the weights left (ladder geometric), of all there were (linear).
    fields.prune_fraction = 0.2
    fields.conv_prune_fraction = config_dict.placeholder(float)  # None: same
    # None: half of prune_fraction layerwise, the same globally; 0: never pruned.
    fields.output_prune_fraction = config_dict.placeholder(float)
    fields.scope = "layerwise"  # who competes: layerwise, global
    # How a geometric ladder of all weights is divided among the layers: by their shapes
    # alone, or as the last tickets of a run (its directory) have it; None: every layer
    # by its own fraction.
    fields.allocation = config_dict.placeholder(str)
    fields.score = "magnitude"  # what to keep
    fields.rewind = "weights"  # what survivors are reset to
    fields.rewind_step = 0  # optimizer step k of the rewind point; 0: init
    fields.pruned = "zero"  # what pruned weights are frozen at
    fields.ladder = "geometric"  # how many weights to keep
    fields.one_shot = False  # every round prunes the network of round 0
    fields.pretrain = True  # False: prune at initialisation, score theta_0
    fields.iterations = 1  # prunings of a round, with new scores after each
    fields.path = "exponential"  # how many each keeps: exponential, linear
    fields.score_examples = 100  # that snip, grasp and grad look at
    fields.retrain = True  # False (one_shot only): evaluate, do not train
    fields.jitter = 0.1  # of `jitter`, in standard deviations of the init
    return fields


def check(config: ConfigDict):
    """Refuses what cannot be right."""
    algorithm = config.algorithm
    for field, valid in {
        "scope": SCOPES,
        "score": SCORES,
        "rewind": REWINDS,
        "pruned": FREEZES,
        "ladder": LADDERS,
        "path": PATHS,
    }.items():
        checks.choice(config, f"algorithm.{field}", valid)
    for field in ("rounds", "iterations", "score_examples"):
        checks.at_least(config, f"algorithm.{field}", 1)
    checks.fraction(config, "algorithm.prune_fraction")
    for field in ("conv_prune_fraction", "output_prune_fraction"):
        if algorithm[field]:
            checks.fraction(config, f"algorithm.{field}")
    if not 0 <= algorithm.rewind_step < config.train.steps:
        problem = f"expected 0 to steps - 1 = {config.train.steps - 1}"
        checks.refuse(config, "algorithm.rewind_step", problem)
    if algorithm.allocation is not None:
        check_allocation(config)
    if not algorithm.pretrain:
        check_untrained(config)
    if algorithm.score in SALIENCIES and algorithm.pruned != "zero":
        problem = "sees pruned weights at zero, pruned is not zero"
        checks.refuse(config, "algorithm.score", problem)
    if not algorithm.retrain and not algorithm.one_shot:
        problem = "what is not trained can be pruned once; set one_shot"
        checks.refuse(config, "algorithm.retrain", problem)
    if not algorithm.retrain and config.controls.get("order"):
        raise ConfigError("controls.order", "what is not trained sees no data")
    if algorithm.pruned != "zero" and config.train.execution == "sparse":
        problem = f"pruned weights are not zero (pruned={algorithm.pruned})"
        checks.refuse(config, "train.execution", problem)
    if REWINDS[algorithm.rewind].restart and algorithm.rewind_step:
        problem = f"rewind={algorithm.rewind} restarts at 0"
        checks.refuse(config, "algorithm.rewind_step", problem)
    if algorithm.rewind == "constant_signed" and config.controls.get("constant_signed"):
        problem = "the ticket is rewound to just that, so they would not differ"
        raise ConfigError("controls.constant_signed", problem)
    for name in OF_THE_MASK:
        if algorithm.pruned != "zero" and config.controls.get(name):
            problem = f"another mask has other frozen weights ({algorithm.pruned})"
            raise ConfigError(f"controls.{name}", f"is for pruned=zero: {problem}")


def check_allocation(config: ConfigDict):
    """A ladder of all weights, which shapes or a run divide among the layers."""
    if not (Path(config.algorithm.allocation) / "config.json").is_file():
        checks.choice(config, "algorithm.allocation", ALLOCATIONS)
    if config.model.prune_biases:
        problem = "shapes of kernels say how they are divided, biases have none"
        checks.refuse(config, "model.prune_biases", problem)
    others = {
        "scope": "layerwise",
        "ladder": "geometric",
        "conv_prune_fraction": None,
        "output_prune_fraction": None,
    }
    for field, value in others.items():
        if config.algorithm[field] != value:
            problem = f"with an allocation it is {value}"
            checks.refuse(config, f"algorithm.{field}", problem)


def check_untrained(config: ConfigDict):
    """What pruning at initialisation has not: trained weights."""
    algorithm = config.algorithm
    if algorithm.score in OF_TRAINING:
        problem = "compares the ends of a training; set pretrain"
        checks.refuse(config, "algorithm.score", problem)
    if algorithm.rewind_step:
        problem = "without pretrain there is step 0 alone"
        checks.refuse(config, "algorithm.rewind_step", problem)
    for field, valid in {
        "rewind": ("weights", *REINITS),
        "pruned": ("zero", "init"),
    }.items():
        if algorithm[field] not in valid:
            problem = "is about trained weights; set pretrain"
            checks.refuse(config, f"algorithm.{field}", problem)


def shrink(fields: ConfigDict):
    """For smoke forms."""
    fields.rounds = 2


def measures(config: ConfigDict) -> dict[str, tuple[str, ...]]:
    """How weights had moved in the training that a mask was made from."""
    if not config.algorithm.pretrain:
        return {}
    return {"kept": ("ticket",), "dropped": ("ticket",)}


FIELDS = Fields(
    make,
    check,
    shrink=shrink,
    controls={"random": 1, "reinit": 1},
    measures=measures,
    swept=(
        *("prune_fraction", "conv_prune_fraction", "output_prune_fraction", "scope"),
        *("score", "score_examples", "allocation", "ladder", "iterations", "path"),
        *("one_shot", "pretrain"),
    ),
    plants=True,
)
