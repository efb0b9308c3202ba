"""Fields of `compare`: methods side by side."""

from ml_collections import ConfigDict, config_dict

from lottery_jax.algorithms.methods import MASK_CHECKS, METHODS, lane_names
from lottery_jax.errors import ConfigError
from lottery_jax.fields import checks, optimization
from lottery_jax.fields.base import Fields, shrink_search
from lottery_jax.tickets.schedules import PATHS


def make() -> ConfigDict:
    """The fields with their defaults."""
    fields = ConfigDict()
    fields.name = "compare"
    fields.methods = ("random", "magnitude", "snip", "synflow", "imp")
    fields.checks = ()  # what changes in how masks are found: algorithms/methods.py
    fields.densities = (0.5, 0.2, 0.1)  # kept of all prunable weights, one per round
    fields.iterations = 100  # prunings of a round, of methods that iterate
    fields.path = "exponential"  # how many each keeps: exponential, linear
    fields.score_examples = 100  # that snip, grasp and grad look at
    fields.jitter = 0.1  # of the control `jitter`, in standard deviations
    # How methods learn scores, those of `RULES` in algorithms/methods.py; weight decay
    # is of scores, in every one of them.
    fields.search = optimization.make()
    fields.search.optimizer = "momentum"
    fields.search.learning_rate = 0.1
    fields.search.schedule = "cosine"
    # Of gem_miner, whose scores are 1 where those of edge_popup are 1 / sqrt(fan_in);
    # None: the same.
    fields.search.gem_miner_learning_rate = config_dict.placeholder(float)
    fields.search.steps = 3000  # optimizer steps of a search
    # Steps of an interval: after each gem_miner freezes, but for the last,
    # edge_popup_annealed changes its density, and all evaluate.
    fields.search.update_every = 100
    # lambda of gem_miner's penalty, the sum of p^2: one per density, or one for all
    fields.search.regularization = (0.0,)
    return fields


def check(config: ConfigDict):
    """Refuses what cannot be right."""
    algorithm, search = config.algorithm, config.algorithm.search
    checks.choices(config, "algorithm.methods", METHODS)
    checks.choices(config, "algorithm.checks", MASK_CHECKS)
    if not algorithm.methods:
        raise ConfigError("algorithm.methods", "expected at least one")
    checks.densities(config)
    checks.at_least(config, "algorithm.iterations", 1)
    checks.choice(config, "algorithm.path", PATHS)
    checks.at_least(config, "algorithm.score_examples", 1)
    divided = [name for name in algorithm.methods if METHODS[name].allocation]
    if config.model.prune_biases and (divided or "hybrid" in algorithm.checks):
        problem = "shapes of kernels say how they are divided, biases have none"
        checks.refuse(config, "model.prune_biases", problem)
    if config.controls.get("dense"):
        raise ConfigError("controls.dense", "round 0 is the dense network here")
    optimization.check(config, "algorithm.search")
    checks.at_least(config, "algorithm.search.update_every", 1)
    if search.gem_miner_learning_rate is not None:
        checks.positive(config, "algorithm.search.gem_miner_learning_rate")
    weights, rounds = search.regularization, len(algorithm.densities)
    numbers = all(isinstance(x, int | float) and 0 <= x < 1e30 for x in weights)
    if not numbers or len(weights) not in (1, rounds):
        problem = "expected one number from 0, or one for every density"
        checks.refuse(config, "algorithm.search.regularization", problem)
    learned = [name for name in algorithm.methods if METHODS[name].learns]
    if learned and search.update_every >= search.steps:
        problem = f"expected less than steps, {search.steps}"
        checks.refuse(config, "algorithm.search.update_every", problem)
    if learned and config.model.prune_biases:
        problem = f"{learned[0]} learns scores of kernels alone"
        checks.refuse(config, "model.prune_biases", problem)


def lanes(config: ConfigDict, number: int) -> list[str]:
    """Of a round."""
    if number == 0:
        return ["dense", *([] if config.planting.target is None else ["planted"])]
    algorithm = config.algorithm
    return lane_names(algorithm.methods, algorithm.checks, config.controls)


def shrink(fields: ConfigDict):
    """For smoke forms."""
    shrink_search(fields)
    fields.search.update_every = 5


def measures(config: ConfigDict) -> dict[str, None]:
    """What masks are worth untrained, where the scores of some are learned."""
    learned = any(METHODS[name].learns for name in config.algorithm.methods)
    return {"untrained_test": None} if learned else {}


def stateless(config: ConfigDict) -> tuple[str, str] | None:
    """Methods that learn scores do it of networks without state."""
    for name in config.algorithm.methods:
        if METHODS[name].learns:
            return "algorithm.methods", f"scores ({name}) are learned of networks"
    return None


FIELDS = Fields(
    make, check, lambda fields: len(fields.densities), lanes, shrink,
    measures=measures, plants=True, stateless=stateless,
)  # fmt: skip
