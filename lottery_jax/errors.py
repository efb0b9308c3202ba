"""What can go wrong, said in the words of the config and the run directory."""

import difflib
from collections.abc import Iterable


class LotteryError(Exception):
    """An expected failure: `main` prints it without a traceback, exit status 2."""


class ConfigError(LotteryError):
    """A config field has a value it may not have."""

    def __init__(self, field: str, problem: str):
        super().__init__(f"config.{field}: {problem}")
        self.field = field


class DataError(LotteryError):
    """A data file is missing, damaged or not what it should be."""


class ResultsError(LotteryError):
    """A run directory cannot be used or written."""


class TicketError(LotteryError):
    """A ticket's file is damaged, or the ticket is of another network."""


class CertificateError(LotteryError):
    """Something that must hold after a round does not."""


class ScoreError(LotteryError):
    """Weights have no score to rank them by."""


def nearest(name: str, valid: Iterable[str]) -> str:
    """'did you mean ...?' where one is close, then all valid names."""
    valid = sorted(valid)
    if not valid:
        return "there is none"
    close = difflib.get_close_matches(str(name), valid, n=1)
    hint = f"did you mean {close[0]!r}? " if close else ""
    return f"{hint}valid: {', '.join(valid)}"
