"""A ticket that was searched for, beside others of as many weights.

The density of an evolved ticket is known when it is found, and every replicate has its
own. So the comparison comes after the search: a round that trains the dense network, a
round for every level of iterative magnitude pruning from there down to the ticket's
number of weights, and with the last level all others: the ticket and its controls;
`random_ticket`, a random mask with the ticket's counts per layer on fresh weights;
`scaled_random_ticket`, such a mask on weights drawn from those that the ticket keeps in
the layer; and `one_shot`, the dense network pruned at once.
"""

from collections.abc import Callable, Mapping
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from lottery_jax import rng, stacks
from lottery_jax.algorithms.base import (
    Grid,
    RoundInfo,
    control_key,
    draw_controls,
    draws,
    join_lanes,
    make_hypers,
)
from lottery_jax.algorithms.breeding import Genome
from lottery_jax.tickets import masks, schedules, selection
from lottery_jax.tickets.controls import CONTROLS
from lottery_jax.tickets.layers import layers_of
from lottery_jax.tickets.reinitialization import REINITS
from lottery_jax.training.lanes import Run
from lottery_jax.types import Context, Key, Lane, Mask, Model, Params

DRAWN = {
    "random_ticket": REINITS["reinit"],
    "scaled_random_ticket": REINITS["resample"],
}
"""Lanes with a random mask -> what draws their weights."""

BESIDE = (*DRAWN, "imp", "one_shot")
"""What stands beside the ticket and its controls in the last round."""


class MatchedState(NamedTuple):
    """What the next level needs; leaves are [R, ...].

    Attributes:
      dense: weights of the dense network after training.
      pruned: weights after training, and mask, of the last level.
      ticket: weights of the ticket after training, when it has been.
    """

    dense: Params
    pruned: Genome
    ticket: Params


class Matched(NamedTuple):
    """A comparison.

    Attributes:
      init: `init() -> state`.
      step: `step(roots, state, tickets, level) -> (state, info)`; level 0 is dense.
      work: optimizer steps of a replicate, by level.
    """

    init: Callable[[], MatchedState]
    step: Callable[..., tuple[MatchedState, RoundInfo]]
    work: list[int]


def matched(
    model: Model,
    run: Run,
    grid: Grid,
    *,
    learning_rate: float,
    replicates: int,
    controls: Mapping[str, int],
    levels: int,
    jitter: float,
) -> Matched:
    """Builds the comparison.

    Args:
      model: its `init` draws the weights of the dense network and of what is drawn.
      run: trains stacked lanes.
      grid: steps at which to evaluate.
      learning_rate: of all lanes.
      replicates: R.
      controls: name in `CONTROLS` -> how many of the ticket per replicate.
      levels: of iterative pruning.
      jitter: noise of the reinitialisation "jitter", in standard deviations.
    """
    layers = layers_of(model)
    prunable, size = layers.prunable, layers.num
    groups = selection.globally(layers.names)
    steps = jnp.array(grid({}, 0))
    hypers = make_hypers(learning_rate, num=replicates)

    def init() -> MatchedState:
        theta = jax.tree.map(
            lambda leaf: jnp.zeros((replicates, *leaf.shape), leaf.dtype), layers.params
        )
        return MatchedState(theta, Genome(theta, masks.full(theta)), theta)

    @jax.jit
    def draw(roots) -> tuple[Params, Key, Key]:
        """theta_0, keys of the order of the data and of what is drawn: [R, ...]."""

        def one(replicate):
            def key(name):
                return rng.stream(roots, name, replicate)

            return model.init(key("init"))[0], key("order"), key("control")

        return jax.vmap(one)(jnp.arange(replicates))

    @jax.jit
    def largest(pruned: Genome, num: jax.Array) -> Mask:
        """Of each replicate so many [R] weights, those of largest size."""

        def one(weights, mask, num):
            scores = jax.tree.map(jnp.abs, weights)
            return selection.select(scores, mask, {"all": num}, groups)

        return jax.vmap(one)(*pruned, num)

    @jax.jit
    def beside(ticket: Lane, theta: Params, keys: Key) -> tuple[dict, dict]:
        """What is drawn, and the controls, lanes [R, ...] each."""

        def one(lane, theta, key):
            context = Context(
                key=key, model=model, prunable=prunable, init=theta,
                rewind_point=lane.params, start=lane.params, final=lane.params,
                old_mask=lane.mask, mask=lane.mask, jitter=jitter, lane=lane,
            )  # fmt: skip
            drawn = {}
            for name, draw in DRAWN.items():
                mask_key, weights_key = jax.random.split(control_key(key, name, 0))
                own = lane._replace(params=draw(context._replace(key=weights_key)))
                own = context._replace(key=mask_key, lane=own)
                drawn[name] = CONTROLS["random"](own)
            return drawn, draw_controls(context, controls)

        return jax.vmap(one)(ticket, theta, keys)

    def num_to_keep(tickets: Genome, level: int) -> np.ndarray:
        """Weights [R] of a level, on the way from all to those of the ticket."""
        ends = jax.vmap(lambda mask: sum(masks.num_kept(mask, prunable).values()))(
            tickets.mask
        )
        ways = (
            schedules.within({"all": size}, {"all": int(end)}, levels, "exponential")
            for end in ends
        )
        return np.array([way[level - 1]["all"] for way in ways])

    def step(
        roots, state: MatchedState, tickets: Genome, level: int
    ) -> tuple[MatchedState, RoundInfo]:
        theta, order, keys = draw(roots)
        full, num = masks.full(theta), np.full(replicates, size)
        rows, own = {"dense": Lane(theta, full, order, hypers)}, {}
        if level:
            num = num_to_keep(tickets, level)
            rows = {"imp": Lane(theta, largest(state.pruned, num), order, hypers)}
        if level == levels:
            ticket = Lane(*tickets, order, hypers)
            drawn, own = beside(ticket, theta, keys)
            at_once = largest(Genome(state.dense, full), num)
            one_shot = Lane(theta, at_once, order, hypers)
            rows = {"ticket": ticket, **drawn, **rows, "one_shot": one_shot}
        # Apart from the lanes that it certifies; of what is drawn there is no other.
        origin = {"ticket": tickets.weights, "dense": theta}
        origin |= {"imp": theta, "one_shot": theta}
        rewound = stacks.concatenate(
            [origin.get(name, lane.params) for name, lane in rows.items()]
        )
        old = [state.pruned.mask if name == "imp" else full for name in rows]
        every = [(name, 0, lane) for name, lane in rows.items()]
        every += [(*which, own[which]) for which in draws(controls) if which in own]
        lanes, labels = join_lanes(every, replicates)
        trained = run(lanes, steps)

        def final(name):
            first = list(rows).index(name) * replicates
            own = slice(first, first + replicates)
            return stacks.take(trained.final, own)

        if level:
            after = state._replace(pruned=Genome(final("imp"), rows["imp"].mask))
        else:
            dense = final("dense")
            after = state._replace(dense=dense, pruned=Genome(dense, full))
        if level == levels:
            after = after._replace(ticket=final("ticket"))
        info = RoundInfo(
            round=level, density=float(num.mean() / size),
            num_keep={"all": np.tile(num, len(labels) // replicates)}, groups=groups,
            prunable=prunable, labels=labels, lanes=lanes, rewound=rewound,
            old_mask=stacks.concatenate(old), trained=trained, start=0,
        )  # fmt: skip
        return after, info

    in_last = 1 + len(BESIDE) + len(draws(controls))
    work = [grid({}, 0)[-1] * lanes for lanes in [1] * levels + [in_last]]
    return Matched(init, step, work)
