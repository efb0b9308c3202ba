"""Ways to find a ticket side by side, and checks of what each of them depends on.

Every method prunes to the same densities, one per round, all weights competing unless
it divides them by layers; its tickets start from theta_0 again. Lanes are named by
their method; round 0 is the dense network, beside it the planted ticket where there is
one.

A check changes one thing in how a mask is found, and the ticket is then trained as
ever: other data to find it on (`data/corruption.py`), scores inverted, or as many
weights per layer as smart ratios give (Su et al., arXiv:2009.11094; Frankle et al.,
arXiv:2009.08576). With the controls, which change the ticket that was found, they ask
of every method what it would lose.

Where a method learns the mask, each of its strands searches theta_0 in every round, on
its own data; what is found is trained as any other ticket.
"""

import functools
from collections.abc import Mapping
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp

from lottery_jax import rng, stacks
from lottery_jax.algorithms.base import (
    Algorithm,
    Grid,
    MakeRun,
    RoundInfo,
    check_scores,
    control_key,
    draw_controls,
    draws,
    join_lanes,
    make_hypers,
    make_truths,
    scoring_batches,
)
from lottery_jax.algorithms.budgets import make_budget
from lottery_jax.algorithms.methods import CLEAN, METHODS, Method, Strand, checked
from lottery_jax.algorithms.score_search import make_learn
from lottery_jax.data.corruption import CORRUPTIONS
from lottery_jax.errors import ConfigError
from lottery_jax.tickets import masks, pruning, selection
from lottery_jax.tickets.layers import layers_of
from lottery_jax.tickets.saliency import SALIENCIES
from lottery_jax.tickets.scores import SCORES, num_broken
from lottery_jax.types import Context, Key, Lane, Mask, Params, Task


class CompareState(NamedTuple):
    """What the next round needs; leaves of params and masks are [R, ...].

    Attributes:
      round: number of the next round, int32 scalar.
      roots: root keys of the random streams.
      init: theta_0.
      dense: data -> theta_T of the dense network trained on them.
      tickets: strand -> theta_T and mask of its last ticket, where it goes on from it.
    """

    round: jax.Array
    roots: dict[str, Key]
    init: Params
    dense: dict[str, Params]
    tickets: dict[str, tuple[Params, Mask]]


def compare(
    task: Task,
    make_run: MakeRun,
    grid: Grid,
    *,
    learning_rate: float,
    replicates: int,
    controls: Mapping[str, int],
    search: Mapping[str, Any],
    methods: tuple[str, ...],
    densities: tuple[float, ...],
    checks: tuple[str, ...] = (),
    iterations: int = 100,
    path: str = "exponential",
    score_examples: int = 100,
    jitter: float = 0.1,
) -> Algorithm:
    """Builds the algorithm.

    Args:
      task: the network, its loss, and data for scores that need some.
      make_run: builds the program that trains stacked lanes.
      grid: steps at which to evaluate.
      learning_rate: of every lane.
      replicates: R, independent repetitions of the whole experiment.
      controls: name in `CONTROLS` -> how many per method and replicate.
      search: settings of learning, see `make_learn`, for methods that do.
      methods: names in `METHODS`.
      densities: kept fraction of all prunable weights, one per round, falling.
      checks: names in `MASK_CHECKS`, lanes where they can change a method's masks.
      iterations: prunings of a round, of methods that iterate.
      path: name in `PATHS`: how many weights each of them keeps.
      score_examples: training examples that a score in `SALIENCIES` looks at.
      jitter: noise of the reinitialisation "jitter", in standard deviations.

    Raises:
      ConfigError: a density at which some layer must be empty, or like the one before;
        more examples to score than there are.
    """
    model = task.model
    layers = layers_of(model)
    prunable, names = layers.prunable, layers.names
    kernels = {name: layers.shapes[name] for name in masks.in_order(names, model)}
    by_layer, competing = selection.layerwise(names), selection.globally(names)
    tickets = [Strand(name, METHODS[name]) for name in methods]
    found = [checked(name, check) for name in methods for check in checks]
    variants = [strand for strand in found if strand]
    strands = [*tickets, *variants]

    budget = make_budget(kernels, densities, strands)

    datasets = {CLEAN: task.dataset}
    runs = {CLEAN: make_run()}
    for data in dict.fromkeys(strand.data for strand in variants):
        if data != CLEAN:
            # One draw for all replicates and seeds: it is another dataset.
            key = jax.random.key(0)
            datasets[data] = CORRUPTIONS[data](task.dataset, key)
            runs[data] = make_run(dataset=datasets[data], name=data)
    looks = any(strand.method.score in SALIENCIES for strand in strands)
    for data in datasets.values():
        if looks and score_examples > len(data.train.x):
            problem = f"{score_examples}: the training split has {len(data.train.x)}"
            raise ConfigError("algorithm.score_examples", problem)

    learning = [strand for strand in strands if strand.method.learns]
    if learning:
        learn = make_learn(make_run, learning, layers.sizes, datasets, **search)
    trains = {strand.data for strand in strands if strand.method.after != "init"}
    on_dense = [CLEAN, *sorted(trains - {CLEAN})]
    truths = make_truths(model, replicates)
    numbers = jnp.arange(replicates)
    steps = jnp.array(grid({}, 0))
    hypers = make_hypers(learning_rate, num=replicates)

    @jax.jit
    def draw(roots) -> Params:
        def one(replicate):
            return model.init(rng.stream(roots, "init", replicate))[0]

        return jax.vmap(one)(numbers)

    def init(roots) -> CompareState:
        theta = draw(roots)
        state = CompareState(
            jnp.int32(0),
            roots,
            theta,
            dict.fromkeys(on_dense, theta),
            {
                strand.name: (theta, masks.full(theta))
                for strand in strands
                if strand.method.after == "ticket"
            },
        )
        # Committed to a device like all that training returns, or round 1 recompiles.
        return jax.device_put(state, jax.local_devices()[0])

    @functools.partial(jax.jit, static_argnums=1)
    def keys(state: CompareState, name: str) -> Key:
        return jax.vmap(
            lambda replicate: rng.stream(state.roots, name, replicate, state.round)
        )(numbers)

    def score_key(state: CompareState, strand: Strand) -> Key:
        """By method: random masks of two are not the same; a check changes nothing."""
        name, key = strand.name.split("/")[0], keys(state, "score")
        return jax.vmap(lambda own: control_key(own, name, 0))(key)

    def begin(state: CompareState, strand: Strand) -> Params:
        """What a strand's tickets start from, before masking."""
        return state.dense[CLEAN] if strand.method.trained else state.init

    def scored(state: CompareState, strand: Strand) -> tuple[Params, Mask]:
        """The weights that a strand scores, and the mask it prunes."""
        if strand.method.after == "ticket":
            return state.tickets[strand.name]
        full = masks.full(state.init)
        if strand.method.after == "dense":
            return state.dense[strand.data], full
        return state.init, full

    def contexts(state, strand: Strand, stream: str, final, mask, batch=None) -> dict:
        """Fields of a `Context`, leaves [R, ...], to be mapped over."""
        key = score_key(state, strand) if stream == "score" else keys(state, stream)
        return {
            "key": key, "init": state.init, "start": state.init,
            "rewind_point": begin(state, strand), "final": final, "old_mask": mask,
            "mask": mask, "batch": batch,
        }  # fmt: skip

    def context(parts: dict) -> Context:
        return Context(
            model=model, prunable=prunable, jitter=jitter, loss=task.loss, **parts
        )

    @functools.partial(jax.jit, static_argnums=0)
    def find(method: Method, inverted: bool, parts: dict, counts, learned=None):
        """Masks [R, ...], and how many weights had no finite score: [R]."""

        def one(parts, learned):
            def score(context):
                if method.learns:
                    return learned
                scores = SCORES[method.score](context)
                sign = jnp.where(inverted, -1, 1)
                return jax.tree.map(lambda leaf: sign * leaf, scores)

            def measure(scores, before, after):
                del after
                if method.score not in SALIENCIES:
                    return jnp.int32(0)
                return num_broken(scores, parts["final"], before, prunable)

            groups = by_layer if method.allocation else competing
            mask, broken = pruning.prune(score, context(parts), counts, groups, measure)
            return mask, broken.max()

        return jax.vmap(one)(parts, learned)

    @jax.jit
    def beside(lane: Lane, parts: dict) -> dict[tuple[str, int], Lane]:
        """The controls of tickets, lanes [R, ...]."""

        def one(lane, parts):
            own = context(parts)._replace(mask=lane.mask, lane=lane)
            return draw_controls(own, controls)

        return jax.vmap(one)(lane, parts)

    def prepare(state: CompareState, number: int):
        """Lanes [N, ...] with their labels; those of strands [R, ...]; a table."""
        order, batches = keys(state, "order"), {}
        found, ticket_lanes, more = {}, [], []
        learned, table = {}, None
        if learning:
            score_keys = {strand: score_key(state, strand) for strand in learning}
            num_keep = {s: budget.between(s.method, number)[1] for s in learning}
            learned, table = learn(number, state.init, score_keys, order, num_keep)
        for strand in strands:
            method = strand.method
            if looks and strand.data not in batches:
                examples = datasets[strand.data].train
                batches[strand.data] = scoring_batches(
                    state.roots, examples, score_examples, replicates, state.round
                )
            final, mask = scored(state, strand)
            batch = batches.get(strand.data)
            parts = contexts(state, strand, "score", final, mask, batch)
            counts = budget.iterations(method, number, iterations, path)
            ranks = learned.get(strand.name)
            mask, broken = find(method, strand.inverted, parts, counts, ranks)
            check_scores(strand.name, number, broken)
            lane = Lane(begin(state, strand), mask, order, hypers)
            found[strand.name] = lane
            if strand in variants:
                more.append((strand.name, 0, lane))
                continue
            ticket_lanes.append((strand.name, 0, lane))
            parts = contexts(state, strand, "control", final, mask)
            drawn = beside(lane, parts)
            for control, sample in draws(controls):
                name = f"{strand.name}/{control}"
                more.append((name, sample, drawn[control, sample]))
        return join_lanes([*ticket_lanes, *more], replicates), found, table

    def dense_round(state: CompareState):
        """The dense network, and the planted ticket where there is one."""
        order, full = keys(state, "order"), masks.full(state.init)
        lanes = [("dense", 0, Lane(state.init, full, order, hypers))]
        truth = truths(state.roots)
        if truth is not None:
            mask = jax.tree.map(
                lambda leaf, whole, may: leaf if may else whole,
                truth.mask, full, prunable,
            )  # fmt: skip
            lanes.append(("planted", 0, Lane(state.init, mask, order, hypers)))
        return join_lanes(lanes, replicates)

    def step(state: CompareState) -> tuple[CompareState, RoundInfo]:
        number = int(state.round)
        dense, tickets_state, table = state.dense, state.tickets, None
        if number == 0:
            lanes, labels = dense_round(state)
            trained = runs[CLEAN](lanes, steps)
            dense = {
                data: stacks.first(
                    trained.final
                    if data == CLEAN
                    else runs[data](stacks.first(lanes, replicates), steps).final,
                    replicates,
                )
                for data in state.dense
            }
            old_mask, rewound = masks.full(state.init), state.init
            tickets_state = {
                strand.name: (dense[strand.data], old_mask)
                for strand in strands
                if strand.name in state.tickets
            }
        else:
            (lanes, labels), found, table = prepare(state, number)
            trained = runs[CLEAN](lanes, steps)
            tickets_state = {}
            for name in state.tickets:
                data = next(strand.data for strand in strands if strand.name == name)
                place = next(i for i, label in enumerate(labels) if label.lane == name)
                own = slice(place, place + replicates)
                final = stacks.take(trained.final, own)
                if data != CLEAN:
                    final = runs[data](found[name], steps).final
                tickets_state[name] = final, found[name].mask
            old_mask = stacks.concatenate([scored(state, own)[1] for own in tickets])
            rewound = stacks.concatenate([begin(state, own) for own in tickets])
        info = RoundInfo(
            round=number,
            density=budget.total(number) / budget.total(0),
            num_keep=budget.ladder[number],
            groups=competing,
            prunable=prunable,
            labels=labels,
            lanes=lanes,
            rewound=rewound,
            old_mask=old_mask,
            trained=trained,
            start=0,
            truth=truths(state.roots),
            search=table,
            untrained=table is not None,
        )
        after = state._replace(
            round=state.round + 1, dense=dense, tickets=tickets_state
        )
        return after, info

    first = len(on_dense) + (model.truth is not None)
    later = len(strands) + len(tickets) * len(draws(controls))
    later += sum(s.method.after == "ticket" and s.data != CLEAN for s in strands)
    train, learned = grid({}, 0)[-1], sum(search["steps"] for _ in learning)
    work = [train * first] + [train * later + learned] * len(densities)
    return Algorithm(init, step, budget.ladder, work)
