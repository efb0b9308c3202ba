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

from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from lottery_jax import rng
from lottery_jax.algorithms.base import (
    Algorithm,
    Grid,
    Label,
    MakeRun,
    RoundInfo,
)
from lottery_jax.algorithms.matched import Genome, MatchedState, matched
from lottery_jax.errors import ConfigError
from lottery_jax.tickets import genetics, masks
from lottery_jax.training import fitness as fitnesses
from lottery_jax.types import Key, Lane, Mask, Params, Task, Trained


class Term(NamedTuple):
    """What a fitness is made of beside the penalty.

    Attributes:
      splits: of the data to measure on.
      value: `value(columns) -> loss`, from the columns of `training/fitness.py`.
    """

    splits: tuple[str, ...]
    value: Callable[[dict[str, jax.Array]], jax.Array]


TERMS = {
    "last_batch_loss": Term(("validation",), lambda found: found["last_batch_loss"]),
    "train_and_validation_loss": Term(
        ("train", "validation"),
        lambda found: found["train_loss"] + found["validation_loss"],
    ),
    "train_loss": Term(("train",), lambda found: found["train_loss"]),
    "validation_error": Term(
        ("validation",), lambda found: 1 - found["validation_accuracy"]
    ),
    "validation_loss": Term(("validation",), lambda found: found["validation_loss"]),
}
"""Name -> term; the published code took `last_batch_loss` for its validation loss."""


def quadratic(density: jax.Array, target: float) -> jax.Array:
    """((d - target) / (1 - target))^2: 1 where all is kept, 0 at the target."""
    return jnp.square((density - target) / (1 - target))


PENALTIES = {
    "none": lambda density, target: 0 * density,
    "one_sided": lambda density, target: quadratic(
        jnp.maximum(density, target), target
    ),
    "quadratic": quadratic,
}
"""Name -> `penalty(density, target)`."""

DENSITIES = {"global": masks.density, "layer_mean": masks.layer_mean_density}
"""Name -> `density(masks [N, ...], prunable) -> [N]`."""

WEIGHTS = ("flat_kaiming", "model")
PAIRS = ("random", "ring")


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
    population: int = 5,
    elites: int = 2,
    generations: int = 25,
    term: str = "validation_loss",
    trains: bool = True,
    density: str = "global",
    penalty: str = "quadratic",
    penalty_weight: float = 1.0,
    target_density: float = 0.2,
    weights: str = "model",
    initial_density: float = 1.0,
    shared_mask: bool = False,
    select: str = "roulette",
    tournament: int = 2,
    pairs: str = "random",
    crossover: float = 0.5,
    coupled: bool = True,
    noise: float = 0.1,
    noise_std: float = 0.1,
    resample: float = 0.1,
    resample_std: float | None = None,
    disable: float = 0.2,
    enable: float = 0.0,
    flip: float = 0.0,
    swap: int = 0,
    migrants: int = 0,
    patience: int | None = None,
    target_fitness: float | None = None,
    forget_last: bool = False,
    imp_rounds: int = 7,
    jitter: float = 0.1,
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
      population: P, candidates of a generation.
      elites: how many of the best go on as they are; their fitness is known.
      generations: number of the last generation; the first is 0.
      term: name in `TERMS`.
      trains: candidates are trained before they are measured.
      density: name in `DENSITIES`, of the penalty.
      penalty: name in `PENALTIES`.
      penalty_weight: factor on it.
      target_density: where it is 0.
      weights: law of initial weights: the network's, or "flat_kaiming", uniform with
        bound 1 / sqrt(number of prunable weights) in every layer.
      initial_density: probability that a weight of generation 0 is kept.
      shared_mask: generation 0 has one mask.
      select: name in `SELECTIONS`, of parents.
      tournament: candidates of a tournament; of a truncation, how many it leaves.
      pairs: second parents: "random", selected too, or "ring", the next first parent.
      crossover: probability of an entry of the first parent.
      coupled: weight and mask bit of a place come from one parent.
      noise: probability that a weight gets noise.
      noise_std: its standard deviation.
      resample: probability that a weight is drawn anew.
      resample_std: from a normal law with that; None: from the law of initial weights.
      disable: probability that a weight is pruned.
      enable: probability that a pruned weight comes back.
      flip: probability that a kept weight is pruned, or a pruned one comes back.
      swap: kept weights of a child that change places with pruned ones.
      migrants: new candidates, as in generation 0, in place of so many children.
      patience: the search of a replicate ends when its best has not changed for more
        generations than these; None: never before the last.
      target_fitness: it ends when its best is as good; None: it does not.
      forget_last: the best of the last generation does not count.
      imp_rounds: levels of iterative pruning down to the density of the ticket.
      jitter: noise of the reinitialisation "jitter", in standard deviations.

    Raises:
      ConfigError: a target density at which some layer would be empty; errors of data
        without classes.
    """
    model = task.model
    shapes, _ = jax.eval_shape(model.init, jax.random.key(0))
    prunable = model.prunable(shapes)
    names = masks.prunable_names(prunable)
    size = sum(masks.named_leaves(shapes)[name].size for name in names)
    if round(target_density * size) < len(names):
        problem = f"{target_density}: of {size} weights in {len(names)} layers that "
        problem = f"{problem}leaves some layer none; no such candidate computes"
        raise ConfigError("algorithm.target_density", problem)
    wanted = TERMS[term]
    if term == "validation_error" and "accuracy" not in task.metrics:
        problem = f"{term}: {task.dataset.name} has no classes to be right about"
        raise ConfigError("algorithm.term", problem)
    measure = make_run(
        fitnesses.with_tiny_products(model, search["batch_size"]), "search ",
        make_train=fitnesses.make_train, search=True, trained=trains,
        splits=wanted.splits,
    )  # fmt: skip
    numbers = jnp.arange(replicates)
    columns = ["last_batch_loss"] * trains + [
        f"{split}_{name}" for split in wanted.splits for name in ("loss", *task.metrics)
    ]
    columns = [*columns, "density", "penalty", "fitness"]

    def draw_weights(key) -> Params:
        theta, _ = model.init(key)
        if weights == "model":
            return theta
        bound = size**-0.5

        def flat(key, leaf):
            return jax.random.uniform(key, leaf.shape, leaf.dtype, -bound, bound)

        return genetics.redraw(key, flat, theta, prunable)

    compare = matched(
        model._replace(init=lambda key: (draw_weights(key), {})), make_run(), grid,
        learning_rate=learning_rate, replicates=replicates, controls=controls,
        levels=imp_rounds, jitter=jitter,
    )  # fmt: skip

    def newcomers(key, num: int, *, shared: bool) -> Genome:
        """Candidates [num, ...] as in generation 0."""
        weights_key, mask_key = jax.random.split(key)
        return Genome(
            jax.vmap(draw_weights)(jax.random.split(weights_key, num)),
            genetics.random_masks(
                mask_key, shapes, prunable, num, initial_density, shared=shared
            ),
        )

    def init(roots) -> NetsState:
        def nothing(*axes):
            return jax.tree.map(lambda leaf: jnp.zeros((*axes, *leaf.shape)), shapes)

        def genomes(*axes):
            theta = nothing(*axes)
            return Genome(theta, masks.full(theta))

        def values(*axes):
            return {name: jnp.full(axes, jnp.inf) for name in columns}

        return NetsState(
            round=jnp.int32(0),
            roots=roots,
            genomes=genomes(replicates, population),
            measured=values(replicates, population),
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

        def one(key):
            return newcomers(key, population, shared=shared_mask)

        drawn = jax.vmap(one)(keys(state, "search"))
        return drawn, lanes_of(drawn)

    @jax.jit
    def breed(state: NetsState) -> tuple[Genome, Lane]:
        """Children [R, P - elites, ...], and as lanes."""
        num = population - elites
        choose = genetics.SELECTIONS[select]

        def one(key, genomes, fitness):
            parents, others, mix, fresh, *mutations = jax.random.split(key, 11)
            one = choose(parents, fitness, num, tournament)
            other = jnp.roll(one, -1)
            if pairs == "random":
                other = choose(others, fitness, num, tournament)
            pair = genetics.take(genomes, one), genetics.take(genomes, other)
            child = genetics.crossover(mix, *pair, crossover, coupled=coupled)
            child = mutate(mutations, Genome(*child))
            if migrants:
                stay = genetics.take(child, jnp.arange(num - migrants))
                new = newcomers(fresh, migrants, shared=False)
                child = genetics.concatenate(stay, new)
            return child

        children = jax.vmap(one)(
            keys(state, "search"), state.genomes, state.measured["fitness"]
        )
        return children, lanes_of(children)

    def mutate(keys, children: Genome) -> Genome:
        """Noise, resample, disable, enable, flip, swap, in this order."""
        theta, mask = children
        num = len(jax.tree.leaves(mask)[0])
        theta = genetics.noise(keys[0], theta, prunable, noise, noise_std)
        if resample_std is None:
            fresh = jax.vmap(draw_weights)(jax.random.split(keys[1], num))
        else:

            def normal(key, leaf):
                return resample_std * jax.random.normal(key, leaf.shape)

            fresh = genetics.redraw(keys[1], normal, theta, prunable)
        theta = genetics.resample(keys[2], theta, prunable, resample, fresh)
        mask = genetics.disable(keys[3], mask, prunable, disable)
        mask = genetics.enable(keys[4], mask, prunable, enable)
        if flip:
            mask = genetics.flip(keys[5], mask, prunable, flip)
        if swap:
            mask = jax.vmap(
                lambda key, own: genetics.swap(key, own, prunable, swap)
            )(jax.random.split(keys[6], num), mask)  # fmt: skip
        return Genome(theta, mask)

    def lanes_of(genomes: Genome) -> Lane:
        """Candidates [R, C, ...] as lanes [R * C, ...]."""
        flat = jax.tree.map(lambda leaf: leaf.reshape(-1, *leaf.shape[2:]), genomes)
        num = len(jax.tree.leaves(flat)[0])
        hypers = {
            "learning_rate": jnp.full(num, search["learning_rate"], jnp.float32),
            "schedule_offset": jnp.zeros(num, jnp.int32),
        }
        keys = jax.random.split(jax.random.key(0), num)  # none is used
        return Lane(*flat, keys, hypers)

    @jax.jit
    def join(state: NetsState, newcomers: Genome, found: dict) -> NetsState:
        """The next population: elites and those that were just measured."""
        found = {name: values.reshape(replicates, -1) for name, values in found.items()}

        def dense(measure):
            return jax.vmap(lambda mask: measure(mask, prunable))(newcomers.mask)

        off = penalty_weight * PENALTIES[penalty](
            dense(DENSITIES[density]), target_density
        )
        found |= {"density": dense(masks.density), "penalty": off}
        found["fitness"] = genetics.comparable(wanted.value(found) + off)
        genomes = newcomers
        if len(found["fitness"][0]) < population:
            stay = jax.vmap(lambda fitness: genetics.best(elites, fitness))(
                state.measured["fitness"]
            )
            old = state.genomes, state.measured
            new = newcomers, found
            genomes, found = jax.vmap(
                lambda old, new, at: genetics.concatenate(genetics.take(old, at), new)
            )(old, new, stay)
        first = jax.vmap(lambda fitness: genetics.best(1, fitness)[0])(found["fitness"])
        top, values = jax.vmap(genetics.take)((genomes, found), first)
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
        shape = (replicates, population)
        table = {
            "replicate": np.repeat(np.arange(replicates), population),
            "candidate": np.tile(np.arange(population), replicates),
            **{name: np.ravel(values) for name, values in measured.items()},
            "stopped": np.ravel(np.broadcast_to(state.stopped[:, None], shape)),
        }
        return RoundInfo(
            round=number, density=float(density.mean()), num_keep={}, groups={},
            prunable=prunable,
            labels=[Label("ticket", 0, replicate) for replicate in range(replicates)],
            lanes=lane, rewound=None, old_mask=everything,
            trained=Trained(theta, theta, {}, history, summary), start=0, search=table,
        )  # fmt: skip

    def step(state: NetsState) -> tuple[NetsState, RoundInfo]:
        number = int(state.round)
        if number <= generations:
            return generation(state)
        level = number - generations - 1
        after, info = compare.step(state.roots, state.matched, state.best, level)
        after = state._replace(round=state.round + 1, matched=after)
        return after, info._replace(round=number)

    return Algorithm(init, step, [{} for _ in range(generations + imp_rounds + 2)])


def _where(chosen: jax.Array, one, other):
    """Of replicates [R] that are chosen `one`, else `other`."""

    def choose(a, b):
        return jnp.where(chosen.reshape(chosen.shape + (1,) * (a.ndim - 1)), a, b)

    return jax.tree.map(choose, one, other)
