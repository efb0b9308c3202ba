"""Neuroevolutionary ticket search (NeTS): weights and masks evolve together.

A. Jackson et al., "Neuroevolutionary Ticket Search: Finding Sparse, Trainable DNN
Initialisations" (Sparse Neural Networks workshop, ICLR 2023). A candidate has weights
and a mask; its fitness is its loss after a short training, which is then forgotten, and
a penalty on its density. Every generation keeps the best and breeds the rest; a round
is a generation, and all children of all replicates are lanes of one program.

After the search the best candidate of each replicate is trained in full, beside others
of as many weights (`matched.py`).

The published code differs: it selects the worst as parents, draws the weights and the
mask of a child apart, scales noise twice, means the densities of layers, and forgets
the last generation. The preset `compat` of configs/nets.py does as it did, but for
validation losses, which are means over examples and not over batches.
"""

from collections.abc import Mapping
from typing import Any, NamedTuple

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
    make_hypers,
)
from lottery_jax.algorithms.breeding import Genome, Settings, make_breeding
from lottery_jax.algorithms.matched import MatchedState, matched
from lottery_jax.errors import ConfigError
from lottery_jax.tickets import genetics, masks
from lottery_jax.tickets.layers import layers_of
from lottery_jax.training import fitness as fitnesses
from lottery_jax.types import Key, Lane, Mask, Params, Task, Trained


class NetsState(NamedTuple):
    """What the next round needs; leaves of genomes are [R, P, ...].

    Attributes:
      round: number of the next round, int32 scalar.
      roots: root keys of the random streams.
      genomes: the population.
      measured: column -> [R, P], `fitness` among them.
      best: the best candidate so far, leaves [R, ...].
      found: column -> [R], of the best candidate so far.
      waited: generations [R] since it was found.
      stopped: whether [R] the search has ended.
      matched: of the rounds after the search.
    """

    round: jax.Array
    roots: dict[str, Key]
    genomes: Genome
    measured: dict[str, jax.Array]
    best: Genome
    found: dict[str, jax.Array]
    waited: jax.Array
    stopped: jax.Array
    matched: MatchedState


def nets(
    task: Task,
    make_run: MakeRun,
    grid: Grid,
    *,
    learning_rate: float,
    replicates: int,
    controls: Mapping[str, int],
    search: Mapping[str, Any],
    generations: int = 25,
    term: str = "validation_loss",
    trains: bool = True,
    density: str = "global",
    penalty: str = "quadratic",
    penalty_weight: float = 1.0,
    target_density: float = 0.2,
    patience: int | None = None,
    target_fitness: float | None = None,
    forget_last: bool = False,
    imp_rounds: int = 7,
    jitter: float = 0.1,
    **settings,
) -> Algorithm:
    """Builds the algorithm; round g is generation g, up to `generations`.

    Args:
      task: the network, without state; data; loss.
      make_run: builds the programs that train stacked lanes.
      grid: steps at which to evaluate.
      learning_rate: of the lanes that are trained in full.
      replicates: R, independent searches.
      controls: name in `CONTROLS` -> how many of the ticket per replicate.
      search: how a candidate is trained; its `learning_rate`.
      generations: number of the last generation; the first is 0.
      term: name in `TERMS`.
      trains: candidates are trained before they are measured.
      density: name in `DENSITIES`, of the penalty.
      penalty: name in `PENALTIES`.
      penalty_weight: factor on it.
      target_density: where it is 0.
      patience: the search of a replicate ends when its best has not changed for more
        generations than these; None: never before the last.
      target_fitness: it ends when its best is as good; None: it does not.
      forget_last: the best of the last generation does not count.
      imp_rounds: levels of iterative pruning down to the density of the ticket.
      jitter: noise of the reinitialisation "jitter", in standard deviations.
      **settings: fields of `breeding.Settings`.

    Raises:
      ConfigError: a target density at which some layer would be empty; errors of data
        without classes.
    """
    settings = Settings(**settings)
    model, breeding = task.model, make_breeding(task.model, settings)
    layers = layers_of(model)
    prunable, depth = layers.prunable, len(layers.names)
    if round(target_density * layers.num) < depth:
        problem = f"{target_density}: of {layers.num} weights in {depth} layers that "
        problem = f"{problem}leaves some layer none; no such candidate computes"
        raise ConfigError("algorithm.target_density", problem)
    wanted = fitnesses.TERMS[term]
    if term == "validation_error" and "accuracy" not in task.metrics:
        problem = f"{term}: {task.dataset.name} has no classes to be right about"
        raise ConfigError("algorithm.term", problem)
    measure = make_run(
        fitnesses.with_tiny_products(model, search["batch_size"]), "search ",
        make_train=fitnesses.make_train, group="algorithm.search",
        sparse=True, repeats=generations, trained=trains, splits=wanted.splits,
    )  # fmt: skip
    numbers = jnp.arange(replicates)
    columns = ["last_batch_loss"] * trains + [
        f"{split}_{name}" for split in wanted.splits for name in ("loss", *task.metrics)
    ]
    columns = [*columns, "density", "penalty", "fitness"]

    compare = matched(
        model._replace(init=lambda key: (breeding.draw(key), {})), make_run(), grid,
        learning_rate=learning_rate, replicates=replicates, controls=controls,
        levels=imp_rounds, jitter=jitter,
    )  # fmt: skip

    def init(roots) -> NetsState:
        def nothing(*axes):
            return jax.tree.map(
                lambda leaf: jnp.zeros((*axes, *leaf.shape)), layers.params
            )

        def genomes(*axes):
            theta = nothing(*axes)
            return Genome(theta, masks.full(theta))

        def values(*axes):
            return {name: jnp.full(axes, jnp.inf) for name in columns}

        return NetsState(
            round=jnp.int32(0),
            roots=roots,
            genomes=genomes(replicates, settings.population),
            measured=values(replicates, settings.population),
            best=genomes(replicates),
            found=values(replicates),
            waited=jnp.zeros(replicates, jnp.int32),
            stopped=jnp.zeros(replicates, bool),
            matched=compare.init(),
        )

    def keys(state: NetsState, name: str) -> Key:
        return jax.vmap(lambda i: rng.stream(state.roots, name, i, state.round))(
            numbers
        )

    @jax.jit
    def first_generation(state: NetsState) -> tuple[Genome, Lane]:
        """Candidates [R, P, ...], and as lanes."""
        drawn = jax.vmap(breeding.first)(keys(state, "search"))
        return drawn, lanes_of(drawn)

    @jax.jit
    def breed(state: NetsState) -> tuple[Genome, Lane]:
        """Children [R, P - elites, ...], and as lanes."""
        children = jax.vmap(breeding.children)(
            keys(state, "search"), state.genomes, state.measured["fitness"]
        )
        return children, lanes_of(children)

    def lanes_of(genomes: Genome) -> Lane:
        """Candidates [R, C, ...] as lanes [R * C, ...]."""
        flat = jax.tree.map(lambda leaf: leaf.reshape(-1, *leaf.shape[2:]), genomes)
        num = len(jax.tree.leaves(flat)[0])
        hypers = make_hypers(search["learning_rate"], num=num)
        keys = jax.random.split(jax.random.key(0), num)  # none is used
        return Lane(*flat, keys, hypers)

    @jax.jit
    def join(state: NetsState, newcomers: Genome, found: dict) -> NetsState:
        """The next population: elites and those that were just measured."""
        found = {name: values.reshape(replicates, -1) for name, values in found.items()}

        def dense(measure):
            return jax.vmap(lambda mask: measure(mask, prunable))(newcomers.mask)

        off = penalty_weight * fitnesses.PENALTIES[penalty](
            dense(fitnesses.DENSITIES[density]), target_density
        )
        found |= {"density": dense(masks.density), "penalty": off}
        found["fitness"] = genetics.comparable(wanted.value(found) + off)
        genomes = newcomers
        if len(found["fitness"][0]) < settings.population:
            stay = jax.vmap(lambda fitness: genetics.best(settings.elites, fitness))(
                state.measured["fitness"]
            )
            old = state.genomes, state.measured
            new = newcomers, found
            genomes, found = jax.vmap(
                lambda old, new, at: stacks.concatenate([stacks.take(old, at), new])
            )(old, new, stay)
        first = jax.vmap(lambda fitness: genetics.best(1, fitness)[0])(found["fitness"])
        top, values = jax.vmap(stacks.take)((genomes, found), first)
        better = values["fitness"] < state.found["fitness"]
        if forget_last:
            better &= state.round < generations
        # Whoever is there first is the best, be its fitness infinite.
        better |= state.round == 0
        waited = jnp.where(better, 0, state.waited + 1)
        after = state._replace(
            genomes=genomes,
            measured=found,
            best=_where(better, top, state.best),
            found=_where(better, values, state.found),
            waited=waited,
        )
        searched = ("genomes", "measured", "best", "found", "waited")
        after = after._replace(
            **{
                name: _where(state.stopped, getattr(state, name), getattr(after, name))
                for name in searched
            }
        )
        ended = jnp.zeros(replicates, bool)
        if patience is not None:
            ended |= waited > patience
        if target_fitness is not None:
            ended |= after.found["fitness"] <= target_fitness
        return after._replace(round=state.round + 1, stopped=state.stopped | ended)

    def generation(state: NetsState) -> tuple[NetsState, RoundInfo]:
        number = int(state.round)
        if np.all(state.stopped):
            after = state._replace(round=state.round + 1)
        else:
            newcomers, lanes = breed(state) if number else first_generation(state)
            # Nothing is evaluated on the way.
            trained = measure(lanes, jnp.array([search["steps"]], jnp.int32))
            after = join(state, newcomers, trained.summary)
        return after, told(number, after)

    @jax.jit
    def lanes_of_best(best: Genome) -> tuple[Lane, Params, Mask]:
        """As lanes [R, ...]; their masked weights; masks that keep everything."""
        theta = masks.apply(best.weights, best.mask)
        lanes = lanes_of(jax.tree.map(lambda leaf: leaf[:, None], best))
        return lanes, theta, masks.full(theta)

    def told(number: int, state: NetsState) -> RoundInfo:
        """The best candidates so far, and the table of the population."""
        lane, theta, everything = lanes_of_best(state.best)
        found, measured = jax.device_get((state.found, state.measured))
        density = found.pop("density")
        unknown = np.full(replicates, np.nan)
        history = {
            "step": np.zeros((replicates, 1), np.int32),
            "train_loss": found.get("train_loss", unknown)[:, None],
            "validation_loss": found.get("validation_loss", unknown)[:, None],
        }
        summary = {
            "early_stop_step": np.zeros(replicates, np.int32),
            "stopped": state.stopped,
            **found,
        }
        shape = (replicates, settings.population)
        table = {
            "replicate": np.repeat(np.arange(replicates), settings.population),
            "candidate": np.tile(np.arange(settings.population), replicates),
            **{name: np.ravel(values) for name, values in measured.items()},
            "stopped": np.ravel(np.broadcast_to(state.stopped[:, None], shape)),
        }
        return RoundInfo(
            round=number, density=float(density.mean()), num_keep={}, groups={},
            prunable=prunable,
            labels=[Label("ticket", 0, replicate) for replicate in range(replicates)],
            lanes=lane, rewound=None, old_mask=everything,
            trained=Trained(theta, theta, {}, history, summary), start=0, search=table,
            idle=generations - number if np.all(state.stopped) else 0,
        )  # fmt: skip

    def step(state: NetsState) -> tuple[NetsState, RoundInfo]:
        number = int(state.round)
        if number <= generations:
            return generation(state)
        level = number - generations - 1
        after, info = compare.step(state.roots, state.matched, state.best, level)
        after = state._replace(round=state.round + 1, matched=after)
        return after, info._replace(round=number)

    candidates = [settings.population - settings.elites] * (generations + 1)
    candidates[0] = settings.population
    work = [search["steps"] * trains * num for num in candidates] + compare.work
    return Algorithm(init, step, [{} for _ in work], work)


def _where(chosen: jax.Array, one, other):
    """Of replicates [R] that are chosen `one`, else `other`."""

    def choose(a, b):
        return jnp.where(chosen.reshape(chosen.shape + (1,) * (a.ndim - 1)), a, b)

    return jax.tree.map(choose, one, other)
