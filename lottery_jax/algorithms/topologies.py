"""Sparse topologies side by side: which one is best at equal parameters.

Every hidden layer is a cascade of sparse stages (NeuroFabric, arXiv:2002.08339; an open
comparison, since neither its text nor its code is public). Round 0 trains the dense
network; each later round has a degree d, and all topologies that there are of this
degree, with as many weights. Nothing is pruned: masks are known before any weight.
"""

from collections.abc import Mapping, Sequence

import jax
import jax.numpy as jnp
import numpy as np

from lottery_jax import rng, stacks
from lottery_jax.algorithms.base import (
    Algorithm,
    Grid,
    Label,
    MakeRun,
    RoundInfo,
    RoundState,
    control_key,
    make_hypers,
)
from lottery_jax.errors import ConfigError
from lottery_jax.models.cascade import Layout, layout, stage_paths, with_stages
from lottery_jax.tickets import masks, topology
from lottery_jax.tickets.layers import layers_of
from lottery_jax.types import Lane, Task

DENSE = "dense"
"""The lane of round 0, all weights of the network."""

DENSE_INIT = "dense_init"
"""The control that starts from the law of the dense network."""


def topologies(
    task: Task,
    make_run: MakeRun,
    grid: Grid,
    *,
    learning_rate: float,
    replicates: int,
    controls: Mapping[str, int],
    topologies: Sequence[str] = ("butterfly", "random_regular", "random"),
    degrees: Sequence[int] = (2, 4, 8),
    law: str = "sparse_xavier",
    dense_init: bool = True,
) -> Algorithm:
    """Builds the algorithm.

    Args:
      task: the network, a `cascade`.
      make_run: builds the program that trains stacked lanes.
      grid: steps at which to evaluate.
      learning_rate: of every lane.
      replicates: R, independent repetitions, each with random topologies of its own.
      controls: none; `dense_init` is the one there is.
      topologies: names in `TOPOLOGIES`; each is in the rounds of the degrees it has.
      degrees: weights of a node in every stage, one per round after round 0.
      law: name in `LAWS`: how the weights of stages are drawn, counted on the mask.
      dense_init: beside every topology a lane "NAME/dense_init" with its mask on the
        weights that the network's own initialiser drew for dense stages.

    Raises:
      ConfigError: another network; a width that a topology cannot have, or none of the
        degrees; a degree that none of them has.
    """
    del controls
    model = task.model
    layers = layers_of(model)
    sizes = layout(layers.params)
    present = of_degrees(topologies, degrees, sizes)
    run = make_run()

    stages = stage_paths(sizes)
    others = [name for name in layers.names if not name.startswith("cascade_")]
    groups = stages | {name: (name,) for name in others}
    weights = layers.sizes
    whole = {group: sum(weights[n] for n in own) for group, own in groups.items()}
    rungs = [whole] + [
        whole | dict.fromkeys(stages, sizes.nodes * degree) for degree in degrees
    ]
    hypers = make_hypers(learning_rate)

    def init(roots) -> RoundState:
        return RoundState(jnp.int32(0), roots)

    def supports(state: RoundState) -> np.ndarray:
        """Of the tickets of a round: bool [topologies, R, C, P, S, N, N]."""
        number = int(state.round)
        chosen = present[number - 1] if number else [DENSE]
        shape = (len(chosen), replicates, *sizes, sizes.nodes)
        if not number:
            return np.ones(shape, bool)
        found = np.zeros(shape, bool)
        for place, replicate, layer in np.ndindex(shape[:3]):
            key = rng.stream(state.roots, "control", replicate, number)
            key = control_key(key, chosen[place], layer)
            own = topology.TOPOLOGIES[chosen[place]].supports(
                sizes.nodes,
                sizes.stages,
                degrees[number - 1],
                np.random.default_rng(np.asarray(jax.random.key_data(key))),
            )
            found[place, replicate, layer, : len(own)] = own
        return found

    @jax.jit
    def prepare(state: RoundState, places) -> Lane:
        """Lanes [kinds of weights, topologies, R, ...]; sparse weights stand first."""

        def one(replicate, places):
            key = rng.stream(state.roots, "init", replicate)
            theta, _ = model.init(key)
            kernels = [
                topology.draw(
                    control_key(key, "cascade", number), own, topology.LAWS[law]
                )
                for number, own in enumerate(places)
            ]
            mask = with_stages(masks.full(theta), places)
            order = rng.stream(state.roots, "order", replicate, state.round)
            return stacks.stack(
                [
                    Lane(params, mask, order, hypers)
                    for params in (with_stages(theta, kernels), theta)
                ]
            )

        over_replicates = jax.vmap(one, out_axes=1)
        return jax.vmap(over_replicates, (None, 0), out_axes=1)(
            jnp.arange(replicates), places
        )

    def step(state: RoundState) -> tuple[RoundState, RoundInfo]:
        number = int(state.round)
        chosen = present[number - 1] if number else [DENSE]
        controlled = dense_init and number > 0
        told = [*chosen, *(f"{name}/{DENSE_INIT}" for name in chosen if controlled)]
        labels = [Label(name, 0, r) for name in told for r in range(replicates)]
        places = supports(state)
        lanes = prepare(state, places)
        lanes = jax.tree.map(
            lambda leaf: leaf.reshape(-1, *leaf.shape[3:])[: len(labels)], lanes
        )
        trained = run(lanes, jnp.array(grid({}, 0)))
        least, most = path_counts(places)
        both = 2 if controlled else 1
        paths = {"least_paths": np.tile(least, both), "most_paths": np.tile(most, both)}
        tickets = len(chosen) * replicates
        info = RoundInfo(
            round=number,
            density=sum(rungs[number].values()) / sum(whole.values()),
            num_keep=rungs[number],
            groups=groups,
            prunable=layers.prunable,
            labels=labels,
            lanes=lanes,
            rewound=None,
            old_mask=jax.tree.map(
                lambda leaf: jnp.ones((tickets, *leaf.shape), bool), layers.params
            ),
            trained=trained._replace(summary=trained.summary | paths),
            start=0,
        )
        return state._replace(round=state.round + 1), info

    work = [1] + [len(chosen) * (1 + dense_init) for chosen in present]
    return Algorithm(init, step, rungs, work)


def of_degrees(
    names: Sequence[str], degrees: Sequence[int], sizes: Layout
) -> list[list[str]]:
    """Which of the topologies there are of each degree.

    Raises:
      ConfigError: a topology of none of the degrees, a degree of no topology.
    """
    has = {}
    for name in names:
        has[name] = topology.TOPOLOGIES[name].degrees(sizes.nodes, sizes.branches)
        if not set(has[name]) & set(degrees):
            there = ", ".join(map(str, has[name])) or "none"
            problem = f"{name} of {sizes.nodes} nodes and model.branches="
            problem += f"{sizes.branches} has degrees {there}; and asked for are"
            raise ConfigError("algorithm.topologies", f"{problem} {degrees}")
    found = [[name for name in names if degree in has[name]] for degree in degrees]
    for degree, own in zip(degrees, found, strict=True):
        if not own:
            problem = f"{degree}: none of {', '.join(names)} has it"
            raise ConfigError("algorithm.degrees", problem)
    return found


def path_counts(supports: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Least and most paths between two nodes over the cascades of each network.

    Args:
      supports: bool [topologies, R, C, P, S, N, N].

    Returns:
      Two arrays [topologies R], in the order of the lanes.
    """
    counts = [
        [topology.count_paths(own) for own in network]
        for network in supports.reshape(-1, *supports.shape[2:])
    ]
    return np.min(counts, (1, 2, 3)), np.max(counts, (1, 2, 3))
