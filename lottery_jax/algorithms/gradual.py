"""Pruning while training, and whether a lottery ticket would have done as well.

A network is pruned within one training, by magnitude, on a polynomial schedule (Zhu &
Gupta, arXiv:1710.01878). The mask it ends with is a ticket: theta_0 under that mask,
trained alone, with a fresh draw beside it (the experiment of Havinga & Sawhney,
Theys96/lottery-ticket-hypothesis, on LeNet-5). Rounds differ in the final density;
round 0 is dense.

All lanes train for as many steps. The published comparison did not: its dense network
and its tickets were stopped by patience, each on another quantity, its pruned network
never. What it would have reported is read off the same curves, see `patience`.
"""

from collections.abc import Mapping
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import optax

from lottery_jax import rng, stacks
from lottery_jax.algorithms.base import (
    Algorithm,
    Grid,
    Label,
    MakeRun,
    RoundInfo,
    RoundState,
    flatten_lanes,
    label_lanes,
    make_hypers,
    with_controls,
)
from lottery_jax.errors import ConfigError, nearest
from lottery_jax.tickets import masks, schedules, selection
from lottery_jax.tickets.layers import layers_of
from lottery_jax.tickets.selection import Groups
from lottery_jax.types import Context, Key, Lane, Mask, Params, Task, Trained

LANE = "gradual"
"""The lane of the network that is pruned while it trains, from round 1 on."""

MONITORED = {"ticket": "train", "dense": "validation", LANE: None}
"""The split on which the published comparison stopped a lane; controls as the ticket.
Its validation split was the test split; here it is held out."""


class PruneState(NamedTuple):
    """State of `prune_gradually`.

    Attributes:
      count: steps done, int32 scalar.
      mask: what is kept now.
    """

    count: jax.Array
    mask: Mask


def prune_gradually(
    num_keep: Mapping[str, jax.Array], at: tuple[int, ...], groups: Groups
) -> optax.GradientTransformation:
    """Last link of an optimizer chain: prunes by magnitude after certain steps.

    What is pruned stays at zero; weights never return, as they may in the published
    code, where a threshold on all weights makes every new mask.

    Args:
      num_keep: group -> weights to keep after each of those steps, int32 [U].
      at: U steps, rising.
      groups: who competes with whom.
    """
    when = jnp.array(at)

    def init(params):
        return PruneState(jnp.int32(0), masks.full(params))

    def update(updates, state, params):
        count = state.count + 1

        def prune(mask):
            stepped = optax.apply_updates(params, updates)
            number = jnp.searchsorted(when, count)
            keep = {group: counts[number] for group, counts in num_keep.items()}
            return selection.select(jax.tree.map(jnp.abs, stepped), mask, keep, groups)

        mask = jax.lax.cond(
            jnp.any(when == count), prune, lambda mask: mask, state.mask
        )
        updates = jax.tree.map(
            lambda update, weight, kept: jnp.where(kept, update, -weight),
            updates, params, mask,
        )  # fmt: skip
        return updates, PruneState(count, mask)

    return optax.GradientTransformation(init, update)


def gradual(
    task: Task,
    make_run: MakeRun,
    grid: Grid,
    *,
    learning_rate: float,
    replicates: int,
    controls: Mapping[str, int],
    densities: tuple[float, ...],
    whole: tuple[str, ...] = (),
    begin: float = 0.2,
    end: float = 0.6,
    updates: int = 20,
    power: int = 3,
    patience: int | None = None,
    jitter: float = 0.1,
) -> Algorithm:
    """Builds the algorithm.

    Args:
      task: the network.
      make_run: builds the program that trains stacked lanes.
      grid: steps at which to evaluate.
      learning_rate: of every lane.
      replicates: R, independent repetitions.
      controls: name in `CONTROLS` -> how many per replicate, beside the ticket.
      densities: kept fraction of every pruned layer at the end, one per round.
      whole: kinds of layers that are not pruned, "conv" or "output": the first part
        of their names.
      begin, end: parts of the training at which pruning begins and ends.
      updates: how often the mask changes.
      power: of the polynomial schedule.
      patience: evaluations without improvement after which the published comparison
        stops, for the columns `reported_step` and `reported_test_accuracy`; None: no
        such columns. Needs the test split in every evaluation.
      jitter: noise of the reinitialisation "jitter", in standard deviations.

    Raises:
      ConfigError: an emptied layer, nothing that is pruned, a kind there is not, more
        updates than steps.
    """
    model = task.model
    layers = layers_of(model)
    prunable, names, sizes = layers.prunable, layers.names, layers.sizes
    kinds = {name: masks.layer_kind(name) for name in names}
    for kind in whole:
        if kind not in kinds.values():
            problem = f"no layer {kind!r}; {nearest(kind, set(kinds.values()))}"
            raise ConfigError("algorithm.whole", problem)
    if all(kind in whole for kind in kinds.values()):
        raise ConfigError("algorithm.whole", f"{whole}: nothing is left to prune")
    groups = selection.layerwise(names)
    plans = [
        schedules.polynomial(
            sizes,
            {name: 1 if kinds[name] in whole else density for name in names},
            updates,
            power,
        )
        for density in (1, *densities)
    ]
    for density, plan in zip(densities, plans[1:], strict=True):
        if plan[-1] == sizes:
            problem = f"{density}: layers this small would keep all weights"
            raise ConfigError("algorithm.densities", problem)
    steps = grid({}, 0)[-1]
    first, last = round(begin * steps), round(end * steps)
    if last - first < updates:
        problem = f"{updates} in steps {first} to {last}: more than there are"
        raise ConfigError("algorithm.updates", problem)
    at = tuple(first + (last - first) * i // updates for i in range(updates + 1))
    if patience is not None and patience >= len(grid({}, 0)) - 1:
        problem = f"{patience}: there are {len(grid({}, 0)) - 1} evaluations in all"
        raise ConfigError("algorithm.patience", problem)
    labels = label_lanes(controls, replicates)
    pruned_labels = [Label(LANE, 0, replicate) for replicate in range(replicates)]

    special = {"train_metrics": patience is not None}
    run = make_run(**special)
    run_pruned = make_run(
        name=LANE,
        sparse=False,
        link=lambda lane: prune_gradually(lane.hypers["num_keep"], at, groups),
        best_from=last,
        **special,
    )
    hypers = make_hypers(learning_rate)

    def init(roots) -> RoundState:
        return RoundState(jnp.int32(0), roots)

    @jax.jit
    def start(state: RoundState) -> tuple[Params, Mask]:
        """theta_0 and the mask that keeps all of it, leaves [R, ...].

        Drawn in one place: another program may draw other bits.
        """

        def one(replicate):
            return model.init(rng.stream(state.roots, "init", replicate))[0]

        params = jax.vmap(one)(jnp.arange(replicates))
        return params, masks.full(params)

    def order(state: RoundState, replicate) -> Key:
        return rng.stream(state.roots, "order", replicate, state.round)

    @jax.jit
    def prepare_pruned(state: RoundState, theta: Params, num_keep) -> Lane:
        """The networks that are pruned while they train: lanes [R, ...]."""

        def one(replicate, params):
            own = hypers | {"num_keep": num_keep}
            return Lane(params, masks.full(params), order(state, replicate), own)

        return jax.vmap(one)(jnp.arange(replicates), theta)

    @jax.jit
    def prepare(state: RoundState, theta: Params, final: Params, num_keep) -> Lane:
        """The tickets found in `final` [R, ...] and their controls: lanes [N, ...]."""

        def one(replicate, params, final):
            everything = masks.full(params)
            size = jax.tree.map(jnp.abs, final)
            mask = selection.select(size, everything, num_keep, groups)
            context = Context(
                key=rng.stream(state.roots, "control", replicate, state.round),
                model=model, prunable=prunable, init=params, rewind_point=params,
                start=params, final=final, old_mask=everything, mask=mask,
                jitter=jitter, lane=Lane(params, mask, order(state, replicate), hypers),
            )  # fmt: skip
            return with_controls(context, controls)

        lanes = jax.vmap(one, out_axes=1)(jnp.arange(replicates), theta, final)
        return flatten_lanes(lanes)

    def step(state: RoundState) -> tuple[RoundState, RoundInfo]:
        number = int(state.round)
        plan, evaluations = plans[number], jnp.array(grid({}, 0))
        theta, everything = start(state)
        pruning = prepare_pruned(
            state,
            theta,
            {name: jnp.array([keep[name] for keep in plan]) for name in names},
        )
        final = pruning.params
        if number:
            pruned = run_pruned(pruning, evaluations)
            final = pruned.final
        lanes = prepare(state, theta, final, plan[-1])
        found, told, trained = lanes.mask, labels, run(lanes, evaluations)
        if number:
            own = stacks.first(lanes.mask, replicates)
            pruning = pruning._replace(hypers=stacks.first(lanes.hypers, replicates))
            lanes, trained, found = stacks.concatenate(
                [(lanes, trained, found), (pruning, pruned, own)]
            )
            told = labels + pruned_labels
        if patience is not None:
            reported = as_published(trained, told, patience, number == 0)
            trained = trained._replace(summary=trained.summary | reported)
        info = RoundInfo(
            round=number,
            density=sum(plan[-1].values()) / sum(sizes.values()),
            num_keep=plan[-1],
            groups=groups,
            prunable=prunable,
            labels=told,
            lanes=lanes,
            rewound=theta,
            old_mask=everything,
            trained=trained,
            start=0,
            found_mask=found,
        )
        return state._replace(round=state.round + 1), info

    work = [len(labels)] + [len(labels) + replicates] * len(densities)
    return Algorithm(init, step, [plan[-1] for plan in plans], work)


def as_published(
    trained: Trained, labels: list[Label], patience: int, dense: bool
) -> dict[str, np.ndarray]:
    """What stopping by patience would have reported: columns [N].

    Training is the same up to where it would have stopped, and the last weights are
    those that the published comparison tests.
    """
    history = jax.device_get(trained.history)
    metric, sign = ("accuracy", 1) if "test_accuracy" in history else ("loss", -1)
    stops = []
    for lane, label in enumerate(labels):
        split = MONITORED.get("dense" if dense else label.lane, MONITORED["ticket"])
        if split is None:
            stops.append(len(history["step"][lane]) - 1)
            continue
        values = sign * history[f"{split}_{metric}"][lane]
        stops.append(1 + stop(values[1:], patience))  # the first: before training
    lanes = range(len(labels))
    return {
        "reported_step": history["step"][lanes, stops],
        f"reported_test_{metric}": history[f"test_{metric}"][lanes, stops],
    }


def stop(values: np.ndarray, patience: int) -> int:
    """Where training stops that waits so many evaluations for a higher value.

    Args:
      values: one per evaluation [T].
      patience: evaluations in a row that may pass without improvement.

    Returns:
      Index of the last evaluation; T - 1 where it never stops.
    """
    best, since = -np.inf, 0
    for index, value in enumerate(values):
        since = 0 if value > best else since + 1
        best = max(best, value)
        if since >= patience:
            return index
    return len(values) - 1
