"""Strong tickets by a genetic algorithm: the mask of a random network, untrained.

SLTN-GA (arXiv:2411.04658, arXiv:2508.08877). Weights stay as they were drawn; a
candidate is a string of bits, one per weight. In every generation children of two
parents, mutants of one bit and random migrants join the population, of which the best
stay: first by fitness on the training split, then by fewer weights. In the end bits are
pruned one by one as long as the accuracy does not fall.

Other than in the published code all that is chosen is chosen on the validation split
(there: on the test split); the numbers of children, mutants and migrants are what they
are there on average, unless `gated`; and a bound on the accuracy is softened by numbers
of tries, not by the clock. Fitness is minimised: the error, or the cross entropy.

A round is a block of generations, one program. Round 0 is the initial population.
"""

from collections.abc import Mapping
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from lottery_jax import rng
from lottery_jax.algorithms.base import (
    Algorithm,
    Grid,
    MakeRun,
    RoundInfo,
    flatten_lanes,
    label_lanes,
    with_controls,
)
from lottery_jax.algorithms.bounds import Bound, admit
from lottery_jax.errors import ConfigError
from lottery_jax.tickets import bitstrings, genetics, masks
from lottery_jax.tickets.bitstrings import Layout
from lottery_jax.training.loop import in_chunks
from lottery_jax.types import Context, Key, Lane, Params, Split, Task, Trained

EVALUATION_VALUES = 2**18
"""Input values of a candidate that are evaluated at once."""


class Front(NamedTuple):
    """The best candidate that there was at every size: B bins of kept weights.

    Attributes:
      accuracy: of the validation split [B]; -1 where there was none.
      bits: bool [B, n].
      generation: in which it came [B].
    """

    accuracy: jax.Array
    bits: jax.Array
    generation: jax.Array


class Search(NamedTuple):
    """A search of one replicate, all that the next generation needs.

    Attributes:
      bits: the population, bool [P, n], the best first.
      fitness: float32 [P], minimised.
      bound: accuracy that a new candidate must have, scalar.
      generation: how many there were, int32 scalar.
      stagnant: for how many of them the best fitness has been the same.
      stopped: nothing changes any more.
      front: what was best on the validation split.
    """

    bits: jax.Array
    fitness: jax.Array
    bound: jax.Array
    generation: jax.Array
    stagnant: jax.Array
    stopped: jax.Array
    front: Front


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


class Rates(NamedTuple):
    """Of the operators, in parts of what they are applied to.

    Attributes:
      recombination: of the population that mate.
      mutation: of population and children that have a mutant.
      migration: of the population's size that come anew.
      parents: of the population, the best, that are mated with.
    """

    recombination: float = 0.3
    mutation: float = 0.1
    migration: float = 0.1
    parents: float = 0.3

    def counts(self, population: int) -> tuple[int, int, int, int]:
        """Children, mutants, migrants and parents of such a population."""
        children = round(self.recombination * population)
        mutants = round(self.mutation * (population + children))
        migrants = int(self.migration * population)
        return children, mutants, migrants, int(self.parents * population)


def strong_tickets(
    task: Task,
    make_run: MakeRun,
    grid: Grid,
    *,
    learning_rate: float,
    replicates: int,
    controls: Mapping[str, int],
    population: int = 100,
    objective: str = "accuracy",
    max_generations: int = 300,
    min_generations: int = 100,
    patience: int = 50,
    target_accuracy: float = 1.0,
    generations_per_round: int = 50,
    recombination_rate: float = 0.3,
    mutation_rate: float = 0.1,
    migration_rate: float = 0.1,
    parent_rate: float = 0.3,
    gated: bool = False,
    distinct: bool = False,
    initial_density: float = 0.5,
    bound: str = "none",
    bound_start: float = 0.7,
    bound_floor: float = 0.51,
    bound_patience: int = 16,
    tries: int = 20,
    path_tries: int = 0,
    sizes: int = 128,
    max_density: float | None = None,
    prune: bool = True,
    prune_tolerance: float = 0.0,
    test_selected: bool = False,
    chunk: int = 1,
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
      population: P.
      objective: "accuracy" or "cross_entropy" of the training split.
      max_generations: after which every search stops.
      min_generations: before which none stops for stagnation.
      patience: generations with the same best fitness after which a search stops.
      target_accuracy: of the training split, at which it stops.
      generations_per_round: in a round.
      recombination_rate: see `Rates`; so the three that follow.
      mutation_rate: see there.
      migration_rate: see there.
      parent_rate: see there.
      gated: every candidate mates or mutates with that probability, as published.
      distinct: of equal candidates one stays.
      initial_density: probability of a bit of the initial population and of migrants.
      bound: what new candidates must reach: "none", "static", "adaptive" (`bounds.py`).
      bound_start: that accuracy at first.
      bound_floor: below which it is not softened.
      bound_patience: tries, more than which soften an adaptive bound.
      tries: at most, for a candidate that reaches the bound; the best of them stays.
      path_tries: at most, for one with a path from an input to an output; 0: no check.
      sizes: B, bins of the front.
      max_density: of the ticket; None: any.
      prune: bits of the ticket, one by one, at the end.
      prune_tolerance: accuracy that may be lost by that.
      test_selected: what would be reported if all that is chosen in the end were chosen
        on the test split, as published: columns `test_selected_*`.
      chunk: candidates that are evaluated at once.

    Raises:
      ConfigError: data without classes, a network without layers in a chain, a control
        of the order of the data.
    """
    del make_run, grid, learning_rate
    if task.dataset.num_classes is None:
        problem = f"{task.dataset.name}: an accuracy is searched for, of classes"
        raise ConfigError("data.name", problem)
    if controls.get("order"):
        raise ConfigError("controls.order", "nothing is trained, batches have no order")
    model, layout = task.model, bitstrings.layout(task.model)
    if path_tries and layout.layers is None:
        problem = f"{path_tries}: paths are known of dense layers in a chain alone"
        raise ConfigError("algorithm.path_tries", problem)
    rates = Rates(recombination_rate, mutation_rate, migration_rate, parent_rate)
    children, mutants, migrants, parents = rates.counts(population)
    sizes = min(sizes, layout.num + 1)
    last = -(-max_generations // generations_per_round)
    rule = Bound(bound, bound_start, bound_floor, bound_patience, tries)
    labels = label_lanes(controls, replicates)
    splits = jax.device_put(tuple(task.dataset[:3]))
    needed = ("accuracy",) if objective == "accuracy" else ("accuracy", "loss")

    def weights(roots, replicate) -> Params:
        return model.init(rng.stream(roots, "init", replicate))[0]

    def measure(params, split: Split, names) -> dict[str, jax.Array]:
        def forward(x):
            return model.apply(params, {}, x, train=False)[0]

        outputs = in_chunks(forward, split.x, EVALUATION_VALUES)
        functions = {"loss": task.loss, **task.metrics}
        return {name: functions[name](outputs, split.y) for name in names}

    def scores(theta, bits, split, names):
        """Of strings [S, n]: name -> [S]."""

        def one(own):
            params = masks.apply(theta, bitstrings.to_mask(layout, own))
            return measure(params, split, names)

        return jax.lax.map(one, bits, batch_size=chunk if chunk > 1 else None)

    def fitness_of(found):
        return 1 - found["accuracy"] if objective == "accuracy" else found["loss"]

    def random(key, num):
        return jax.random.bernoulli(key, initial_density, (num, layout.num))

    def mutate(key, bits):
        if path_tries:
            return bitstrings.flip_one_of_a_layer(key, layout, bits)
        return genetics.flip_one(key, bits, True)

    def admitted(key, draw, there, theta, train, at):
        """New candidates under the bound; those not `there` do not count."""
        if path_tries:
            draw = bitstrings.with_path(draw, layout, path_tries)
        return admit(
            key, draw, lambda bits: scores(theta, bits, train, needed), there, rule, at
        )

    def survivors(bits, fitness):
        kept = jnp.sum(bits, axis=1)
        if distinct:
            fitness = jnp.where(repeated(bits, fitness, kept), jnp.inf, fitness)
        return genetics.best(population, fitness, kept)

    def begin(roots, replicate, splits) -> tuple[Search, dict]:
        train, validation, _ = splits
        theta = weights(roots, replicate)
        key = jax.random.fold_in(rng.stream(roots, "search", replicate), 0)
        there = jnp.ones(population, bool)
        new = admitted(
            key, lambda key: random(key, population), there, theta, train,
            jnp.float32(rule.start),
        )  # fmt: skip
        fitness = fitness_of(new.scores)
        order = survivors(new.bits, fitness)
        none = jnp.zeros((sizes, layout.num), bool)
        front = Front(-jnp.ones(sizes), none, jnp.zeros(sizes, jnp.int32))
        valid = scores(theta, new.bits, validation, ("accuracy",))["accuracy"]
        front = join(front, new.bits, valid, 0)
        zero = jnp.int32(0)
        search = Search(
            new.bits[order], fitness[order], new.bound, zero, zero, jnp.bool(False),
            front,
        )  # fmt: skip
        return search, row(search, theta, splits, new.evaluated, new.unmet)

    def generation(search: Search, key: Key, theta, splits) -> tuple[Search, dict]:
        train, validation, _ = splits
        bits, at = search.bits, search.bound
        mates, mutating, *keys = jax.random.split(key, 5)
        if gated:
            first = jnp.arange(population)
            there = jax.random.bernoulli(mates, rates.recombination, (population,))
        else:
            first = jax.random.permutation(mates, population)[:children]
            there = jnp.ones(children, bool)

        def mate(key):
            partner_key, mix_key = jax.random.split(key)
            other = jax.random.randint(partner_key, first.shape, 0, parents)
            return genetics.crossover(mix_key, (bits[first],), (bits[other],))[0]

        born = admitted(keys[0], mate, there, theta, train, at)
        pool = jnp.concatenate([bits, born.bits])
        alive = jnp.concatenate([jnp.ones(population, bool), there])
        if gated:
            chosen = jnp.arange(len(pool))
            changed = alive & jax.random.bernoulli(mutating, rates.mutation, alive.shape)
        else:
            chosen = jax.random.permutation(mutating, len(pool))[:mutants]
            changed = jnp.ones(mutants, bool)
        mutated = admitted(
            keys[1], lambda key: mutate(key, pool[chosen]), changed, theta, train,
            born.bound,
        )  # fmt: skip
        come = admitted(
            keys[2], lambda key: random(key, migrants), jnp.ones(migrants, bool),
            theta, train, mutated.bound,
        )  # fmt: skip
        new = jnp.concatenate([born.bits, mutated.bits, come.bits])
        there = jnp.concatenate([there, changed, jnp.ones(migrants, bool)])
        fitness = jnp.concatenate(
            [fitness_of(each.scores) for each in (born, mutated, come)]
        )
        valid = scores(theta, new, validation, ("accuracy",))["accuracy"]
        number = search.generation + 1
        front = join(search.front, new, jnp.where(there, valid, -1), number)
        everyone = jnp.concatenate([bits, new])
        fitness = jnp.concatenate(
            [search.fitness, jnp.where(there, genetics.comparable(fitness), jnp.inf)]
        )
        order = survivors(everyone, fitness)
        better = fitness[order[0]] < search.fitness[0]
        search = Search(
            everyone[order], fitness[order], come.bound, number,
            jnp.where(better, 0, search.stagnant + 1), search.stopped, front,
        )  # fmt: skip
        evaluated = born.evaluated + mutated.evaluated + come.evaluated
        unmet = born.unmet + mutated.unmet + come.unmet
        found = row(search, theta, splits, evaluated, unmet)
        over = (number >= min_generations) & (search.stagnant >= patience)
        over |= (number >= max_generations) | (found["accuracy"] >= target_accuracy)
        return search._replace(stopped=over), found

    def row(search: Search, theta, splits, evaluated, unmet) -> dict:
        """A row of the table of the search."""
        train, validation, _ = splits
        best = search.bits[:1]
        own = scores(theta, best, train, ("accuracy", "loss"))
        valid = scores(theta, best, validation, ("accuracy",))["accuracy"]
        density = jnp.mean(search.bits, axis=1)
        return {
            "generation": search.generation,
            "fitness": search.fitness[0],
            "fitness_mean": search.fitness.mean(),
            "fitness_sd": search.fitness.std(),
            "density": density[0],
            "density_mean": density.mean(),
            "density_sd": density.std(),
            "accuracy": own["accuracy"][0],
            "loss": own["loss"][0],
            "validation_accuracy": valid[0],
            "bound": search.bound,
            "evaluated": evaluated,
            "unmet": unmet,
        }

    @jax.jit
    def start(roots, splits):
        return jax.lax.map(
            lambda replicate: begin(roots, replicate, splits), jnp.arange(replicates)
        )

    @jax.jit
    def block(roots, searches, splits):
        """A block of generations of every search, one search after another.

        So a search that has stopped takes no time, which it would under `vmap`.
        """

        def one(search_of):
            replicate, search = search_of
            theta = weights(roots, replicate)
            key = rng.stream(roots, "search", replicate)

            def advance(search):
                own = jax.random.fold_in(key, search.generation + 1)
                return generation(search, own, theta, splits)

            empty = jax.tree.map(
                lambda leaf: jnp.zeros(leaf.shape, leaf.dtype),
                jax.eval_shape(advance, search)[1],
            )

            def step(search, _):
                went = ~search.stopped
                search, found = jax.lax.cond(
                    went, advance, lambda search: (search, empty), search
                )
                return search, found | {"there": went}

            return jax.lax.scan(step, search, None, length=generations_per_round)

        return jax.lax.map(one, (jnp.arange(replicates), searches))

    def choose(front: Front) -> jax.Array:
        """The place of the ticket: the best there was, of equals the smallest."""
        kept = jnp.sum(front.bits, axis=1)
        there = front.accuracy >= 0
        fits = there
        if max_density is not None:
            fits &= kept <= max_density * layout.num
        sparsest = genetics.best(1, jnp.where(there, kept, jnp.inf))[0]
        best = genetics.best(1, jnp.where(fits, -front.accuracy, jnp.inf), kept)[0]
        return jnp.where(jnp.any(fits), best, sparsest)

    @jax.jit
    def tickets(roots, searches, splits):
        """(bits [R, n], validation accuracy [R]) of the tickets before pruning."""
        place = jax.vmap(choose)(searches.front)
        found = jax.vmap(lambda front, at: (front.bits[at], front.accuracy[at]))
        return found(searches.front, place)

    @jax.jit
    def pruned(roots, bits, split):
        def one(own):
            replicate, bits = own
            theta = weights(roots, replicate)
            return prune_bits(
                bits,
                lambda bits: scores(theta, bits[None], split, ("accuracy",)),
                prune_tolerance,
            )

        return jax.lax.map(one, (jnp.arange(replicates), bits))

    @jax.jit
    def selected_by_test(roots, searches, test):
        """(bits [R, n]) that are best of the last population on the test split."""

        def one(own):
            replicate, bits = own
            found = scores(weights(roots, replicate), bits, test, ("accuracy",))
            kept = jnp.sum(bits, axis=1)
            return bits[genetics.best(1, -found["accuracy"], kept)[0]]

        return jax.lax.map(one, (jnp.arange(replicates), searches.bits))

    @jax.jit
    def lanes_of(roots, bits) -> Lane:
        def one(replicate, own):
            def key(name):
                return rng.stream(roots, name, replicate)

            theta, mask = weights(roots, replicate), bitstrings.to_mask(layout, own)
            nothing = {"learning_rate": jnp.float32(0)}
            lane = Lane(theta, mask, key("order"), nothing)
            context = Context(
                key=key("control"), model=model, prunable=layout.prunable, init=theta,
                rewind_point=theta, start=theta, final=theta,
                old_mask=masks.full(theta), mask=mask, jitter=0.1, lane=lane,
            )  # fmt: skip
            return with_controls(context, controls)

        stacked = jax.vmap(one, out_axes=1)(jnp.arange(replicates), bits)
        return flatten_lanes(stacked)

    @jax.jit
    def evaluate(lanes: Lane, split: Split):
        def one(lane):
            return measure(
                masks.apply(lane.params, lane.mask), split, ("loss", *task.metrics)
            )

        return jax.lax.map(one, (lanes))

    @jax.jit
    def drawn(roots):
        return jax.vmap(lambda replicate: weights(roots, replicate))(
            jnp.arange(replicates)
        )

    def init(roots) -> State:
        def empty(roots):
            return jax.lax.map(
                lambda i: begin(roots, i, splits)[0], jnp.arange(replicates)
            )

        shapes = jax.eval_shape(empty, roots)
        zeros = jax.tree.map(lambda leaf: jnp.zeros(leaf.shape, leaf.dtype), shapes)
        return State(jnp.int32(0), roots, zeros)

    def step(state: State) -> tuple[State, RoundInfo]:
        number, roots = int(state.round), state.roots
        if number == 0:
            searches, table = start(roots, splits)
            table = {name: values[:, None] for name, values in table.items()}
            table["there"] = jnp.ones((replicates, 1), bool)
        else:
            searches, table = block(roots, state.searches, splits)
        bits, accuracy = tickets(roots, searches, splits)
        more = {"validation_accuracy_before_pruning": accuracy}
        more["density_before_pruning"] = jnp.mean(bits, axis=1)
        if number == last and prune:
            bits = pruned(roots, bits, splits[1])
        lanes = lanes_of(roots, bits)
        summary = {
            f"{name}_{key}": values
            for name, split in zip(("train", "validation"), splits, strict=False)
            for key, values in evaluate(lanes, split).items()
        }
        if number == last:
            # The only time that the test split is looked at.
            found = evaluate(lanes, splits[2])
            summary |= {f"test_{key}": values for key, values in found.items()}
            if test_selected:
                chosen = selected_by_test(roots, searches, splits[2])
                chosen = pruned(roots, chosen, splits[2]) if prune else chosen
                more["test_selected_density"] = jnp.mean(chosen, axis=1)
                own = evaluate(lanes_of(roots, chosen), splits[2])
                more["test_selected_test_accuracy"] = own["accuracy"][:replicates]
        more |= {"generation": searches.generation, "stopped": searches.stopped}
        rest = len(labels) - replicates
        summary |= {
            name: np.concatenate([np.asarray(values, float), np.full(rest, np.nan)])
            for name, values in more.items()
        }
        done = np.asarray(searches.generation)
        of_lane = [label.replicate for label in labels]
        improved = (done - np.asarray(searches.stagnant))[of_lane]
        summary["early_stop_step"] = jnp.array(improved)
        before = min((number - 1) * generations_per_round, max_generations)
        reached = jnp.full((len(labels), 1), int(done.max()), jnp.int32)
        history = {"step": reached} | {
            name: summary[name][:, None] for name in ("train_loss", "validation_loss")
        }
        final = masks.apply(lanes.params, lanes.mask)
        info = RoundInfo(
            round=number,
            density=float(jnp.mean(bits)),
            num_keep={},
            groups={},
            prunable=layout.prunable,
            labels=labels,
            lanes=lanes,
            rewound=drawn(roots),
            old_mask=masks.full(
                jax.tree.map(lambda leaf: leaf[:replicates], lanes.mask)
            ),
            trained=Trained(final, final, {}, history, summary),
            start=max(before, 0) if number else -1,
            search=_rows(table, searches.front, layout, number == last),
        )
        return State(state.round + 1, roots, searches), info

    return Algorithm(init, step, [{} for _ in range(last + 1)])


def join(front: Front, bits: jax.Array, accuracy: jax.Array, generation) -> Front:
    """The front with candidates [S, n] where they are better, or smaller and as good.

    Args:
      front: as it is.
      bits: of the candidates.
      accuracy: of the validation split [S]; -1 for one that is not there.
      generation: in which they came.
    """
    bins, num = front.bits.shape

    def one(front, candidate):
        own, accuracy = candidate
        kept = jnp.sum(own)
        place = kept * (bins - 1) // num
        there = front.accuracy[place]
        smaller = kept < jnp.sum(front.bits[place])
        better = (accuracy > there) | ((accuracy == there) & smaller)
        values = Front(accuracy, own, jnp.int32(generation))
        return jax.tree.map(
            lambda leaf, new: leaf.at[place].set(jnp.where(better, new, leaf[place])),
            front,
            values,
        ), None

    return jax.lax.scan(one, front, (bits, accuracy))[0]


def repeated(bits: jax.Array, fitness: jax.Array, kept: jax.Array) -> jax.Array:
    """Which of the strings [P, n] have an equal one before them in the best's order."""
    factors = jax.random.bits(jax.random.key(0), (bits.shape[1],))
    number = jnp.sum(jnp.where(bits, factors[None], 0), axis=1, dtype=jnp.uint32)
    order = jnp.lexsort((number, kept, genetics.comparable(fitness)))
    ranked = bits[order]
    same = jnp.all(ranked[1:] == ranked[:-1], axis=1)
    return jnp.zeros(len(bits), bool).at[order[1:]].set(same)


def prune_bits(bits: jax.Array, scores, tolerance: float) -> jax.Array:
    """Kept bits of a string [n] are pruned one by one, in their order.

    One comes back where the accuracy is then less than it was with all of them, by
    more than the tolerance.

    Args:
      bits: of a candidate.
      scores: string -> {"accuracy": [1]}.
      tolerance: accuracy that may be lost in all.
    """
    least = scores(bits)["accuracy"][0] - tolerance

    def one(bits, place):
        less = bits.at[place].set(False)
        accuracy = jax.lax.cond(
            bits[place], lambda: scores(less)["accuracy"][0], lambda: least - 1
        )
        return jnp.where(accuracy >= least, less, bits), None

    return jax.lax.scan(one, bits, jnp.arange(len(bits)))[0]


def _rows(table: dict, front: Front, layout: Layout, last: bool) -> dict:
    """Generations, one row per replicate; in the last round the front beside them."""
    table = {name: np.asarray(values) for name, values in table.items()}
    there = table.pop("there")
    replicate = np.broadcast_to(np.arange(len(there))[:, None], there.shape)
    columns = {"kind": np.full(there.sum(), "generation"), "replicate": replicate[there]}
    columns |= {name: values[there] for name, values in table.items()}
    if not last:
        return columns
    accuracy, kept = np.asarray(front.accuracy), np.asarray(front.bits).sum(-1)
    own, place = np.nonzero(non_dominated(accuracy, kept))
    added = {
        "kind": np.full(len(own), "front"),
        "replicate": own,
        "generation": np.asarray(front.generation)[own, place],
        "density": kept[own, place] / layout.num,
        "validation_accuracy": accuracy[own, place],
    }
    return {
        name: np.concatenate([values, added.get(name, np.full(len(own), np.nan))])
        for name, values in columns.items()
    }


def non_dominated(accuracy: np.ndarray, kept: np.ndarray) -> np.ndarray:
    """Which of [R, B] no other of the row beats: as accurate and smaller, or better."""
    there = accuracy >= 0
    one, other = accuracy[:, :, None], accuracy[:, None]
    fewer, more = kept[:, None] < kept[:, :, None], kept[:, None] <= kept[:, :, None]
    beaten = there[:, None] & ((other >= one) & fewer | (other > one) & more)
    return there & ~beaten.any(2)
