"""Fields of `nets`: weights and masks that evolve together."""

from ml_collections import ConfigDict, config_dict

from lottery_jax.algorithms import matched
from lottery_jax.algorithms.breeding import PAIRS, WEIGHTS
from lottery_jax.errors import ConfigError
from lottery_jax.fields import checks, optimization
from lottery_jax.fields.base import Fields, drawn, shrink_search
from lottery_jax.tickets.genetics import SELECTIONS
from lottery_jax.training.fitness import DENSITIES, PENALTIES, TERMS


def make() -> ConfigDict:
    """The fields with their defaults."""
    fields = ConfigDict()
    fields.name = "nets"
    # The search.
    fields.population = 5  # candidates of a generation
    fields.elites = 2  # of the best, that go on as they are
    fields.generations = 25  # number of the last generation, the first being 0
    fields.patience = config_dict.placeholder(int)  # generations without a better one
    fields.target_fitness = config_dict.placeholder(float)  # at which it ends
    fields.forget_last = False  # the best of the last generation does not count
    # Fitness: a term of loss, plus a penalty on the density.
    fields.term = "validation_loss"  # of a candidate after its training
    fields.trains = True  # False: candidates are measured as they are
    fields.search = optimization.make()  # how a candidate is trained
    fields.search.steps = 200  # optimizer steps of a candidate
    fields.density = "global"  # of all weights, or layer_mean: mean over layers
    fields.penalty = "quadratic"  # quadratic, one_sided (not below the target), none
    fields.penalty_weight = 1.0  # factor on the penalty, in nats at density 1
    fields.target_density = 0.2  # kept fraction at which the penalty is 0
    # Generation 0.
    fields.weights = "model"  # as model.initializer, or flat_kaiming: one small bound
    fields.initial_density = 1.0  # probability that a weight is kept
    fields.shared_mask = False  # one mask for all candidates
    # Parents and children.
    fields.select = "roulette"  # how parents are chosen: tickets/genetics.py
    fields.tournament = 2  # candidates of a tournament, or that a truncation leaves
    fields.pairs = "random"  # second parents: random, or ring: the next first one
    fields.crossover = 0.5  # probability of an entry of the first parent
    fields.coupled = True  # weight and mask bit of a place come from one parent
    # Probability that an entry of a child changes, in this order.
    fields.noise = 0.1  # a weight gets noise ...
    fields.noise_std = 0.1  # ... of this standard deviation
    fields.resample = 0.1  # a weight is drawn anew ...
    # ... from N(0, this ** 2); None: as in generation 0
    fields.resample_std = config_dict.placeholder(float)
    fields.disable = 0.2  # a weight is pruned
    fields.enable = 0.0  # a pruned weight comes back
    fields.flip = 0.0  # a kept weight is pruned, or a pruned one comes back
    fields.swap = 0  # kept weights of a child that change places with pruned ones
    fields.migrants = 0  # new candidates in place of children, per generation
    # What the ticket is compared with.
    fields.imp_rounds = 7  # levels of iterative pruning, down to the ticket's density
    fields.jitter = 0.1  # of the control `jitter`, in standard deviations
    return fields


def check(config: ConfigDict):
    """Refuses what cannot be right."""
    algorithm = config.algorithm

    def refuse(field, problem):
        checks.refuse(config, f"algorithm.{field}", problem)

    checks.at_least(config, "algorithm.elites", 0)
    checks.at_least(config, "algorithm.generations", 0)
    checks.at_least(config, "algorithm.imp_rounds", 1)
    if algorithm.population < algorithm.elites + 2:
        least = f"elites + 2, {algorithm.elites + 2}"
        refuse("population", f"expected at least {least}; a child has two parents")
    children = algorithm.population - algorithm.elites
    if not 0 <= algorithm.migrants < children:
        some = f"some of the {children} that are no elite"
        refuse("migrants", f"expected 0 to {children - 1}, {some}")
    for field in ("crossover", "noise", "resample", "disable", "enable", "flip"):
        checks.probability(config, f"algorithm.{field}")
    checks.fraction(config, "algorithm.target_density")
    if not 0 < algorithm.initial_density <= 1:
        refuse("initial_density", "expected more than 0, at most 1")
    first, target = algorithm.initial_density, algorithm.target_density
    if first > target and not algorithm.disable + algorithm.flip:
        problem = f"nothing prunes the masks of generation 0 ({first}); set disable"
        refuse("target_density", problem)
    if first < target and not algorithm.enable + algorithm.flip:
        problem = f"masks start at {first} and never grow; set enable"
        refuse("target_density", problem)
    for field, valid in {
        "term": TERMS,
        "penalty": PENALTIES,
        "density": DENSITIES,
        "weights": WEIGHTS,
        "select": SELECTIONS,
        "pairs": PAIRS,
    }.items():
        checks.choice(config, f"algorithm.{field}", valid)
    if algorithm.term == "last_batch_loss" and not algorithm.trains:
        refuse("term", "there is no batch without training, set trains")
    if not 1 <= algorithm.tournament <= algorithm.population:
        refuse("tournament", f"expected 1 to population = {algorithm.population}")
    checks.at_least(config, "algorithm.swap", 0)
    for field in ("penalty_weight", "noise_std", "target_fitness"):
        value = algorithm[field]
        if value is not None and not 0 <= value < float("inf"):
            refuse(field, "expected a number that is not negative")
    if algorithm.resample_std is not None:
        checks.positive(config, "algorithm.resample_std")
    if algorithm.patience is not None:
        checks.at_least(config, "algorithm.patience", 0)
    optimization.check(config, "algorithm.search")
    if config.controls.get("dense"):
        raise ConfigError("controls.dense", "the dense network has a round of its own")


def last_round(fields: ConfigDict) -> int:
    """The generations, the dense network, and the levels of iterative pruning."""
    return fields.generations + 1 + fields.imp_rounds


def lanes(config: ConfigDict, number: int) -> list[str]:
    """Of a round."""
    algorithm = config.algorithm
    if number <= algorithm.generations:
        return ["ticket"]
    if number == algorithm.generations + 1:
        return ["dense"]
    if number < last_round(algorithm):
        return ["imp"]
    return ["ticket", *matched.BESIDE, *drawn(config.controls)]


FIELDS = Fields(
    make,
    check,
    last_round,
    lanes,
    shrink_search,
    controls={"random": 1, "reinit": 1, "shuffle": 1},
    stateless=lambda config: ("model.name", "candidates are networks"),
)
