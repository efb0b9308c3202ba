"""Searches by learned scores, for the methods of a comparison that learn them."""

import functools
import zlib
from collections.abc import Callable, Mapping

import jax
import jax.numpy as jnp
import numpy as np

from lottery_jax.algorithms.base import MakeRun
from lottery_jax.algorithms.methods import RULES, Strand
from lottery_jax.tickets import masks, selection
from lottery_jax.training import loop, score_learning
from lottery_jax.types import Dataset, Key, Lane, Params, Scores

Learn = Callable[..., tuple[dict[str, Scores], dict[str, np.ndarray]]]


def make_learn(
    make_run: MakeRun,
    sizes: Mapping[str, int],
    datasets: Mapping[str, Dataset],
    *,
    learning_rate: float,
    steps: int,
    update_every: int,
    regularization: float,
    **optimization,
) -> Learn:
    """Builds `learn(theta, keys, order, num_keep) -> (scores, table)`.

    Every search begins anew with theta_0. Those of one rule on the same data share a
    program, and strands of one method share scores at first and the order of the data.

    Args:
      make_run: builds the program that trains stacked lanes.
      sizes: path of a kernel -> weights.
      datasets: by name.
      learning_rate: of scores.
      steps: T, of a search.
      update_every: steps of an interval.
      regularization: weight of the rule's penalty.
      optimization: what else a search has, which `make_run` knows.

    Returns:
      `learn`, of theta_0 [R, ...]; strand -> keys [R] of its scores; keys [R] of the
      order of the data; strand -> group -> weights to keep. The scores are by name of
      the strand: path of a kernel -> [R, ...], higher = keep. The table has a row per
      strand, replicate and interval, see `score_learning.make_train`.
    """
    del optimization
    grid = jnp.array(loop.evaluation_grid(steps, update_every, {}))
    runs = {}

    def program(strand: Strand):
        rule = RULES[strand.method.score]._replace(counts=None)
        layers = strand.method.allocation is not None
        if (rule, layers, strand.data) not in runs:
            scope = selection.layerwise if layers else selection.globally
            runs[rule, layers, strand.data] = make_run(
                search=True,
                make_train=score_learning.make_train,
                name=f"search_{len(runs)}_",
                dataset=datasets[strand.data],
                rule=rule,
                groups=scope(list(sizes)),
                regularization=regularization,
            )
        return runs[rule, layers, strand.data]

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

    def hypers(strand: Strand, num_keep: Mapping[str, int]) -> dict:
        counts, intervals = RULES[strand.method.score].counts, len(grid) - 1
        whole = {"all": sum(sizes.values()), **sizes}
        return {
            "learning_rate": jnp.float32(learning_rate),
            "num_keep": {
                group: jnp.array(counts(whole[group], num, intervals))
                for group, num in num_keep.items()
            },
            "inverted": jnp.bool(strand.inverted),
        }

    def learn(theta, keys, order, num_keep):
        together, found, tables = {}, {}, []
        for strand in num_keep:
            together.setdefault(program(strand), []).append(strand)
        for run, strands in together.items():
            lanes = [
                begin(
                    RULES[strand.method.score].draw,
                    theta, keys[strand], order, hypers(strand, num_keep[strand]),
                )
                for strand in strands
            ]  # fmt: skip
            trained = run(jax.tree.map(lambda *x: jnp.concatenate(x), *lanes), grid)
            for place, strand in enumerate(strands):
                own = slice(place * len(order), (place + 1) * len(order))
                found[strand.name] = jax.tree.map(
                    lambda leaf, own=own: leaf[own], trained.final["scores"]
                )
                history = {name: x[own] for name, x in trained.history.items()}
                tables.append(rows(strand.name, jax.device_get(history)))
        columns = dict.fromkeys(name for table in tables for name in table)
        return found, {
            name: np.concatenate([table[name] for table in tables]) for name in columns
        }

    return learn


def rows(lane: str, history: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
    """History [R, T] as columns [R * T] of a table."""
    replicates, intervals = history["step"].shape
    return {
        "lane": np.repeat(lane, replicates * intervals),
        "replicate": np.repeat(np.arange(replicates), intervals),
        **{name: values.ravel() for name, values in history.items()},
    }
