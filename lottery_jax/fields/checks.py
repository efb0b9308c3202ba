"""Checks of one field; each raises a `ConfigError` that says what it may be."""

import math
from collections.abc import Collection

from ml_collections import ConfigDict

from lottery_jax.errors import ConfigError, nearest


def get(config: ConfigDict, field: str):
    """The value of a dotted field."""
    for name in field.split("."):
        config = config[name]
    return config


def number(config: ConfigDict, field: str) -> float:
    """The value of a field that must be a finite number."""
    value = get(config, field)
    wrong = isinstance(value, bool) or not isinstance(value, int | float)
    if wrong or not math.isfinite(value):
        raise ConfigError(field, f"{value!r}: expected a number")
    return value


def refuse(config: ConfigDict, field: str, problem: str):
    """Says the field, its value, and what is wrong with it."""
    raise ConfigError(field, f"{get(config, field)}: {problem}")


def choice(config: ConfigDict, field: str, valid: Collection[str]):
    """A name that is known."""
    value = get(config, field)
    if value not in valid:
        raise ConfigError(field, f"no {value!r}; {nearest(value, valid)}")


def choices(config: ConfigDict, field: str, valid: Collection[str]):
    """Names that stand in a tuple, each once."""
    values = get(config, field)
    for value in values:
        if value not in valid:
            raise ConfigError(field, f"no {value!r}; {nearest(value, valid)}")
    once(config, field)


def once(config: ConfigDict, field: str):
    """No value of a tuple stands there twice."""
    values = get(config, field)
    if len(set(values)) < len(values):
        refuse(config, field, "one of them is there twice")


def at_least(config: ConfigDict, field: str, low: float):
    """A number from `low` on."""
    if not number(config, field) >= low:
        refuse(config, field, f"expected at least {low}")


def positive(config: ConfigDict, field: str):
    """A number above 0."""
    if not number(config, field) > 0:
        refuse(config, field, "expected a positive number")


def probability(config: ConfigDict, field: str):
    """A number from 0 to 1."""
    if not 0 <= number(config, field) <= 1:
        refuse(config, field, "expected a probability, 0 to 1")


def fraction(config: ConfigDict, field: str):
    """A number between 0 and 1."""
    if not 0 < number(config, field) < 1:
        refuse(config, field, "expected a fraction between 0 and 1")


def densities(config: ConfigDict):
    """Of the rounds: `config.algorithm.densities`."""
    field = "algorithm.densities"
    if not get(config, field):
        raise ConfigError(field, "expected one for every round")
    for density in get(config, field):
        if not isinstance(density, int | float) or not 0 < density < 1:
            problem = f"{density}: expected a fraction between 0 and 1"
            raise ConfigError(field, problem)
