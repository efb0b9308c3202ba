"""Strong tickets by a genetic algorithm: the mask of a random network, untrained.

SLTN-GA (arXiv:2411.04658, arXiv:2508.08877). Weights stay as they were drawn; a
candidate is a string of bits, one per weight, and `genetic_search.py` searches. In the
end bits are pruned one by one as long as the accuracy does not fall.

The published code chooses the ticket, and what is pruned, on the test split; here all
is chosen on the validation split, and the test split is looked at once.

A round is a block of generations, one program. Round 0 is the initial population.
"""

from collections.abc import Mapping
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from lottery_jax import rng, stacks
from lottery_jax.algorithms import fronts, genetic_search
from lottery_jax.algorithms.base import (
    Algorithm,
    Grid,
    MakeRun,
    RoundInfo,
    flatten_lanes,
    label_lanes,
    with_controls,
)
from lottery_jax.algorithms.genetic_search import Search, Settings
from lottery_jax.errors import ConfigError
from lottery_jax.tickets import bitstrings, genetics, masks
from lottery_jax.training.loop import EVALUATION_VALUES, in_chunks
from lottery_jax.types import Context, Key, Lane, Params, Split, Task, Trained


class State(NamedTuple):
    """What the next round needs.

    Attributes:
      round: number of the next round, int32 scalar.
      roots: root keys of the random streams.
      searches: leaves [R, ...].
    """

    round: jax.Array
    roots: dict[str, Key]
    searches: Search


def strong_tickets(
    task: Task,
    make_run: MakeRun,
    grid: Grid,
    *,
    learning_rate: float,
    replicates: int,
    controls: Mapping[str, int],
    generations_per_round: int = 50,
    max_density: float | None = None,
    prune: bool = True,
    prune_on: str = "validation",
    prune_tolerance: float = 0.0,
    test_selected: bool = False,
    chunk: int = 1,
    jitter: float = 0.1,
    **settings,
) -> Algorithm:
    """Builds the algorithm.

    Args:
      task: a network without state, data with classes.
      make_run: not used, nothing is trained; nor are `grid` and `learning_rate`.
      grid: see there.
      learning_rate: see there.
      replicates: R, independent searches.
      controls: name -> how many per replicate: other masks on the ticket's weights, or
        its mask on other weights, untrained.
      generations_per_round: in a round.
      max_density: of the ticket before it is pruned; None: any.
      prune: bits of the ticket, one by one, in the last round.
      prune_on: the accuracy of which split decides, "validation" or "both", that and
        the training split: few examples are overfitted by hundreds of decisions.
      prune_tolerance: accuracy that may be lost by that.
      test_selected: what would be reported if all that is chosen in the end were chosen
        on the test split, as published: columns `test_selected_*`.
      chunk: candidates that are evaluated at once.
      jitter: noise of the reinitialisation "jitter", in standard deviations.
      **settings: fields of `genetic_search.Settings`.

    Raises:
      ConfigError: data without classes, a network without layers in a chain.
    """
    del make_run, grid, learning_rate
    if task.dataset.num_classes is None:
        problem = f"{task.dataset.name}: an accuracy is searched for, of classes"
        raise ConfigError("data.name", problem)
    settings = Settings(**settings)
    model, layout = task.model, bitstrings.layout(task.model)
    if settings.path_tries and layout.layers is None:
        problem = f"{settings.path_tries}: is for networks of dense layers in a chain"
        raise ConfigError("algorithm.path_tries", problem)
    steps = genetic_search.make_steps(layout, settings)
    last = -(-settings.max_generations // generations_per_round)
    labels = label_lanes(controls, replicates)
    splits = jax.device_put(tuple(task.dataset[:3]))

    @jax.jit
    def draw(roots) -> Params:
        """theta_0, leaves [R, ...], in one program: another may draw other bits."""

        def one(replicate):
            return model.init(rng.stream(roots, "init", replicate))[0]

        return jax.vmap(one)(jnp.arange(replicates))

    def measure(params, split: Split, names) -> dict[str, jax.Array]:
        def forward(x):
            return model.apply(params, {}, x, train=False)[0]

        outputs = in_chunks(forward, split.x, EVALUATION_VALUES)
        functions = {"loss": task.loss, **task.metrics}
        return {name: functions[name](outputs, split.y) for name in names}

    def scores_with(theta: Params) -> genetic_search.Scores:
        def scores(bits, split, names):
            def one(own):
                params = masks.apply(theta, bitstrings.to_mask(layout, own))
                return measure(params, split, names)

            return jax.lax.map(one, bits, batch_size=chunk if chunk > 1 else None)

        return scores

    def of_each(function, roots, theta, *trees):
        """`function(scores, key of the search, ...)` of every replicate, in turn.

        One after another, so that a search that has stopped takes no time.
        """

        def one(own):
            replicate, theta, *rest = own
            key = rng.stream(roots, "search", replicate)
            return function(scores_with(theta), key, *rest)

        return jax.lax.map(one, (jnp.arange(replicates), theta, *trees))

    def begin(roots, theta, splits):
        def one(scores, key):
            return steps.begin(jax.random.fold_in(key, 0), scores, splits)

        return of_each(one, roots, theta)

    @jax.jit
    def block(roots, theta, searches, splits):
        """A block of generations of every search: (searches, rows [R, generations])."""

        def one(scores, key, search):
            def advance(search):
                own = jax.random.fold_in(key, search.generation + 1)
                return steps.generation(search, own, scores, splits)

            empty = jax.tree.map(
                lambda leaf: jnp.zeros(leaf.shape, leaf.dtype),
                jax.eval_shape(advance, search)[1],
            )

            def step(search, _):
                goes_on = ~search.stopped
                search, found = jax.lax.cond(
                    goes_on, advance, lambda search: (search, empty), search
                )
                return search, found | {"there": goes_on}

            return jax.lax.scan(step, search, None, length=generations_per_round)

        return of_each(one, roots, theta, searches)

    def chosen(roots, theta, searches, validation):
        """Tickets before pruning, bits [R, n]; and fronts on the validation split."""

        def one(scores, _, front):
            found = scores(front.bits, validation, ("accuracy",))["accuracy"]
            valid = jnp.where(front.accuracy >= 0, found, -1)
            front = front._replace(accuracy=valid)
            return front.bits[fronts.choose(front, max_density)], front

        return of_each(one, roots, theta, searches.front)

    def pruned(roots, theta, bits, split):
        def one(scores, _, bits):
            def accuracy(bits):
                return scores(bits[None], split, ("accuracy",))["accuracy"][0]

            return genetic_search.prune(bits, accuracy, prune_tolerance)

        return of_each(one, roots, theta, bits)

    def chosen_by_test(roots, theta, searches, test):
        """Bits [R, n] of the last populations' best on the test split."""

        def one(scores, _, bits):
            found = scores(bits, test, ("accuracy",))["accuracy"]
            return bits[genetics.best(1, -found, jnp.sum(bits, axis=1))[0]]

        return of_each(one, roots, theta, searches.bits)

    def lanes_of(roots, theta, bits) -> Lane:
        def one(replicate, theta, own):
            def key(name):
                return rng.stream(roots, name, replicate)

            mask = bitstrings.to_mask(layout, own)
            lane = Lane(theta, mask, key("order"), {"learning_rate": jnp.float32(0)})
            context = Context(
                key=key("control"), model=model, prunable=layout.prunable, init=theta,
                rewind_point=theta, start=theta, final=theta,
                old_mask=masks.full(theta), mask=mask, jitter=jitter, lane=lane,
            )  # fmt: skip
            return with_controls(context, controls)

        stacked = jax.vmap(one, out_axes=1)(jnp.arange(replicates), theta, bits)
        return flatten_lanes(stacked)

    def evaluate(lanes: Lane, split: Split):
        def one(lane):
            params = masks.apply(lane.params, lane.mask)
            return measure(params, split, ("loss", *task.metrics))

        return jax.lax.map(one, lanes)

    begin, chosen, pruned, chosen_by_test, lanes_of, evaluate = map(
        jax.jit, (begin, chosen, pruned, chosen_by_test, lanes_of, evaluate)
    )

    def init(roots) -> State:
        shapes, _ = jax.eval_shape(begin, roots, jax.eval_shape(draw, roots), splits)
        zeros = jax.tree.map(lambda leaf: jnp.zeros(leaf.shape, leaf.dtype), shapes)
        return State(jnp.int32(0), roots, zeros)

    def step(state: State) -> tuple[State, RoundInfo]:
        number, roots, before = int(state.round), state.roots, -1
        theta = draw(roots)
        if number == 0:
            searches, table = begin(roots, theta, splits)
            table = {name: values[:, None] for name, values in table.items()}
            table["there"] = jnp.ones((replicates, 1), bool)
        else:
            before = int(state.searches.generation.max())
            searches, table = block(roots, theta, state.searches, splits)
        bits, found = chosen(roots, theta, searches, splits[1])
        of_tickets = {"generation": searches.generation, "stopped": searches.stopped}
        if number == last and prune:
            own = evaluate(lanes_of(roots, theta, bits), splits[1])["accuracy"]
            of_tickets["validation_accuracy_before_pruning"] = own[:replicates]
            of_tickets["density_before_pruning"] = jnp.mean(bits, axis=1)
            judges = splits[1]
            if prune_on == "both":
                judges = jax.tree.map(lambda *x: jnp.concatenate(x), *splits[:2])
            bits = pruned(roots, theta, bits, judges)
        lanes = lanes_of(roots, theta, bits)
        # The only time that the test split is looked at is in the last round.
        names = ("train", "validation", "test") if number == last else SEARCHED
        summary = {
            f"{name}_{key}": values
            for name, split in zip(names, splits, strict=False)
            for key, values in evaluate(lanes, split).items()
        }
        if number == last and test_selected:
            other = chosen_by_test(roots, theta, searches, splits[2])
            other = pruned(roots, theta, other, splits[2]) if prune else other
            of_tickets["test_selected_density"] = jnp.mean(other, axis=1)
            own = evaluate(lanes_of(roots, theta, other), splits[2])["accuracy"]
            of_tickets["test_selected_test_accuracy"] = own[:replicates]
        others = np.full(len(labels) - replicates, np.nan)
        summary |= {
            name: np.concatenate([np.asarray(values, np.float64), others])
            for name, values in of_tickets.items()
        }
        improved = np.asarray(searches.generation - searches.stagnant)
        summary["early_stop_step"] = improved[[label.replicate for label in labels]]
        final = masks.apply(lanes.params, lanes.mask)
        reached = int(searches.generation.max())
        history = {"step": jnp.full((len(labels), 1), reached, jnp.int32)} | {
            name: summary[name][:, None] for name in ("train_loss", "validation_loss")
        }
        everything = masks.full(lanes.mask)
        info = RoundInfo(
            round=number,
            density=float(jnp.mean(bits)),
            num_keep={},
            groups={},
            prunable=layout.prunable,
            labels=labels,
            lanes=lanes,
            rewound=theta,
            old_mask=stacks.first(everything, replicates),
            trained=Trained(final, final, {}, history, summary),
            start=before,
            in_generations=True,
            idle=max(last - 1 - number, 0) if np.all(searches.stopped) else 0,
            search=_rows(table, found if number == last else None),
            notes=_unmet(table, settings),
        )
        return State(state.round + 1, roots, searches), info

    in_last = settings.max_generations - generations_per_round * (last - 1)
    work = [0] + [generations_per_round] * (last - 1) + [in_last]
    return Algorithm(init, step, [{} for _ in work], work)


SEARCHED = ("train", "validation")
"""The splits that a search looks at."""


def _rows(table: dict, front: fronts.Front | None) -> dict:
    """Generations, one row per replicate, of kind "generation"; fronts beside them."""
    table = {name: np.asarray(values) for name, values in table.items()}
    there = table.pop("there")
    replicate = np.broadcast_to(np.arange(len(there))[:, None], there.shape)
    rows = {"kind": np.full(there.sum(), "generation"), "replicate": replicate[there]}
    rows |= {name: values[there] for name, values in table.items()}
    if front is None:
        return rows
    accuracy, kept = np.asarray(front.accuracy), np.asarray(front.bits).sum(-1)
    own, place = np.nonzero(fronts.non_dominated(accuracy, kept))
    added = {
        "kind": np.full(len(own), "front"),
        "replicate": own,
        "generation": np.asarray(front.generation)[own, place],
        "density": kept[own, place] / front.bits.shape[-1],
        "validation_accuracy": accuracy[own, place],
    }
    none = np.full(len(own), np.nan)
    return {
        name: np.concatenate([values, added.get(name, none)])
        for name, values in rows.items()
    }


def _unmet(table: dict, settings: Settings) -> tuple[str, ...]:
    """What there is to say where candidates never reached their bound."""
    unmet = np.asarray(table["unmet"]).sum(1)
    if not unmet.any():
        return ()
    who = ", ".join(map(str, np.flatnonzero(unmet)))
    return (
        f"the bound on the accuracy was not reached in {settings.tries} tries by "
        f"{unmet.sum()} new candidates (replicates {who}); the best try of each stays",
    )
