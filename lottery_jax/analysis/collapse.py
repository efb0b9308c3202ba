"""When pruning before training empties a layer, and by how little it does not.

With N prunable weights in L layers (Tanaka et al., arXiv:2006.05467, sec. 3 to 5):

- *compression*: N over the weights kept; at most N / L with a weight in every layer.
- *critical compression* of a method: the largest without an empty layer.
- *flow ratio* of an iteration: the scores it prunes, summed, over the total of the
  layer that has the least, which for SynFlow is R in every layer. An iteration with a
  ratio below 1 empties no layer if scores are positive.

Weights are initial weights, layers compete globally, and counts are integers of the
host.
"""

import math
from collections.abc import Callable, Sequence
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import pandas as pd

from lottery_jax.tickets import masks, pruning, schedules, selection
from lottery_jax.tickets.layers import layers_of
from lottery_jax.tickets.saliency import SALIENCIES
from lottery_jax.tickets.scores import SCORES
from lottery_jax.types import Context, Key, Mask, Model, Scores, Split, Task

BEFORE_TRAINING = ("random", "magnitude", *SALIENCIES)
"""Scores in `SCORES` that make a difference before training."""


class Method(NamedTuple):
    """A way to prune: score, iterations and the path of their counts, as in imp."""

    score: str
    iterations: int = 1
    path: str = "exponential"


class Pruned(NamedTuple):
    """What is left of R networks.

    Attributes:
      kept: layer -> weights kept, int [R].
      ratio: flow ratio of every iteration, float [R, iterations]; 0 once a layer is
        empty, and without a meaning for scores with a sign.
    """

    kept: dict[str, np.ndarray]
    ratio: np.ndarray

    @property
    def empty(self) -> np.ndarray:
        """Number of empty layers, int [R]."""
        return sum(num == 0 for num in self.kept.values())


def layer_sizes(model: Model) -> dict[str, int]:
    """Prunable leaf -> its weights, in the order of the network."""
    sizes = layers_of(model).sizes
    return {name: sizes[name] for name in masks.in_order(sizes, model)}


def maximal_compression(sizes: dict[str, int]) -> float:
    """N / L: one weight is left in every layer."""
    return sum(sizes.values()) / len(sizes)


def make_prune(task: Task, keys: Key, examples: int = 100) -> Callable:
    """Builds `prune(method, num_keep [R]) -> Pruned` for R networks at once.

    Compiled once for each score and number of iterations.

    Args:
      task: network, loss and data.
      keys: [R], of the initial weights and the examples that scores look at.
      examples: how many of them.
    """
    model, sizes = task.model, layer_sizes(task.model)
    groups = selection.globally(list(sizes))
    programs = {}

    @jax.jit
    def draw(keys, data):
        """Keys of the scores, initial weights and examples of R networks."""

        def one(key):
            init_key, score_key, batch_key = jax.random.split(key, 3)
            params, _ = model.init(init_key)
            shape = (examples,)
            chosen = jax.random.choice(batch_key, len(data.x), shape, replace=False)
            return score_key, params, Split(data.x[chosen], data.y[chosen])

        return jax.vmap(one)(keys)

    def program(score):
        def one(key, params, batch, counts):
            whole = masks.full(params)
            context = Context(
                key=key, model=model, prunable=model.prunable(params), init=params,
                rewind_point=params, start=params, final=params, old_mask=whole,
                mask=whole, jitter=0.0, batch=batch, loss=task.loss,
            )  # fmt: skip

            def measure(scores, before, after):
                return _flow_ratio(scores, before, after, list(sizes))

            mask, ratio = pruning.prune(score, context, counts, groups, measure)
            return masks.num_kept(mask, context.prunable), ratio

        return jax.jit(jax.vmap(one))

    networks = draw(keys, jax.tree.map(jnp.asarray, task.dataset.train))

    def prune(method: Method, num_keep: Sequence[int]) -> Pruned:
        whole = {"all": sum(sizes.values())}
        ways = [
            [
                keep["all"]
                for keep in schedules.within(
                    whole, {"all": int(num)}, method.iterations, method.path
                )
            ]
            for num in num_keep
        ]
        if method.score not in programs:
            programs[method.score] = program(SCORES[method.score])
        counts = {"all": jnp.array(ways)}
        found = programs[method.score](*networks, counts)
        kept, ratio = jax.device_get(found)
        return Pruned({name: kept[name] for name in sizes}, ratio)

    return prune


def _flow_ratio(scores: Scores, before: Mask, after: Mask, names: list[str]):
    """Sum of the scores pruned over the least total of a layer: scalar."""
    scores, before, after = map(masks.named_leaves, (scores, before, after))
    totals = [jnp.sum(jnp.where(before[name], scores[name], 0)) for name in names]
    left = [jnp.sum(jnp.where(after[name], scores[name], 0)) for name in names]
    least = jnp.min(jnp.stack(totals))
    return jnp.where(least > 0, (sum(totals) - sum(left)) / least, 0)


def curves(
    prune: Callable,
    methods: Sequence[Method],
    exponents: Sequence[float],
    sizes: dict[str, int],
    replicates: int,
) -> pd.DataFrame:
    """What each method leaves of the layers, against compression.

    Args:
      prune: of `make_prune`.
      methods: to compare.
      exponents: log10 of the compressions.
      sizes: see `layer_sizes`.
      replicates: R.

    Returns:
      A row per method, exponent and replicate: score, iterations, path, exponent,
      compression (of the counts), replicate, num_keep, empty (layers), flow_ratio (the
      largest of all iterations), and what is kept of each layer under its path.
    """
    total, rows = sum(sizes.values()), []
    for method in methods:
        for exponent in exponents:
            num_keep = round(total / 10**exponent)
            pruned = prune(method, [num_keep] * replicates)
            rows += [
                method._asdict()
                | {"exponent": exponent, "compression": total / num_keep}
                | {"replicate": r, "num_keep": num_keep}
                | {"empty": pruned.empty[r], "flow_ratio": pruned.ratio[r].max()}
                | {name: num[r] for name, num in pruned.kept.items()}
                for r in range(replicates)
            ]
    return pd.DataFrame(rows)


def critical_compression(
    prune: Callable, method: Method, sizes: dict[str, int], replicates: int
) -> np.ndarray:
    """The largest compression of each replicate that empties no layer: float [R].

    By bisection of the integers from L - 1, which cannot do, to N, which does. Where
    sparser networks may survive again it is one of the ends of survival.
    """
    total = sum(sizes.values())
    low = np.full(replicates, len(sizes) - 1)
    high = np.full(replicates, total)
    while np.any(high - low > 1):
        middle = [
            min(max(math.isqrt(int(a) * int(b)), a + 1), b)
            for a, b in zip(low, high, strict=True)
        ]
        survives = prune(method, middle).empty == 0
        high = np.where(survives, middle, high)
        low = np.where(survives, low, middle)
    return total / high
