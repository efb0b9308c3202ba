"""Fields of `sample_complexity`: how many samples a sparse network needs."""

from ml_collections import ConfigDict

from lottery_jax.algorithms.sample_complexity import OVER_WIDE
from lottery_jax.fields import checks
from lottery_jax.fields.base import Fields, no_controls


def make() -> ConfigDict:
    """The fields with their defaults."""
    fields = ConfigDict()
    fields.name = "sample_complexity"
    # Weights of each hidden unit that the mask keeps, one number per round.
    fields.kept_per_unit = (5, 10, 20, 40)
    fields.support = 3  # of them in the teacher, lanes `over_wide`
    fields.samples = (50, 100, 200, 400)  # that a lane trains on, one lane each
    fields.distance = 0.3  # of the start from the teacher, in lengths of the teacher
    fields.tolerance = 1e-3  # distance of a success, the same
    return fields


def check(config: ConfigDict):
    """Refuses what cannot be right."""
    algorithm = config.algorithm
    no_controls(config, f"lanes are the ticket and {OVER_WIDE}, near their teacher")
    if config.model.name != "committee":
        problem = "teachers and students are a committee"
        checks.refuse(config, "model.name", problem)
    for field in ("kept_per_unit", "samples"):
        numbers = algorithm[field]
        whole = all(isinstance(number, int) and number > 0 for number in numbers)
        if not numbers or not whole or list(numbers) != sorted(set(numbers)):
            problem = "expected positive integers that rise"
            checks.refuse(config, f"algorithm.{field}", problem)
    if not 0 < algorithm.support < algorithm.kept_per_unit[0]:
        problem = "expected 1 to less than kept_per_unit"
        checks.refuse(config, "algorithm.support", problem)
    if algorithm.samples[-1] > config.train.batch_size:
        problem = "a step takes all samples of a lane, and train.batch_size is "
        problem = f"{problem}{config.train.batch_size}"
        checks.refuse(config, "algorithm.samples", problem)
    checks.fraction(config, "algorithm.distance")
    if not 0 < algorithm.tolerance < algorithm.distance:
        problem = "expected a number between 0 and distance"
        checks.refuse(config, "algorithm.tolerance", problem)
    if config.train.execution == "sparse":
        checks.refuse(config, "train.execution", "is for the loop of batches")


def lanes(config: ConfigDict, number: int) -> list[str]:
    """Of a round."""
    del config, number
    return ["ticket", OVER_WIDE]


FIELDS = Fields(
    make,
    check,
    lambda fields: len(fields.kept_per_unit) - 1,
    lanes,
    measures=lambda config: {"success": None, "steps_to_success": None},
)
