"""SLTN-GA's search (arXiv:2411.04658): strings of bits, mu + lambda, the best stay.

In every generation some of the population mate with one of the best and have a child,
some of both have a mutant, and some random ones come in. The fittest survive, of equals
the smallest. Fitness is minimised: the error, or the cross entropy.

The published code draws how many mate and mutate; here those are the numbers that it
draws on average, unless `gated`.
"""

from collections.abc import Callable
from typing import NamedTuple

import jax
import jax.numpy as jnp

from lottery_jax import stacks
from lottery_jax.algorithms import fronts
from lottery_jax.algorithms.bounds import Admitted, Bound, admit
from lottery_jax.algorithms.fronts import Front
from lottery_jax.tickets import bitstrings, genetics
from lottery_jax.tickets.bitstrings import Layout
from lottery_jax.types import Key, Split


class Settings(NamedTuple):
    """Of a search; the fields of `config.algorithm`.

    Attributes:
      population: P, candidates.
      objective: "accuracy" or "cross_entropy" of the training split.
      max_generations: after which it stops.
      min_generations: before which it does not stop for stagnation.
      patience: generations with the same best fitness after which it stops.
      target_accuracy: of the training split, at which it stops.
      recombination_rate: of the population that mate.
      mutation_rate: of population and children that have a mutant.
      mutation_bits: most that are flipped in a mutant, one after another; so many or
        fewer with equal chances.
      migration_rate: of the population's size that come anew.
      parent_rate: of the population, the best, that are mated with.
      gated: every candidate mates or mutates with that probability, as published.
      distinct: no two candidates are as fit and as small as each other.
      initial_density: probability of a bit of a random candidate.
      bound: accuracy that new candidates must reach: "none", "static", "adaptive".
      bound_start: that accuracy at first.
      bound_floor: below which it is not softened.
      bound_patience: tries, more than which soften an adaptive bound.
      tries: at most, for a candidate that reaches the bound; the best of them stays.
      path_tries: at most, for one with a path from an input to an output; 0: no check,
        otherwise a mutant's bits are of any layer alike.
      sizes: bins of the front.
    """

    population: int = 100
    objective: str = "accuracy"
    max_generations: int = 300
    min_generations: int = 100
    patience: int = 50
    target_accuracy: float = 1.0
    recombination_rate: float = 0.3
    mutation_rate: float = 0.1
    mutation_bits: int = 1
    migration_rate: float = 0.1
    parent_rate: float = 0.3
    gated: bool = False
    distinct: bool = False
    initial_density: float = 0.5
    bound: str = "none"
    bound_start: float = 0.7
    bound_floor: float = 0.51
    bound_patience: int = 16
    tries: int = 20
    path_tries: int = 0
    sizes: int = 128


class Counts(NamedTuple):
    """How many there are of each in a generation that is not gated."""

    children: int
    mutants: int
    migrants: int
    parents: int


def counts(settings: Settings) -> Counts:
    """Children, mutants, migrants and parents of a generation."""
    num = settings.population
    children = round(settings.recombination_rate * num)
    mutants = round(settings.mutation_rate * (num + children))
    # 0.29 * 100 is 28.999...: as many as were meant.
    migrants, parents = (
        int(rate * num + 1e-6)
        for rate in (settings.migration_rate, settings.parent_rate)
    )
    return Counts(children, mutants, migrants, parents)


class Search(NamedTuple):
    """A search of one replicate, all that the next generation needs.

    Attributes:
      bits: the population, bool [P, n], the best first.
      fitness: float32 [P], minimised.
      bound: accuracy that a new candidate must have, scalar.
      generation: how many there were, int32 scalar.
      stagnant: for how many of them the best fitness has been the same.
      stopped: nothing changes any more.
      front: the most accurate on the training split at every size.
    """

    bits: jax.Array
    fitness: jax.Array
    bound: jax.Array
    generation: jax.Array
    stagnant: jax.Array
    stopped: jax.Array
    front: Front


Splits = tuple[Split, Split, Split]

Scores = Callable[..., dict[str, jax.Array]]
"""`scores(bits [S, n], split, names) -> name -> [S]`: "accuracy", "loss"."""


class Steps(NamedTuple):
    """The search as two pure functions of one replicate.

    Attributes:
      begin: `begin(key, scores, splits) -> (search, row)`, the initial population.
      generation: `generation(search, key, scores, splits) -> (search, row)`; a row
        holds scalars for the table of the search.
    """

    begin: Callable
    generation: Callable


def make_steps(layout: Layout, settings: Settings) -> Steps:
    """The search among masks of a layout."""
    size = settings.population
    num = counts(settings)
    by_loss = settings.objective != "accuracy"
    needed = ("accuracy", "loss") if by_loss else ("accuracy",)
    by_layer = settings.path_tries > 0
    rule = Bound(settings.bound, settings.bound_start, settings.bound_floor,
                 settings.bound_patience, settings.tries)  # fmt: skip

    def fitness_of(found):
        return genetics.comparable(found["loss"] if by_loss else 1 - found["accuracy"])

    def random(number):
        shape = (number, layout.num)
        return lambda key: jax.random.bernoulli(key, settings.initial_density, shape)

    def survivors(bits, fitness):
        """(bits, fitness) of those that stay, the best first."""
        kept = jnp.sum(bits, axis=1)
        if settings.distinct:
            fitness = jnp.where(repeated(fitness, kept), jnp.inf, fitness)
        order = genetics.best(size, fitness, kept)
        return bits[order], fitness[order]

    def admitted(key, draw, there, scores, train, bound):
        """New candidates under the bound; those not `there` do not count."""
        if not len(there):
            empty, none = jnp.zeros((0, layout.num), bool), jnp.int32(0)
            return Admitted(
                empty, dict.fromkeys(needed, jnp.zeros(0)), bound, none, none
            )
        if by_layer:
            draw = bitstrings.with_path(draw, layout, settings.path_tries)
        return admit(
            key, draw, lambda bits: scores(bits, train, needed), there, rule, bound
        )

    def begin(key: Key, scores: Scores, splits: Splits):
        start, there = jnp.float32(rule.start), jnp.ones(size, bool)
        new = admitted(key, random(size), there, scores, splits[0], start)
        bits, fitness = survivors(new.bits, fitness_of(new.scores))
        front = fronts.empty(min(settings.sizes, layout.num + 1), layout.num)
        front = fronts.join(front, new.bits, new.scores["accuracy"], 0)
        zero = jnp.int32(0)
        on = jnp.bool(False)
        search = Search(bits, fitness, new.bound, zero, zero, on, front)
        return search, row(search, scores, splits, new.evaluated, new.unmet)

    def generation(search: Search, key: Key, scores: Scores, splits: Splits):
        bits, train = search.bits, splits[0]
        who, whose, *keys = jax.random.split(key, 5)
        everyone = jnp.ones(size, bool)
        first, there = some(
            who, everyone, num.children, settings.recombination_rate, settings.gated
        )
        born = admitted(
            keys[0], lambda key: bitstrings.mate(key, bits, first, num.parents), there,
            scores, train, search.bound,
        )  # fmt: skip
        pool = jnp.concatenate([bits, born.bits])
        chosen, changed = some(
            whose, jnp.concatenate([everyone, there]), num.mutants,
            settings.mutation_rate, settings.gated,
        )  # fmt: skip

        def mutants(key):
            return bitstrings.mutate(
                key, pool[chosen], layout, settings.mutation_bits, by_layer
            )

        mutated = admitted(keys[1], mutants, changed, scores, train, born.bound)
        come = admitted(
            keys[2], random(num.migrants), jnp.ones(num.migrants, bool), scores, train,
            mutated.bound,
        )  # fmt: skip
        groups = (born, mutated, come)
        new = jnp.concatenate([group.bits for group in groups])
        there = jnp.concatenate([there, changed, jnp.ones(num.migrants, bool)])
        found = stacks.concatenate([group.scores for group in groups])
        number = search.generation + 1
        accuracy = jnp.where(there, found["accuracy"], -1)
        front = fronts.join(search.front, new, accuracy, number)
        fitness = jnp.where(there, fitness_of(found), jnp.inf)
        fitness = jnp.concatenate([search.fitness, fitness])
        bits, fitness = survivors(jnp.concatenate([bits, new]), fitness)
        better = fitness[0] < search.fitness[0]
        stagnant = jnp.where(better, 0, search.stagnant + 1)
        search = Search(
            bits, fitness, come.bound, number, stagnant, search.stopped, front
        )
        evaluated, unmet = (
            sum(getattr(group, name) for group in groups)
            for name in ("evaluated", "unmet")
        )
        found = row(search, scores, splits, evaluated, unmet)
        over = (number >= settings.min_generations) & (stagnant >= settings.patience)
        over |= number >= settings.max_generations
        over |= found["accuracy"] >= settings.target_accuracy
        return search._replace(stopped=over), found

    return Steps(begin, generation)


def row(search: Search, scores: Scores, splits: Splits, evaluated, unmet) -> dict:
    """A generation in scalars: the best candidate, and the population."""
    best = search.bits[:1]
    own = scores(best, splits[0], ("accuracy", "loss"))
    valid = scores(best, splits[1], ("accuracy",))
    density = jnp.mean(search.bits, axis=1)
    # Those that are not distinct stand at the end, and have no fitness.
    some = jnp.isfinite(search.fitness)
    return {
        "generation": search.generation,
        "fitness": search.fitness[0],
        "fitness_mean": search.fitness.mean(where=some),
        "fitness_sd": search.fitness.std(where=some),
        "density": density[0],
        "density_mean": density.mean(),
        "density_sd": density.std(),
        "accuracy": own["accuracy"][0],
        "loss": own["loss"][0],
        "validation_accuracy": valid["accuracy"][0],
        "bound": search.bound,
        "evaluated": evaluated,
        "unmet": unmet,
    }


def some(key: Key, there: jax.Array, num: int, rate: float, gated: bool):
    """(places [S], whether each counts [S]) of those to whom something happens.

    Args:
      key: random key.
      there: who is alive [P].
      num: how many, if not `gated`: then all are alive.
      rate: probability for each, if `gated`.
      gated: each on its own, so that S is P.
    """
    size = len(there)
    if gated:
        hit = jax.random.bernoulli(key, rate, (size,))
        return jnp.arange(size), there & hit
    return jax.random.permutation(key, size)[:num], jnp.ones(num, bool)


def repeated(fitness: jax.Array, kept: jax.Array) -> jax.Array:
    """Who of [P] is as fit and as small as one that stands before it."""
    order = genetics.best(len(fitness), fitness, kept)
    ranked = jnp.stack([fitness[order], kept[order]])
    same = jnp.all(ranked[:, 1:] == ranked[:, :-1], axis=0)
    return jnp.zeros(len(fitness), bool).at[order[1:]].set(same)


def prune(bits: jax.Array, accuracy: Callable, tolerance: float) -> jax.Array:
    """Kept bits of a string [n] are pruned one by one, in their order.

    One comes back where the accuracy is then less than it was with all of them, by
    more than the tolerance.

    Args:
      bits: of a candidate.
      accuracy: string -> scalar.
      tolerance: accuracy that may be lost in all.
    """
    least = accuracy(bits) - tolerance

    def one(bits, place):
        less = bits.at[place].set(False)
        # Nothing to measure where the bit is pruned already.
        found = jax.lax.cond(
            bits[place], lambda: accuracy(less), lambda: jnp.float32(-1)
        )
        return jnp.where(found >= least, less, bits), None

    return jax.lax.scan(one, bits, jnp.arange(len(bits)))[0]
