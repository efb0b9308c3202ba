"""Fields of `supermask`: masks that are learned by gradient."""

from ml_collections import ConfigDict

from lottery_jax.fields import checks
from lottery_jax.fields.base import Fields


def make() -> ConfigDict:
    """The fields with their defaults."""
    fields = ConfigDict()
    fields.name = "supermask"
    fields.initial_logits = (0.0,)  # of all weights at first, one per round
    fields.rescale = False  # kernels by size over number kept (DWR)
    fields.samples = 10  # masks over which an accuracy is averaged
    fields.jitter = 0.1  # of the control `jitter`, in standard deviations
    return fields


def check(config: ConfigDict):
    """Refuses what cannot be right."""
    checks.at_least(config, "algorithm.samples", 1)
    logits = config.algorithm.initial_logits
    numbers = all(isinstance(logit, int | float) for logit in logits)
    if not logits or not numbers or not all(abs(x) < float("inf") for x in logits):
        problem = "expected a number for every round"
        checks.refuse(config, "algorithm.initial_logits", problem)
    if config.train.execution == "sparse":
        checks.refuse(config, "train.execution", "every weight takes part here")


def shrink(fields: ConfigDict):
    """For smoke forms."""
    fields.samples = 2


FIELDS = Fields(
    make,
    check,
    lambda fields: len(fields.initial_logits) - 1,
    shrink=shrink,
    measures=lambda config: {"most_likely": None},
    stateless=lambda config: ("model.name", "masks are learned of networks"),
)
