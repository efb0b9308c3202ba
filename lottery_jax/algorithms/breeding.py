"""The candidates of Neuroevolutionary Ticket Search: how they are drawn, and bred.

A child has two parents; it is mutated by noise, resampling, disabling, enabling,
flipping and swapping, in this order. The operators are those of `tickets/genetics.py`.
"""

from collections.abc import Callable
from typing import NamedTuple

import jax
import jax.numpy as jnp

from lottery_jax import stacks
from lottery_jax.tickets import genetics
from lottery_jax.tickets.layers import layers_of
from lottery_jax.types import Key, Mask, Model, Params

WEIGHTS = ("flat_kaiming", "model")
PAIRS = ("random", "ring")


class Genome(NamedTuple):
    """A candidate: its weights, pruned ones too, and its mask."""

    weights: Params
    mask: Mask


class Settings(NamedTuple):
    """Of breeding; fields of `config.algorithm`.

    Attributes:
      population: P, candidates of a generation.
      elites: how many of the best go on as they are.
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
    """

    population: int = 5
    elites: int = 2
    weights: str = "model"
    initial_density: float = 1.0
    shared_mask: bool = False
    select: str = "roulette"
    tournament: int = 2
    pairs: str = "random"
    crossover: float = 0.5
    coupled: bool = True
    noise: float = 0.1
    noise_std: float = 0.1
    resample: float = 0.1
    resample_std: float | None = None
    disable: float = 0.2
    enable: float = 0.0
    flip: float = 0.0
    swap: int = 0
    migrants: int = 0


class Breeding(NamedTuple):
    """Pure functions of one replicate.

    Attributes:
      draw: `draw(key) -> weights` by the law of initial weights.
      first: `first(key) -> genomes [P, ...]`, generation 0.
      children: `children(key, genomes [P, ...], fitness [P]) -> [P - elites, ...]`.
    """

    draw: Callable[[Key], Params]
    first: Callable[[Key], Genome]
    children: Callable[[Key, Genome, jax.Array], Genome]


def make_breeding(model: Model, settings: Settings) -> Breeding:
    """Builds the functions for a network."""
    layers = layers_of(model)
    prunable = layers.prunable
    choose = genetics.SELECTIONS[settings.select]

    def draw(key) -> Params:
        theta, _ = model.init(key)
        if settings.weights == "model":
            return theta
        bound = layers.num**-0.5

        def flat(key, leaf):
            return jax.random.uniform(key, leaf.shape, leaf.dtype, -bound, bound)

        return genetics.redraw(key, flat, theta, prunable)

    def newcomers(key, num: int, *, shared: bool = False) -> Genome:
        """Candidates [num, ...] as in generation 0."""
        weights_key, mask_key = jax.random.split(key)
        return Genome(
            jax.vmap(draw)(jax.random.split(weights_key, num)),
            genetics.random_masks(
                mask_key,
                layers.params,
                prunable,
                num,
                settings.initial_density,
                shared=shared,
            ),
        )

    def first(key) -> Genome:
        return newcomers(key, settings.population, shared=settings.shared_mask)

    def children(key, genomes: Genome, fitness: jax.Array) -> Genome:
        num = settings.population - settings.elites
        parents, others, mix, fresh, *mutations = jax.random.split(key, 11)
        one = choose(parents, fitness, num, settings.tournament)
        other = jnp.roll(one, -1)
        if settings.pairs == "random":
            other = choose(others, fitness, num, settings.tournament)
        pair = stacks.take(genomes, one), stacks.take(genomes, other)
        child = genetics.crossover(
            mix, *pair, settings.crossover, coupled=settings.coupled
        )
        child = mutate(mutations, Genome(*child))
        if settings.migrants:
            stay = stacks.take(child, jnp.arange(num - settings.migrants))
            child = stacks.concatenate([stay, newcomers(fresh, settings.migrants)])
        return child

    def mutate(keys, children: Genome) -> Genome:
        theta, mask = children
        num = len(jax.tree.leaves(mask)[0])
        theta = genetics.noise(
            keys[0], theta, prunable, settings.noise, settings.noise_std
        )
        if settings.resample_std is None:
            anew = jax.vmap(draw)(jax.random.split(keys[1], num))
        else:

            def normal(key, leaf):
                return settings.resample_std * jax.random.normal(key, leaf.shape)

            anew = genetics.redraw(keys[1], normal, theta, prunable)
        theta = genetics.resample(keys[2], theta, prunable, settings.resample, anew)
        mask = genetics.disable(keys[3], mask, prunable, settings.disable)
        mask = genetics.enable(keys[4], mask, prunable, settings.enable)
        if settings.flip:
            mask = genetics.flip(keys[5], mask, prunable, settings.flip)
        if settings.swap:
            mask = jax.vmap(
                lambda key, own: genetics.swap(key, own, prunable, settings.swap)
            )(jax.random.split(keys[6], num), mask)  # fmt: skip
        return Genome(theta, mask)

    return Breeding(draw, first, children)
