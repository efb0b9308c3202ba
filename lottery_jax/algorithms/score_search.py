"""Searches by learned scores, for the methods of a comparison that learn them."""

import functools
import zlib
from collections.abc import Callable, Mapping, Sequence

import jax
import jax.numpy as jnp
import numpy as np

from lottery_jax import stacks
from lottery_jax.algorithms.base import MakeRun
from lottery_jax.algorithms.methods import RULES, Strand
from lottery_jax.errors import ScoreError
from lottery_jax.tickets import masks, selection
from lottery_jax.training import loop, score_learning
from lottery_jax.types import Dataset, Key, Lane, Params, Scores

Learn = Callable[..., tuple[dict[str, Scores], dict[str, np.ndarray]]]
"""Of a round: scores by strand, and a table of how they were learned."""


def make_learn(
    make_run: MakeRun,
    strands: Sequence[Strand],
    sizes: Mapping[str, int],
    datasets: Mapping[str, Dataset],
    *,
    learning_rate: float,
    gem_miner_learning_rate: float | None,
    steps: int,
    update_every: int,
    regularization: tuple[float, ...],
    **optimization,
) -> Learn:
    """Builds `learn(round, theta, keys, order, num_keep) -> (scores, table)`.

    Every search begins anew with theta_0. Those of one rule on the same data share a
    program, and strands of one method share scores at first and the order of the data.

    Args:
      make_run: builds the program that trains stacked lanes.
      strands: whose tickets are learned.
      sizes: path of a kernel -> weights.
      datasets: by name.
      learning_rate: of scores.
      gem_miner_learning_rate: of those in [0, 1], `Rule.bounded`; None: the same.
      steps: T, of a search.
      update_every: steps of an interval.
      regularization: weight of the rule's penalty, one per round or one for all.
      optimization: what else a search has, which `make_run` knows.

    Returns:
      `learn`, of the number of a round; theta_0 [R, ...]; strand -> keys [R] of its
      scores; keys [R] of the order of the data; strand -> group -> weights to keep. The
      scores are by name of the strand: path of a kernel -> [R, ...], higher = keep. The
      table has a row per strand, replicate and interval, see
      `score_learning.make_train`. A search that leaves scores without a number is a
      `ScoreError`.
    """
    del optimization
    grid = jnp.array(loop.evaluation_grid(steps, update_every, {}))
    runs, together = {}, {}
    rates = {False: learning_rate, True: gem_miner_learning_rate or learning_rate}
    turned = [s for s in strands if s.inverted and not RULES[s.method.score].inverts]
    for strand in strands:
        if strand in turned:
            continue
        rule = RULES[strand.method.score]._replace(counts=None)
        layers = strand.method.allocation is not None
        program = rule, layers, strand.data
        together.setdefault(program, []).append(strand)
        if program not in runs:
            scope = selection.layerwise if layers else selection.globally
            runs[program] = make_run(
                name=f"search_{len(runs)}_",
                make_train=score_learning.make_train,
                group="algorithm.search",
                dataset=datasets[strand.data],
                rule=rule,
                groups=scope(list(sizes)),
            )

    @functools.partial(jax.jit, static_argnums=0)
    def begin(draw: Callable, theta: Params, keys: Key, order: Key, hypers) -> Lane:
        def one(theta, key, order):
            leaves = masks.named_leaves(theta)
            scores = {
                name: draw(jax.random.fold_in(key, i), leaves[name].shape)
                for i, name in enumerate(sizes)
            }
            none = jax.tree.map(jnp.logical_not, masks.full(theta))
            mask = {"scores": masks.full(scores), "weights": none}
            # Not the order in which the ticket will see the examples.
            order = jax.random.fold_in(order, zlib.crc32(b"search"))
            return Lane({"scores": scores, "weights": theta}, mask, order, hypers)

        return jax.vmap(one)(theta, keys, order)

    def hypers(round: int, strand: Strand, num_keep: Mapping[str, int]) -> dict:
        weight = regularization[round - 1 if len(regularization) > 1 else 0]
        rule = RULES[strand.method.score]
        counts, intervals = rule.counts, len(grid) - 1
        whole = {"all": sum(sizes.values()), **sizes}
        return {
            "learning_rate": jnp.float32(rates[rule.bounded]),
            "regularization": jnp.float32(weight),
            "num_keep": {
                group: jnp.array(counts(whole[group], num, intervals))
                for group, num in num_keep.items()
            },
            "inverted": jnp.bool(strand.inverted),
        }

    def learn(round, theta, keys, order, num_keep):
        found, tables = {}, []
        for program, own in together.items():
            lanes = [
                begin(
                    RULES[strand.method.score].draw,
                    theta, keys[strand], order, hypers(round, strand, num_keep[strand]),
                )
                for strand in own
            ]  # fmt: skip
            lanes = stacks.concatenate(lanes)
            trained = runs[program](lanes, grid)
            for place, strand in enumerate(own):
                at = slice(place * len(order), (place + 1) * len(order))
                check_learned(strand.name, round, trained.summary["broken"][at])
                found[strand.name] = stacks.take(trained.final["scores"], at)
                history = {name: x[at] for name, x in trained.history.items()}
                tables.append(rows(strand.name, jax.device_get(history)))
        for strand in turned:
            method = found[strand.name.split("/")[0]]
            found[strand.name] = jax.tree.map(jnp.negative, method)
        columns = dict.fromkeys(name for table in tables for name in table)
        return found, {
            name: np.concatenate([table[name] for table in tables]) for name in columns
        }

    return learn


def check_learned(name: str, number: int, broken: jax.Array):
    """Refuses what a search has learned where it diverged.

    Args:
      name: of the strand.
      number: of the round.
      broken: its scores [R] that are inf or nan.
    """
    broken = np.asarray(broken)
    if not broken.any():
        return
    replicate = int(broken.argmax())
    raise ScoreError(
        f"round {number}: {broken[replicate]} scores that {name} learned in replicate "
        f"{replicate} are inf or nan, so weights cannot be ranked. The search "
        "diverged: take a smaller algorithm.search.learning_rate "
        "(gem_miner: gem_miner_learning_rate)"
    )


def rows(lane: str, history: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
    """History [R, T] as columns [R * T] of a table."""
    replicates, intervals = history["step"].shape
    return {
        "lane": np.repeat(lane, replicates * intervals),
        "replicate": np.repeat(np.arange(replicates), intervals),
        **{name: values.ravel() for name, values in history.items()},
    }
