"""What every algorithm is: a pair of pure functions, and what a round tells."""

import zlib
from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from lottery_jax import rng, stacks
from lottery_jax.errors import ScoreError
from lottery_jax.tickets.controls import CONTROLS
from lottery_jax.tickets.schedules import Ladder
from lottery_jax.tickets.selection import Groups
from lottery_jax.types import (
    Context,
    Key,
    Lane,
    Mask,
    Model,
    Params,
    Prunable,
    Split,
    Trained,
    Truth,
)

MakeRun = Callable[..., Callable[[Lane, jax.Array], Trained]]
"""`make_run(model, name, **special) -> run(lanes, grid)`: a program that trains stacked
lanes, by default the task's network as `config.train` says. Of several programs each
has a name. By keyword: another `dataset`; another `make_train` than `loop.make_train`;
the `group` of the config with its settings; `sparse`, whether kernels may become
vectors of the kept weights: where masks are those of the lanes' params, the same at all
steps, and pruned weights 0 (None: with `loop.make_train`); `repeats`, calls for which a
trial of that must be worth its time; and further arguments of `make_train`."""

Grid = Callable[[dict[str, int], int], list[int]]
"""`grid(snapshots, start) -> steps`: where to evaluate, see `loop.evaluation_grid`."""


class Label(NamedTuple):
    """Whose lane it is: ticket or control, which draw of it, which replicate.

    Where there are tickets of several methods, lanes are named "method" and
    "method/control".
    """

    lane: str
    sample: int
    replicate: int


def draws(controls: Mapping[str, int]) -> list[tuple[str, int]]:
    """(name, sample) of the controls of a ticket, in the order of their lanes."""
    return [
        (name, sample) for name, number in controls.items() for sample in range(number)
    ]


def label_lanes(controls: Mapping[str, int], replicates: int) -> list[Label]:
    """Labels of tickets and controls: the ticket's lanes stand first."""
    return [
        Label(name, sample, replicate)
        for name, sample in [("ticket", 0), *draws(controls)]
        for replicate in range(replicates)
    ]


def control_key(key: Key, name: str, sample: int) -> Key:
    """Of one draw of a control.

    By name: another control beside it moves nobody's numbers.
    """
    own = jax.random.fold_in(key, zlib.crc32(name.encode()))
    return jax.random.fold_in(own, sample)


def draw_controls(
    context: Context, controls: Mapping[str, int]
) -> dict[tuple[str, int], Lane]:
    """(name, sample) -> lane, of all `draws`."""
    return {
        (name, sample): CONTROLS[name](
            context._replace(key=control_key(context.key, name, sample))
        )
        for name, sample in draws(controls)
    }


def with_controls(context: Context, controls: Mapping[str, int]) -> Lane:
    """The ticket, `context.lane`, and its controls: [lanes of a replicate, ...]."""
    return stacks.stack([context.lane, *draw_controls(context, controls).values()])


def make_hypers(
    learning_rate: float, schedule_offset: int = 0, *, num: int | None = None
) -> dict[str, jax.Array]:
    """Hyper-parameters of a lane, or of so many: scalars, or [num]."""
    shape = () if num is None else (num,)
    return {
        "learning_rate": jnp.full(shape, learning_rate, jnp.float32),
        "schedule_offset": jnp.full(shape, schedule_offset, jnp.int32),
    }


def join_lanes(
    rows: Sequence[tuple[str, int, Lane]], replicates: int
) -> tuple[Lane, list[Label]]:
    """(name, sample, lanes [R, ...]) one after the other: lanes [N, ...], labels."""
    labels = [
        Label(name, sample, replicate)
        for name, sample, _ in rows
        for replicate in range(replicates)
    ]
    return stacks.concatenate([lane for _, _, lane in rows]), labels


def flatten_lanes(lanes: Lane) -> Lane:
    """[lanes of a replicate, R, ...] -> [N, ...], in the order of `label_lanes`."""
    return jax.tree.map(lambda leaf: leaf.reshape(-1, *leaf.shape[2:]), lanes)


def scoring_batches(
    roots: dict[str, Key], examples: Split, num: int, replicates: int, round
) -> Split:
    """Examples for scores, drawn for every replicate and round: [R, num, ...]."""
    chosen = np.stack(
        [
            jax.random.choice(
                rng.stream(roots, "batch", replicate, round),
                len(examples.x), (num,), replace=False,
            )
            for replicate in range(replicates)
        ]
    )  # fmt: skip
    return Split(np.asarray(examples.x)[chosen], np.asarray(examples.y)[chosen])


def make_truths(
    model: Model, replicates: int
) -> Callable[[dict[str, Key]], Truth | None]:
    """`truths(roots)`: what is planted in all replicates, leaves [R, ...], or None."""
    if model.truth is None:
        return lambda roots: None

    @jax.jit
    def truths(roots):
        return jax.vmap(lambda i: model.truth(rng.stream(roots, "init", i)))(
            jnp.arange(replicates)
        )

    return truths


def check_scores(score: str, number: int, broken: jax.Array):
    """Refuses a mask that finite weights did not earn by finite scores.

    Args:
      score: its name.
      number: of the round.
      broken: weights [R] without a finite score, see `num_broken`.
    """
    broken = np.asarray(broken)
    if not broken.any():
        return
    replicate = int(broken.argmax())
    raise ScoreError(
        f"round {number}: the score {score} is inf or nan for {broken[replicate]} "
        f"finite weights of replicate {replicate}, so they cannot be ranked. The "
        "network overflows: take smaller weights (model.initializer), fewer or "
        "narrower layers, or a score of weights alone (algorithm.score: magnitude)"
    )


class RoundInfo(NamedTuple):
    """Everything about one round that is worth keeping; never fed back.

    Attributes:
      round: its number; round 0 is dense.
      density: kept fraction of the prunable weights.
      num_keep: group -> weights that must be kept, a number or one for each lane [N].
      groups: group -> paths of its leaves.
      prunable: which leaves may be pruned.
      labels: one per lane, in the order of the lane axis; the tickets stand first, R of
        them for each method.
      lanes: what was trained, leaves [N, ...].
      rewound: what survivors must equal at the start, leaves [tickets, ...]; None where
        they are drawn anew. Taken from the state and not from the lanes it certifies.
      old_mask: the tickets' masks of the previous round, leaves [tickets, ...].
      trained: what came out, leaves [N, ...].
      start: optimizer step at which training began.
      in_generations: steps are not an optimizer's but a search's: nothing is trained.
      keeps_pruned: pruned weights are frozen at what the lanes have for them; else 0.
      trained_before: the ticket's weights at the start and the end of the training that
        this mask was made from, leaves [R, ...]; None: there was none.
      filled: weights [R] of each ticket that a score by sign would not have kept, had
        there been enough others; None: there is no such score.
      found_mask: what training left, leaves [N, ...]; None: the masks of the lanes.
      truth: what was planted, leaves [R, ...]; None: nothing.
      search: column -> values [rows]: how the tickets of the round were searched for,
        one row for every candidate or evaluation; None: they were not.
      untrained: the worth of masks without training is measured on the test split:
        column `untrained_test_accuracy`.
      idle: rounds after this one that have nothing to do, all searches having ended.
      notes: what there is to say to whoever looks on.
    """

    round: int
    density: float
    num_keep: dict[str, int | np.ndarray]
    groups: Groups
    prunable: Prunable
    labels: list[Label]
    lanes: Lane
    rewound: Params | None
    old_mask: Mask
    trained: Trained
    start: int
    in_generations: bool = False
    keeps_pruned: bool = False
    trained_before: tuple[Params, Params] | None = None
    filled: jax.Array | None = None
    found_mask: Mask | None = None
    truth: Truth | None = None
    search: dict[str, np.ndarray] | None = None
    untrained: bool = False
    idle: int = 0
    notes: tuple[str, ...] = ()

    @property
    def num_tickets(self) -> int:
        """How many of the lanes, the first, are tickets."""
        return len(jax.tree.leaves(self.old_mask)[0])

    @property
    def ticket_of(self) -> list[int]:
        """For every lane the place of the ticket that it is, or is a control of."""
        tickets = self.labels[: self.num_tickets]
        places = {own: i for i, own in enumerate(tickets)}
        methods = {own.lane for own in tickets}
        found = []
        for own in self.labels:
            method = own.lane.split("/")[0]
            method = method if method in methods else tickets[0].lane
            first = places[Label(method, 0, own.replicate)]
            found.append(places.get(own._replace(lane=method), first))
        return found

    @property
    def mask(self) -> Mask:
        """The tickets and controls of the round, leaves [N, ...]."""
        return self.lanes.mask if self.found_mask is None else self.found_mask


class RoundState(NamedTuple):
    """What the next round needs, where every round draws its networks again.

    Attributes:
      round: number of the next round, int32 scalar.
      roots: root keys of the random streams.
    """

    round: jax.Array
    roots: dict[str, Key]


class Algorithm(NamedTuple):
    """A published method.

    Attributes:
      init: `init(roots) -> state`, from the root keys of the random streams.
      step: `step(state) -> (state, RoundInfo)`, one round; the state is a pytree of
        arrays, all that is needed to go on.
      ladder: weights to keep in every round, known before the first one runs.
      work: how much each round has to train or to search, in units of any kind; 0:
        next to nothing. None: all as much.
    """

    init: Callable[[dict], Any]
    step: Callable[[Any], tuple[Any, RoundInfo]]
    ladder: Ladder
    work: Sequence[int] | None = None
