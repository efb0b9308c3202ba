"""Several runs in one program: their lanes are trained together.

Runs whose programs are the same, and that differ in numbers their lanes carry or in
what happens between rounds (learning rates, scores, seeds, ...), go on side by side,
each in a thread of its own. Wherever all of them want lanes trained, the lanes are put
together, trained once, and handed back.
"""

import threading
from collections.abc import Callable

import jax
import jax.numpy as jnp

from lottery_jax import stacks
from lottery_jax.training.lanes import Run
from lottery_jax.types import Lane, Trained


class Member:
    """One run of a team; used by its own thread alone."""

    def __init__(self, team: "Team", hypers: dict[str, float]):
        self._team, self._hypers, self._programs = team, hypers, 0

    def join(self, run: Run, group: str) -> Run:
        """In place of `run`, the next program of this run, one that waits for the team.

        The first of those that want it decides how: theirs are the same programs. Its
        settings are that `group` of the config.
        """
        number = self._programs
        self._programs += 1
        hypers = {
            field.removeprefix(f"{group}."): value
            for field, value in self._hypers.items()
            if field.startswith(f"{group}.")
        }

        def together(lanes: Lane, grid: jax.Array) -> Trained:
            num = len(lanes.key)
            own = {name: jnp.full(num, value) for name, value in hypers.items()}
            lanes = lanes._replace(hypers=lanes.hypers | own)
            return self._team.train(self, number, run, lanes, grid)

        return together

    def tell(self, number: int, last: int):
        """A round of this run is on disk."""
        self._team.tell(self, number, last)

    def leave(self):
        """The others no longer wait for this run: it has ended, or failed."""
        self._team.leave(self)


class Team:
    """Runs that meet where lanes are trained."""

    def __init__(
        self,
        hypers: list[dict[str, float]],
        on_round: Callable[[int, int], None] = lambda number, last: None,
    ):
        """Makes the members.

        Args:
          hypers: for every member, numbers that its lanes carry, by their fields.
          on_round: called with a round and the last one when all have done it.
        """
        self._on_round, self._announced = on_round, -1
        self.members = [Member(self, own) for own in hypers]
        self._rounds = dict.fromkeys(self.members, (-1, 0))  # of those that are left
        self._stopped = False
        self._change = threading.Condition()
        self._runs: dict[int, Run] = {}  # by number of a program
        self._wanted: dict[Member, tuple] = {}
        self._found: dict[Member, Trained | BaseException] = {}

    def train(self, member: Member, number: int, run: Run, lanes, grid) -> Trained:
        """Of one member; comes back when all have asked, and it was their turn.

        Raises:
          KeyboardInterrupt: the team was stopped.
          BaseException: what the training of the lanes raised, in every member.
        """
        with self._change:
            if self._stopped:
                raise KeyboardInterrupt
            self._wanted[member] = number, run, lanes, grid
            self._go_on()
            self._change.wait_for(lambda: member in self._found or self._stopped)
            if self._stopped:
                raise KeyboardInterrupt
            found = self._found.pop(member)
        if isinstance(found, BaseException):
            raise found
        return found

    def tell(self, member: Member, number: int, last: int):
        """Of one member; passed on when all that are left have done the round."""
        with self._change:
            self._rounds[member] = number, last
            self._announce()

    def _announce(self):
        done = min(self._rounds.values(), default=(-1, 0))
        if done[0] > self._announced:
            self._announced = done[0]
            self._on_round(*done)

    def leave(self, member: Member):
        """One member less to wait for."""
        with self._change:
            del self._rounds[member]
            self._announce()
            self._go_on()

    def stop(self):
        """No member trains any more; what is going on ends first."""
        with self._change:
            self._stopped = True
            self._change.notify_all()

    def _go_on(self):
        """Trains what is wanted, where nobody is left to wait for."""
        if not self._wanted or len(self._wanted) < len(self._rounds):
            return
        groups = {}
        for member in self.members:  # in this order, whoever came first
            if member in self._wanted:
                number, run, lanes, grid = self._wanted[member]
                run = self._runs.setdefault(number, run)
                key = number, tuple(grid.tolist())
                groups.setdefault(key, {})[member] = run, lanes, grid
        self._wanted = {}
        for calls in groups.values():
            self._found |= _train(calls)
        self._change.notify_all()


def _train(calls: dict[Member, tuple[Run, Lane, jax.Array]]) -> dict:
    """Lanes of several members in one call of the first one's program."""
    run, _, grid = next(iter(calls.values()))
    stacked = [lanes for _, lanes, _ in calls.values()]
    found, start = {}, 0
    try:
        lanes = stacks.concatenate(stacked)
        trained = jax.block_until_ready(run(lanes, grid))
        for member, own in zip(calls, stacked, strict=True):
            end = start + len(own.key)
            found[member] = stacks.take(trained, slice(start, end))
            start = end
    except BaseException as error:  # or the others would wait for ever
        return dict.fromkeys(calls, error)
    return found
