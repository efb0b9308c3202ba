"""What an algorithm says about its group of the config, `config.algorithm`."""

import operator
from collections.abc import Callable, Collection, Mapping
from typing import NamedTuple

from ml_collections import ConfigDict

from lottery_jax.errors import ConfigError

OWN_COLUMNS = (
    "dropped",
    "kept",
    "most_likely",
    "reported",
    "steps_to_success",
    "success",
)
"""Beginnings of names of columns that are there where `Fields.measures` says so."""


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


def shrink_search(fields: ConfigDict):
    """Twenty steps for a search by training, in batches of digits."""
    fields.search.batch_size = 60
    fields.search.steps = 20


class Fields(NamedTuple):
    """A group of fields.

    Attributes:
      make: `make() -> fields`, with their names, defaults and types.
      check: `check(config)` refuses what they cannot be, by a `ConfigError`.
      last_round: `last_round(fields) -> number`.
      lanes: `lanes(config, round) -> names`, what a claim may be about.
      shrink: `shrink(fields)`, what `config.shrink` does about it in smoke forms.
      controls: name in `CONTROLS` -> number per replicate, unless a config says else.
      measures: `measures(config) -> columns`, beginnings of names of columns that runs
        of this algorithm have and others have not -> the lanes with them, None: all.
      swept: names of fields of which the compiled programs know nothing.
      plants: it looks for what is planted.
      stateless: `stateless(config) -> (field, why)`, with which networks with batch
        statistics are refused; None: they are not.
    """

    make: Callable[[], ConfigDict]
    check: Callable[[ConfigDict], None] = lambda config: None
    last_round: Callable[[ConfigDict], int] = operator.attrgetter("rounds")
    lanes: Callable[[ConfigDict, int], list[str]] = ticket_and_controls
    shrink: Callable[[ConfigDict], None] = lambda fields: None
    controls: Mapping[str, int] = {}
    measures: Callable[[ConfigDict], Mapping[str, Collection[str] | None]] = (
        lambda config: {}
    )
    swept: tuple[str, ...] = ()
    plants: bool = False
    stateless: Callable[[ConfigDict], tuple[str, str] | None] = lambda config: None
