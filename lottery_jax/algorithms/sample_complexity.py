"""How many samples a ticket needs: students near a teacher, pruned by an accurate mask.

Zhang et al. (arXiv:2110.05667) prove for one hidden layer that the samples needed grow
with the weights that the mask keeps. A teacher of K units has r weights in each, at
random places; the student has its mask, starts near it and trains on N samples. A
success comes back to the teacher. Rounds differ in r, lanes in N.

The lanes `over_wide` have the same mask, and a teacher that needs few of its weights:
is it the mask that decides how many samples are needed, or the teacher?

The paper starts from a tensor initialisation; here the start is the teacher and a
perturbation of a given length, so that the mask decides and not the initialisation. It
has published no code; what is unconfirmed stands in docs/results/sample_complexity.
"""

from collections.abc import Mapping

import jax
import jax.numpy as jnp
import optax

from lottery_jax import rng, stacks
from lottery_jax.algorithms.base import (
    Algorithm,
    Grid,
    Label,
    MakeRun,
    RoundInfo,
    RoundState,
    flatten_lanes,
)
from lottery_jax.errors import ConfigError
from lottery_jax.tickets import masks, selection
from lottery_jax.tickets.layers import layers_of
from lottery_jax.training import teachers
from lottery_jax.types import Key, Lane, Params, Task

OVER_WIDE = "over_wide"
"""The lanes whose teacher has fewer weights than their mask."""


def sample_complexity(
    task: Task,
    make_run: MakeRun,
    grid: Grid,
    *,
    learning_rate: float,
    replicates: int,
    controls: Mapping[str, int],
    kept_per_unit: tuple[int, ...],
    support: int,
    samples: tuple[int, ...],
    distance: float = 0.3,
    tolerance: float = 1e-3,
) -> Algorithm:
    """Builds the algorithm.

    The teacher's weights, the places of its support (those of a small r are among those
    of a large one) and the samples (the N first of one draw) are a replicate's own, and
    the same in all rounds and lanes, so that these are compared on equal terms.

    Args:
      task: a committee with one output, and the inputs.
      make_run: builds the program that trains stacked lanes.
      grid: steps at which to evaluate.
      learning_rate: of every lane.
      replicates: R, independent teachers and draws of samples.
      controls: none; the lanes are the algorithm's own.
      kept_per_unit: r, weights of each hidden unit that the mask keeps, one per round.
      support: weights of each unit that the teacher of `over_wide` has.
      samples: N, one ticket and one `over_wide` lane for each. In the tables a lane's
        `sample` is the place of its N in this list, `samples` the number itself.
      distance: |W_0 - W*| / |W*| at the start.
      tolerance: the same ratio, at the end of a success.

    Raises:
      ConfigError: more weights than a unit has; data with classes or several targets.
    """
    del controls
    if task.dataset.num_classes is not None or task.dataset.train.y[0].size != 1:
        problem = f"{task.dataset.name}: a committee has one output, for regression"
        raise ConfigError("data.name", problem)
    model = task.model
    layers = layers_of(model)
    prunable, ((name, (inputs, width)),) = layers.prunable, layers.shapes.items()
    if max(kept_per_unit) > inputs:
        problem = f"{max(kept_per_unit)}: a unit has {inputs} weights"
        raise ConfigError("algorithm.kept_per_unit", problem)
    labels = [
        Label(lane, number, replicate)
        for lane in ("ticket", OVER_WIDE)
        for number in range(len(samples))
        for replicate in range(replicates)
    ]
    ladder = [{name: width * kept} for kept in kept_per_unit]
    run = make_run(make_train=teachers.make_train, tolerance=tolerance)

    def init(roots) -> RoundState:
        return RoundState(jnp.int32(0), roots)

    @jax.jit
    def prepare(roots, kept) -> Lane:
        """Lanes [N, ...] of all sample sizes, near their teachers."""

        def one(replicate):
            weights_key, place_key, perturbation_key = jax.random.split(
                rng.stream(roots, "init", replicate), 3
            )
            samples_key = rng.stream(roots, "order", replicate)
            weights, _ = model.init(weights_key)
            drawn, _ = model.init(perturbation_key)
            turns = turns_per_unit(place_key, weights)
            mask = jax.tree.map(lambda turn: turn < kept, turns)
            perturbation = of_length(distance, masks.apply(drawn, mask))
            lanes = []
            for size in (kept, support):
                own = jax.tree.map(lambda turn, size=size: turn < size, turns)
                # The network is homogeneous, so all teachers may have length 1.
                teacher = of_length(1.0, masks.apply(weights, own))
                start = optax.tree.add(teacher, perturbation)
                for number in samples:
                    hypers = {
                        "learning_rate": jnp.float32(learning_rate),
                        "perturbation": perturbation,
                        "samples": jnp.int32(number),
                    }
                    lanes.append(Lane(start, mask, samples_key, hypers))
            return stacks.stack(lanes)

        return flatten_lanes(jax.vmap(one, out_axes=1)(jnp.arange(replicates)))

    def step(state: RoundState) -> tuple[RoundState, RoundInfo]:
        number = int(state.round)
        lanes = prepare(state.roots, kept_per_unit[number])
        trained = run(lanes, jnp.array(grid({}, 0)))
        kernels = masks.named_leaves(lanes.mask)[name]
        effective = jax.vmap(effective_sparsity)(kernels)
        summary = trained.summary | {"effective_sparsity": effective}
        matrices = summary.pop("gauss_newton")
        least = teachers.least_eigenvalues(matrices, lanes.mask)
        summary["least_eigenvalue"] = least
        info = RoundInfo(
            round=number,
            density=kept_per_unit[number] / inputs,
            num_keep=ladder[number],
            groups=selection.layerwise([name]),
            prunable=prunable,
            labels=labels,
            lanes=lanes,
            rewound=None,
            old_mask=masks.full(stacks.first(lanes.mask, len(labels) // 2)),
            trained=trained._replace(summary=summary),
            start=0,
        )
        return state._replace(round=state.round + 1), info

    return Algorithm(init, step, ladder)


def turns_per_unit(key: Key, params: Params) -> Params:
    """When each weight's turn comes, in a random order of every column: 0, 1, ...

    A mask of the first r has r weights in every column, and those of a smaller r.
    """

    def draw(leaf):
        order = jnp.argsort(jax.random.uniform(key, leaf.shape), axis=0)
        return jnp.argsort(order, axis=0)

    return jax.tree.map(draw, params)


def of_length(length: float, tree: Params) -> Params:
    """The tree with that L2 norm."""
    return optax.tree.scale(length / optax.tree.norm(tree), tree)


def effective_sparsity(support: jax.Array) -> jax.Array:
    """The paper's r~ of a hidden layer's mask: bool [inputs, K].

    (1 / 8 K^4) (sum_jk (1 + delta_jk) sqrt(r_j + r_k))^2, with r_j weights in column j
    and delta_jk = 1 where columns j and k overlap. It is r if all have the same support
    of r weights, r (K + 1)^2 / 4 K^2 if none overlap.
    """
    number = support.astype(jnp.float32)
    overlap = number.T @ number > 0
    count = number.sum(0)
    roots = jnp.sqrt(count[:, None] + count[None])
    return jnp.sum((1 + overlap) * roots) ** 2 / (8 * len(count) ** 4)
