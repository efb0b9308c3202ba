"""Iterative magnitude pruning (Frankle & Carbin, arXiv:1803.03635, sec. 2).

1. Draw theta_0. 2. Train to theta_T. 3. Drop the lowest-scored fraction of what is
left. 4. Rewind the survivors and go on with 2. One-shot pruning is one such round.

Without `pretrain` it is pruning at initialisation: theta_0 is scored in place of
theta_T, in several iterations where scores depend on what is left (SynFlow).

Round 0 is no special case: nothing is dropped, and it starts from theta_0. The controls
train beside the ticket as lanes of the same compiled program.
"""

from collections.abc import Mapping
from typing import NamedTuple

import jax
import jax.numpy as jnp

from lottery_jax import rng, stacks
from lottery_jax.algorithms.base import (
    Algorithm,
    Grid,
    MakeRun,
    RoundInfo,
    check_scores,
    flatten_lanes,
    label_lanes,
    make_hypers,
    make_truths,
    scoring_batches,
    with_controls,
)
from lottery_jax.errors import ConfigError
from lottery_jax.tickets import masks, pruning, schedules, selection
from lottery_jax.tickets.allocation import Allocation
from lottery_jax.tickets.freezing import FREEZES
from lottery_jax.tickets.layers import layers_of
from lottery_jax.tickets.rewinding import REWINDS
from lottery_jax.tickets.saliency import SALIENCIES
from lottery_jax.tickets.scores import SCORES, num_broken, num_filled
from lottery_jax.types import Context, Key, Lane, Mask, Params, Split, Task, Trained

REWIND_POINT = "rewind_point"
"""Name of the snapshot that training takes at the rewind step."""


class ImpState(NamedTuple):
    """What the next round needs; leaves of params and masks are [R, ...].

    Attributes:
      round: number of the next round, int32 scalar.
      roots: root keys of the random streams.
      init: theta_0.
      rewind_point: theta_k (theta_0 until round 0 has been trained).
      start: what the ticket's previous training started from (theta_0 before round 0).
      final: theta_T of that training (theta_0 before round 0).
      mask: the ticket's mask there.
    """

    round: jax.Array
    roots: dict[str, Key]
    init: Params
    rewind_point: Params
    start: Params
    final: Params
    mask: Mask


def imp(
    task: Task,
    make_run: MakeRun,
    grid: Grid,
    *,
    learning_rate: float,
    replicates: int,
    controls: Mapping[str, int],
    rounds: int,
    prune_fraction: float,
    conv_prune_fraction: float | None = None,
    output_prune_fraction: float | None = None,
    scope: str = "layerwise",
    allocation: Allocation | None = None,
    score: str = "magnitude",
    rewind: str = "weights",
    rewind_step: int = 0,
    pruned: str = "zero",
    ladder: str = "geometric",
    one_shot: bool = False,
    pretrain: bool = True,
    iterations: int = 1,
    path: str = "exponential",
    score_examples: int = 100,
    retrain: bool = True,
    jitter: float = 0.1,
) -> Algorithm:
    """Builds the algorithm; the network is initialised and trained only by its steps.

    Args:
      task: the network, its loss, and data for scores that need some.
      make_run: builds the program that trains stacked lanes.
      grid: steps at which to evaluate.
      learning_rate: of every lane.
      replicates: R, independent repetitions of the whole experiment.
      controls: name in `CONTROLS` -> how many per replicate.
      rounds: rounds of pruning after the dense round 0.
      prune_fraction: of the weights left that a round drops (linear ladder: of all).
      conv_prune_fraction: the same for convolutions; None: `prune_fraction`.
      output_prune_fraction: the same for the output layer; None: half of
        `prune_fraction` layerwise, `prune_fraction` globally; 0: never pruned.
      scope: name in `SCOPES`: who competes with whom.
      allocation: how all weights kept are divided among the layers, one in
        `ALLOCATIONS` or `learned`; None: by the fractions.
      score: name in `SCORES`: what to keep.
      rewind: name in `REWINDS`: what to reset survivors to.
      rewind_step: k of theta_k, an optimizer step.
      pruned: name in `FREEZES`: what pruned weights are frozen at.
      ladder: name in `LADDERS`: how many weights to keep.
      one_shot: every round prunes the dense network of round 0, not the last ticket.
      pretrain: score trained weights; else theta_0, in every round.
      iterations: prunings of a round, with new scores after each.
      path: name in `PATHS`: how many weights each of them keeps.
      score_examples: training examples that a score in `SALIENCIES` looks at.
      retrain: train the pruned networks; else they are only evaluated, at step k.
      jitter: noise of the reinitialisation "jitter", in standard deviations.

    Raises:
      ConfigError: fractions that a global scope cannot have, an emptied layer, nothing
        to prune, more examples to score than there are.
    """
    model, examples = task.model, task.dataset.train
    sees_data = score in SALIENCIES and score != "synflow"
    if sees_data and score_examples > len(examples.x):
        problem = f"{score_examples}: the training split has {len(examples.x)}"
        raise ConfigError("algorithm.score_examples", problem)
    score_of, rewind_to = SCORES[score], REWINDS[rewind]
    layers = layers_of(model)
    prunable = layers.prunable
    fractions = layer_fractions(
        layers.names,
        default=prune_fraction,
        conv=conv_prune_fraction,
        output=output_prune_fraction,
        scope=scope,
    )
    competing = [name for name, fraction in fractions.items() if fraction > 0]
    if not competing:
        raise ConfigError("model.name", "this network has no leaf that is pruned")
    # What is never pruned counts as well: density is of all prunable weights.
    whole = [name for name in fractions if name not in competing]
    groups = selection.SCOPES[scope](competing) | selection.layerwise(whole)
    if allocation is None:
        sizes = layers.sizes
        rungs = schedules.LADDERS[ladder](
            {group: sum(sizes[n] for n in names) for group, names in groups.items()},
            {group: fractions[names[0]] for group, names in groups.items()},
            rounds,
        )
    else:
        order = masks.in_order(fractions, model)
        kernels = {name: layers.shapes[name] for name in order}
        rungs = schedules.allocated(kernels, allocation, prune_fraction, rounds)
    for rung in rungs:
        for group, names in groups.items():
            depth = sum(len(layers.shapes[name]) > 1 for name in names)
            if rung[group] < depth:
                problem = f"{rung[group]} weights of {depth} layers: one would be empty"
                raise ConfigError("algorithm.rounds", f"{problem}; take fewer rounds")
    labels = label_lanes(controls, replicates)
    truths = make_truths(model, replicates)

    snapshots = {REWIND_POINT: rewind_step}
    zero = pruned == "zero"
    run = make_run(snapshots=snapshots, sparse=zero, keep_pruned=not zero)

    @jax.jit
    def draw(roots) -> tuple[Params, Mask]:
        def one(replicate):
            params, _ = model.init(rng.stream(roots, "init", replicate))
            return params, masks.full(params)

        return jax.vmap(one)(jnp.arange(replicates))

    def init(roots) -> ImpState:
        theta, mask = draw(roots)
        state = ImpState(jnp.int32(0), roots, theta, theta, theta, theta, mask)
        # Committed to a device like all that training returns, or round 1 recompiles.
        return jax.device_put(state, jax.local_devices()[0])

    def batches_of(state: ImpState) -> Split | None:
        """Examples for the score, leaves [R, examples, ...]."""
        if score not in SALIENCIES:
            return None
        num = score_examples if sees_data else 1
        return scoring_batches(state.roots, examples, num, replicates, state.round)

    @jax.jit
    def prepare(
        state: ImpState, counts, hypers, batches
    ) -> tuple[Lane, jax.Array, jax.Array]:
        """Scores, selects, rewinds and adds the controls: lanes [N, ...].

        Beside them, [R] each: how many weights of each mask a variant by sign filled up
        with, and the most that had no finite score in an iteration.
        """

        def one(replicate, init, rewind_point, begin, final, old_mask, batch):
            def key(name):
                return rng.stream(state.roots, name, replicate, state.round)

            context = Context(
                key=key("score"),
                model=model,
                prunable=prunable,
                init=init,
                rewind_point=rewind_point,
                start=begin,
                final=final,
                old_mask=old_mask,
                mask=old_mask,
                jitter=jitter,
                batch=batch,
                loss=task.loss,
            )

            def measure(scores, before, after):
                looks = score in SALIENCIES
                broken = looks and num_broken(scores, final, before, prunable)
                return num_filled(scores, after), jnp.int32(broken)

            mask, (filled, broken) = pruning.prune(
                score_of, context, counts, groups, measure
            )
            context = context._replace(key=key("rewind"), mask=mask)
            params = jax.tree.map(
                lambda theta, rewound: jnp.where(state.round == 0, theta, rewound),
                init,
                rewind_to.params(context),
            )
            if pruned != "zero":
                context = context._replace(key=key("freeze"))
                frozen = FREEZES[pruned](context)
                params = jax.tree.map(jnp.where, mask, params, frozen)
            ticket = Lane(params, mask, key("order"), hypers)
            context = context._replace(key=key("control"), lane=ticket)
            return with_controls(context, controls), filled[-1], broken.max()

        lanes, filled, broken = jax.vmap(one, out_axes=(1, 0, 0))(
            jnp.arange(replicates),
            state.init,
            state.rewind_point,
            state.start,
            state.final,
            state.mask,
            batches,
        )
        return flatten_lanes(lanes), filled, broken

    @jax.jit
    def advance(state: ImpState, lanes: Lane, trained: Trained) -> ImpState:
        """The next state; the ticket's lanes stand first on the lane axis."""
        start, mask, final, reached = stacks.first(
            (lanes.params, lanes.mask, trained.final, trained.snapshots[REWIND_POINT]),
            replicates,
        )

        if not pretrain:
            start = final = state.init

        def of_round_0(new, old):
            return jax.tree.map(
                lambda new, old: jnp.where(state.round == 0, new, old), new, old
            )

        if one_shot:  # the dense network is what every round prunes
            start, mask, final = of_round_0(
                (start, mask, final), (state.start, state.mask, state.final)
            )
        return ImpState(
            state.round + 1,
            state.roots,
            state.init,
            of_round_0(reached, state.rewind_point),
            start,
            final,
            mask,
        )

    def step(state: ImpState) -> tuple[ImpState, RoundInfo]:
        number = int(state.round)
        start = 0 if number == 0 or rewind_to.restart else rewind_step
        steps = grid(snapshots, start)
        if number > 0 and not retrain:
            steps = [start] * len(steps)
        frozen = number > 0 and rewind_to.freeze_schedule
        hypers = make_hypers(learning_rate, steps[-1] if frozen else 0)
        before = rungs[0 if one_shot else max(number - 1, 0)]
        way = schedules.within(before, rungs[number], iterations, path)
        counts = {group: jnp.array([keep[group] for keep in way]) for group in groups}
        lanes, filled, broken = prepare(state, counts, hypers, batches_of(state))
        if number > 0 or not pretrain:
            check_scores(score, number, broken)
        trained = run(lanes, jnp.array(steps))

        info = RoundInfo(
            round=number,
            density=sum(rungs[number].values()) / sum(rungs[0].values()),
            num_keep=rungs[number],
            groups=groups,
            prunable=prunable,
            labels=labels,
            lanes=lanes,
            rewound=state._asdict().get(rewind_to.survivors),
            old_mask=state.mask,
            trained=trained,
            start=start,
            keeps_pruned=pruned != "zero",
            trained_before=(state.start, state.final) if number and pretrain else None,
            filled=filled,
            truth=truths(state.roots),
        )
        return advance(state, lanes, trained), info

    full, before = grid({}, 0)[-1], 0 if rewind_to.restart else rewind_step
    work = [full] + [(full - before) * retrain] * (len(rungs) - 1)
    return Algorithm(init, step, rungs, work)


def layer_fractions(
    names: list[str],
    *,
    default: float,
    conv: float | None,
    output: float | None,
    scope: str,
) -> dict[str, float]:
    """Fraction to drop per round for every prunable leaf.

    Layers are told by the first part of their path: "conv_0/kernel", "output/kernel".
    """
    if scope == "global":
        for field, value in [("conv", conv), ("output", output)]:
            if value not in (None, 0.0, default):
                raise ConfigError(
                    f"algorithm.{field}_prune_fraction",
                    f"{value}: layers compete globally, so it is prune_fraction "
                    f"({default}), or 0 to leave this kind of layer whole",
                )
    half = default if scope == "global" else default / 2
    kinds = {
        "conv": default if conv is None else conv,
        "output": half if output is None else output,
    }
    found = {name: masks.layer_kind(name) for name in names}
    for kind, value in [("conv", conv), ("output", output)]:
        if value is not None and kind not in found.values():
            field = f"algorithm.{kind}_prune_fraction"
            raise ConfigError(field, f"{value}: no layer is named {kind}")
    return {name: kinds.get(kind, default) for name, kind in found.items()}
