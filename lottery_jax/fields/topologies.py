"""Fields of `topologies`: sparse topologies at equal parameters."""

from ml_collections import ConfigDict

from lottery_jax.algorithms.topologies import DENSE, DENSE_INIT
from lottery_jax.errors import ConfigError
from lottery_jax.fields import checks
from lottery_jax.fields.base import Fields, no_controls
from lottery_jax.tickets import LAWS, TOPOLOGIES


def make() -> ConfigDict:
    """The fields with their defaults."""
    fields = ConfigDict()
    fields.name = "topologies"
    fields.topologies = ("butterfly", "random_regular", "random")  # side by side
    fields.degrees = (2, 4, 8)  # weights of a node in every stage, one per round
    fields.law = "sparse_xavier"  # of initial weights: sparse_xavier, sparse_he
    # Beside every topology a lane that starts from model.initializer's dense stages.
    fields.dense_init = True
    return fields


def check(config: ConfigDict):
    """Refuses what cannot be right."""
    algorithm = config.algorithm
    problem = "nothing is pruned here; the control is algorithm.dense_init"
    no_controls(config, problem)
    if not algorithm.topologies:
        raise ConfigError("algorithm.topologies", "expected at least one")
    checks.choices(config, "algorithm.topologies", TOPOLOGIES)
    if not algorithm.degrees:
        raise ConfigError("algorithm.degrees", "expected one for every round")
    for degree in algorithm.degrees:
        if not isinstance(degree, int) or degree < 1:
            problem = f"{degree!r}: weights of a node in a stage are a positive integer"
            raise ConfigError("algorithm.degrees", problem)
    checks.once(config, "algorithm.degrees")
    checks.choice(config, "algorithm.law", LAWS)


def lanes(config: ConfigDict, number: int) -> list[str]:
    """Of a round; some topologies have not the degrees of all rounds."""
    if number == 0:
        return [DENSE]
    names = config.algorithm.topologies
    controls = [f"{name}/{DENSE_INIT}" for name in names]
    return [*names, *(controls if config.algorithm.dense_init else ())]


FIELDS = Fields(make, check, lambda fields: len(fields.degrees), lanes)
