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

from lottery_jax.training.lanes import Run
from lottery_jax.types import Lane, Trained


class Member:
    """One run of a team; used by its own thread alone."""

    def __init__(self, team: "Team", hypers: dict[str, float]):
        self._team, self._hypers, self._programs = team, hypers, 0

    def join(self, run: Run) -> Run:
        """In place of `run`, the next program of this run, one that waits for the team.

        Of all members the first to train decides how: theirs are the same programs.
        """
        number = self._programs
        self._programs += 1

        def together(lanes: Lane, grid: jax.Array) -> Trained:
            num = len(lanes.key)
            own = {name: jnp.full(num, value) for name, value in self._hypers.items()}
            lanes = lanes._replace(hypers=lanes.hypers | own)
            return self._team.train(self, number, run, lanes, grid)

        return together

    def leave(self):
        """The others no longer wait for this run: it has ended, or failed."""
        self._team.leave()


class Team:
    """Runs that meet where lanes are trained."""

    def __init__(self, hypers: list[dict[str, float]]):
        """`hypers`: for every member, numbers that its lanes carry."""
        self.members = [Member(self, own) for own in hypers]
        self._active = len(hypers)
        self._change = threading.Condition()
        self._runs: dict[int, Run] = {}  # by number of a program
        self._wanted: dict[Member, tuple] = {}
        self._found: dict[Member, Trained | BaseException] = {}

    def train(self, member: Member, number: int, run: Run, lanes, grid) -> Trained:
        with self._change:
            run = self._runs.setdefault(number, run)
            self._wanted[member] = (number, tuple(grid.tolist())), run, lanes, grid
            self._go_on()
            self._change.wait_for(lambda: member in self._found)
            found = self._found.pop(member)
        if isinstance(found, BaseException):
            raise found
        return found

    def leave(self):
        with self._change:
            self._active -= 1
            self._go_on()

    def _go_on(self):
        """Trains what is wanted, where nobody is left to wait for."""
        if not self._wanted or len(self._wanted) < self._active:
            return
        groups = {}
        for member, (key, *call) in self._wanted.items():
            groups.setdefault(key, {})[member] = call
        self._wanted = {}
        for calls in groups.values():
            self._found |= _train(calls)
        self._change.notify_all()


def _train(calls: dict[Member, tuple[Callable, Lane, jax.Array]]) -> dict:
    """Lanes of several members in one call of the first one's program."""
    run, _, grid = next(iter(calls.values()))
    stacked = [lanes for _, lanes, _ in calls.values()]
    try:
        lanes = jax.tree.map(lambda *leaves: jnp.concatenate(leaves), *stacked)
        trained = run(lanes, grid)
    except Exception as error:  # each member fails, with the same words
        return dict.fromkeys(calls, error)
    found, start = {}, 0
    for member, own in zip(calls, stacked, strict=True):
        end = start + len(own.key)
        found[member] = jax.tree.map(lambda leaf, a=start, b=end: leaf[a:b], trained)
        start = end
    return found
