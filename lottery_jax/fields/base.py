"""What an algorithm says about its group of the config, `config.algorithm`."""

import operator
from collections.abc import Callable, Mapping
from typing import NamedTuple

from ml_collections import ConfigDict

from lottery_jax.errors import ConfigError


def drawn(controls: Mapping[str, int]) -> list[str]:
    """Names of the controls that a config asks for."""
    return [name for name, number in controls.items() if number]


def no_controls(config: ConfigDict, problem: str):
    """Refuses controls of an algorithm that has none, and says why."""
    for name in drawn(config.controls):
        raise ConfigError(f"controls.{name}", problem)


def ticket_and_controls(config: ConfigDict, number: int) -> list[str]:
    """The lanes of an algorithm whose every round trains a ticket."""
    del number
    return ["ticket", *drawn(config.controls)]


class Fields(NamedTuple):
    """A group of fields.

    Attributes:
      make: `make() -> fields`, with their names, defaults and types.
      check: `check(config)` refuses what they cannot be, by a `ConfigError`.
      last_round: `last_round(fields) -> number`.
      lanes: `lanes(config, round) -> names`, what a claim may be about.
      controls: name in `CONTROLS` -> number per replicate, unless a config says else.
      stateless: why networks with batch statistics are refused; None: they are not.
    """

    make: Callable[[], ConfigDict]
    check: Callable[[ConfigDict], None] = lambda config: None
    last_round: Callable[[ConfigDict], int] = operator.attrgetter("rounds")
    lanes: Callable[[ConfigDict, int], list[str]] = ticket_and_controls
    controls: Mapping[str, int] = {}
    stateless: str | None = None
