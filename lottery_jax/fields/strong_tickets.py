"""Fields of `strong_tickets`: masks that evolve, weights that are never trained."""

from ml_collections import ConfigDict, config_dict

from lottery_jax.algorithms import genetic_search
from lottery_jax.algorithms.bounds import BOUNDS
from lottery_jax.errors import ConfigError
from lottery_jax.fields import checks
from lottery_jax.fields.base import Fields


def make() -> ConfigDict:
    """The fields with their defaults."""
    fields = ConfigDict()
    fields.name = "strong_tickets"
    fields.population = 100  # candidates
    fields.objective = "accuracy"  # or cross_entropy, of the training split
    fields.max_generations = 300  # after which a search stops
    fields.min_generations = 100  # before which it does not stop for stagnation
    fields.patience = 50  # generations with the same best fitness until it stops
    fields.target_accuracy = 1.0  # of the training split, at which it stops
    fields.generations_per_round = 50
    fields.recombination_rate = 0.3  # of the population mate
    fields.mutation_rate = 0.1  # of population and children have a mutant
    fields.mutation_bits = 1  # most that are flipped in a mutant
    fields.migration_rate = 0.1  # new random candidates, in populations
    fields.parent_rate = 0.3  # of the population, the best, are mated with
    fields.gated = False  # rates are probabilities, as published; slower
    fields.distinct = False  # no two candidates are as fit and as small
    fields.initial_density = 0.5  # of random candidates
    # Accuracy on the training split that every new candidate must have: none, static,
    # adaptive (algorithms/bounds.py).
    fields.bound = "none"
    fields.bound_start = 0.7  # that accuracy at first
    fields.bound_floor = 0.51  # adaptive: below which it is not softened
    fields.bound_patience = 16  # adaptive: tries, more than which soften it
    fields.tries = 20  # at most, for a candidate that reaches the bound
    # At most, for one with a path from an input to an output; 0: it needs none.
    fields.path_tries = 0
    fields.sizes = 128  # of which the most accurate candidate is remembered
    fields.max_density = config_dict.placeholder(float)  # of the ticket; None: any
    fields.prune = True  # bits of the ticket one by one, at the end
    fields.prune_on = "validation"  # whose accuracy decides; both: training's too
    fields.prune_tolerance = 0.0  # accuracy that may be lost by that
    # Report beside it what choosing and pruning on the test split would: columns
    # test_selected_*.
    fields.test_selected = False
    fields.chunk = 1  # candidates evaluated at once; accelerators want 64 or more
    fields.jitter = 0.1  # of the control `jitter`, in standard deviations
    return fields


def check(config: ConfigDict):
    """Refuses what cannot be right."""
    algorithm = config.algorithm

    def refuse(field, problem):
        checks.refuse(config, f"algorithm.{field}", problem)

    checks.choice(config, "algorithm.objective", ("accuracy", "cross_entropy"))
    checks.choice(config, "algorithm.prune_on", ("validation", "both"))
    checks.choice(config, "algorithm.bound", BOUNDS)
    for field, least in {
        "max_generations": 1,
        "generations_per_round": 1,
        "patience": 1,
        "tries": 1,
        "bound_patience": 1,
        "chunk": 1,
        "mutation_bits": 1,
        "population": 2,
        "sizes": 2,
        "min_generations": 0,
        "path_tries": 0,
    }.items():
        checks.at_least(config, f"algorithm.{field}", least)
    for field in ("recombination_rate", "mutation_rate", "migration_rate"):
        if not 0 <= algorithm[field] <= 1:
            refuse(field, "expected a rate from 0 to 1")
    for field in ("parent_rate", "target_accuracy", "max_density"):
        if algorithm[field] is not None and not 0 < algorithm[field] <= 1:
            refuse(field, "expected more than 0, at most 1")
    for field in ("bound_start", "bound_floor", "prune_tolerance"):
        if not 0 <= algorithm[field] < 1:
            refuse(field, "expected an accuracy from 0 to below 1")
    checks.fraction(config, "algorithm.initial_density")
    names = genetic_search.Settings._fields
    settings = {k: v for k, v in algorithm.items() if k in names}
    num = genetic_search.counts(genetic_search.Settings(**settings))
    if not num.parents:
        refuse("population", "too few for parent_rate, no one is a parent")
    if not num.children + num.mutants + num.migrants:
        refuse("population", "too few for these rates, no one is ever new")
    if algorithm.bound == "adaptive":
        if algorithm.bound_floor > algorithm.bound_start:
            refuse("bound_floor", "above bound_start")
        if not algorithm.bound_patience < algorithm.tries:
            refuse("bound_patience", "expected less than tries")
    if config.controls.get("order"):
        raise ConfigError("controls.order", "nothing is trained, batches have no order")
    if config.train.execution == "sparse":
        checks.refuse(config, "train.execution", "nothing is trained here")


FIELDS = Fields(
    make,
    check,
    lambda fields: -(-fields.max_generations // fields.generations_per_round),
    stateless=lambda config: ("model.name", "masks evolve for networks"),
)
