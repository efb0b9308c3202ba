"""Fields of `gradual`: pruning while training, against tickets."""

from ml_collections import ConfigDict, config_dict

from lottery_jax.algorithms.gradual import LANE
from lottery_jax.fields import checks
from lottery_jax.fields.base import Fields, ticket_and_controls


def make() -> ConfigDict:
    """The fields with their defaults."""
    fields = ConfigDict()
    fields.name = "gradual"
    fields.densities = (0.5, 0.2, 0.1)  # kept of every pruned layer, one per round
    fields.whole = ()  # kinds of layers that are not pruned: "conv", "output"
    fields.begin = 0.2  # part of the training at which pruning begins ...
    fields.end = 0.6  # ... and ends
    fields.updates = 20  # of the mask in between
    fields.power = 3  # of the polynomial schedule
    # Evaluations without improvement after which the published comparison stops, for
    # the columns `reported_*`; None: no such columns.
    fields.patience = config_dict.placeholder(int)
    fields.jitter = 0.1  # of the control `jitter`, in standard deviations
    return fields


def check(config: ConfigDict):
    """Refuses what cannot be right."""
    algorithm = config.algorithm
    checks.densities(config)
    if not 0 <= algorithm.begin < algorithm.end <= 1:
        problem = "expected at least 0, less than end, which is at most 1"
        checks.refuse(config, "algorithm.begin", problem)
    checks.at_least(config, "algorithm.updates", 1)
    checks.at_least(config, "algorithm.power", 1)
    if algorithm.patience is not None:
        checks.at_least(config, "algorithm.patience", 1)
        if not config.train.test_curve:
            problem = "what patience reports is the test accuracy where it stops"
            checks.refuse(config, "train.test_curve", problem)


def lanes(config: ConfigDict, number: int) -> list[str]:
    """Of a round."""
    return ticket_and_controls(config, number) + ([LANE] if number else [])


FIELDS = Fields(
    make,
    check,
    lambda fields: len(fields.densities),
    lanes,
    controls={"reinit": 1},
    measures=lambda config: (
        {} if config.algorithm.patience is None else {"reported": None}
    ),
)
