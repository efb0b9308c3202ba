"""Learned supermasks: training the mask of a random network and none of its weights.

Every kernel entry has a logit v and is kept with probability p = sigmoid(v) (Zhou et
al., arXiv:1905.01067, sec. 5). A training step draws a mask B of 0 and 1 and passes the
gradient straight through to p; an evaluation draws a mask too, so an accuracy is a mean
over several. Kernels and biases stay as they were drawn.

Rounds differ in the initial logit, which is what steers the density.
"""

import zlib
from collections.abc import Callable, Mapping

import jax
import jax.numpy as jnp

from lottery_jax import rng, stacks
from lottery_jax.algorithms.base import (
    Algorithm,
    Grid,
    MakeRun,
    RoundInfo,
    RoundState,
    control_key,
    flatten_lanes,
    label_lanes,
    make_hypers,
)
from lottery_jax.errors import ConfigError
from lottery_jax.tickets import masks
from lottery_jax.tickets.layers import layers_of
from lottery_jax.tickets.reinitialization import REINITS
from lottery_jax.types import Context, Lane, Model, Params, Task

CERTAIN = 30.0
"""A logit with which a weight is always kept; its negative: never."""


def masked_model(model: Model, rescale: bool) -> Model:
    """`model` under random masks: params {"logits", "weights"}, state {"noise"}.

    Args:
      model: without state of its own.
      rescale: multiply each kernel by its size over the number kept (dynamic weight
        rescaling, sec. 5); the gradient sees that number too, as in the paper's code.
    """

    def init(key):
        weights, _ = model.init(key)
        logits = jax.tree.map(jnp.zeros_like, weights)
        params = {"logits": logits, "weights": weights}
        # Far from the numbers that the order of the data folds into the same key.
        noise = jax.random.fold_in(key, zlib.crc32(b"noise"))
        return params, {"noise": jax.random.key_data(noise)}

    def apply(params, state, x, *, train):
        noise = jax.random.wrap_key_data(state["noise"])
        now, later, evaluation = jax.random.split(noise, 3)
        structure = jax.tree.structure(params["weights"])
        keys = jax.random.split(now if train else evaluation, structure.num_leaves)

        def effective(key, weight, logit, prunable):
            if not prunable:
                return weight
            p = jax.nn.sigmoid(logit)
            kept = jax.random.bernoulli(key, p).astype(p.dtype)
            kept = kept + p - jax.lax.stop_gradient(p)
            scale = kept.size / jnp.maximum(1, kept.sum()) if rescale else 1
            return weight * kept * scale

        weights = jax.tree.map(
            effective,
            jax.tree.unflatten(structure, keys),
            params["weights"],
            params["logits"],
            model.prunable(params["weights"]),
        )
        outputs, _ = model.apply(weights, {}, x, train=train)
        if not train:
            return outputs, state
        return outputs, {"noise": jax.random.key_data(later)}

    return Model(init, apply, lambda params: jax.tree.map(lambda _: False, params))


def supermask(
    task: Task,
    make_run: MakeRun,
    grid: Grid,
    *,
    learning_rate: float,
    replicates: int,
    controls: Mapping[str, int],
    initial_logits: tuple[float, ...] = (0.0,),
    rescale: bool = False,
    samples: int = 10,
    jitter: float = 0.1,
) -> Algorithm:
    """Builds the algorithm.

    Args:
      task: the network, without state.
      make_run: builds the program that trains stacked lanes.
      grid: steps at which to evaluate.
      learning_rate: of the logits.
      replicates: R, independent repetitions.
      controls: name in `REINITS` -> how many per replicate: lanes that learn a mask of
        other weights, such as "constant_signed".
      initial_logits: of all logits at first, one per round.
      rescale: dynamic weight rescaling.
      samples: masks over which an accuracy is averaged.
      jitter: noise of the control "jitter", in standard deviations.

    Raises:
      ConfigError: a control of the mask.
    """
    for name, number in controls.items():
        if number and name not in REINITS:
            problem = "the mask is what is learned; controls have other weights"
            raise ConfigError(f"controls.{name}", problem)
    model = task.model
    run = make_run(masked_model(model, rescale), sparse=False, keep_pruned=True)
    prunable = layers_of(model).prunable
    labels = label_lanes(controls, replicates)

    def init(roots) -> RoundState:
        return RoundState(jnp.int32(0), roots)

    @jax.jit
    def prepare(state: RoundState, logit) -> Lane:
        """Lanes [N, ...] that train logits alone."""

        def one(replicate):
            def key(name, round=state.round):
                return rng.stream(state.roots, name, replicate, round)

            theta, _ = model.init(key("init", 0))
            mask = masks.full(theta)
            context = Context(
                key=key("control"), model=model, prunable=prunable, init=theta,
                rewind_point=theta, start=theta, final=theta, old_mask=mask, mask=mask,
                jitter=jitter,
            )  # fmt: skip
            drawn = [theta]
            for name, number in controls.items():
                for sample in range(number):
                    own = control_key(context.key, name, sample)
                    drawn.append(REINITS[name](context._replace(key=own)))
            logits = jax.tree.map(lambda leaf: jnp.full_like(leaf, logit), theta)
            none = jax.tree.map(jnp.logical_not, mask)
            hypers = make_hypers(learning_rate)
            return stacks.stack(
                [
                    Lane(
                        {"logits": logits, "weights": weights},
                        {"logits": mask, "weights": none},
                        key("order"),
                        hypers,
                    )
                    for weights in drawn
                ]
            )

        return flatten_lanes(jax.vmap(one, out_axes=1)(jnp.arange(replicates)))

    def accuracy_of_masks(lanes: Lane, steps: list[int]) -> dict[str, jax.Array]:
        """Means over `samples` masks of the metrics on the test split: [N]."""
        stay = jnp.full(len(steps), steps[-1])
        found = []
        for sample in range(samples):
            keys = jax.vmap(jax.random.fold_in, (0, None))(lanes.key, sample)
            summary = run(lanes._replace(key=keys), stay).summary
            found.append({k: v for k, v in summary.items() if k.startswith("test_")})
        return jax.tree.map(lambda *values: jnp.stack(values).mean(0), *found)

    def step(state: RoundState) -> tuple[RoundState, RoundInfo]:
        number = int(state.round)
        steps = grid({}, 0)
        lanes = prepare(state, initial_logits[number])
        trained = run(lanes, jnp.array(steps))
        weights, logits = lanes.params["weights"], trained.final["logits"]
        likely = _where_prunable(lambda logit: logit >= 0, logits, prunable)
        rounded = jax.tree.map(lambda kept: jnp.where(kept, CERTAIN, -CERTAIN), likely)
        sampled = accuracy_of_masks(lanes._replace(params=trained.final), steps)
        at_best = accuracy_of_masks(lanes._replace(params=trained.best), steps)
        fixed = {"logits": rounded, "weights": weights}
        most_likely = run(lanes._replace(params=fixed), jnp.full(len(steps), steps[-1]))
        summary = trained.summary | sampled
        summary |= {f"early_stop_{name}": value for name, value in at_best.items()}
        summary["expected_density"] = masks.density(
            _where_prunable(jax.nn.sigmoid, logits, prunable), prunable
        )
        summary |= {
            f"most_likely_{name}": value
            for name, value in most_likely.summary.items()
            if name.startswith("test_")
        }
        info = RoundInfo(
            round=number,
            density=float(masks.density(likely, prunable)[:replicates].mean()),
            num_keep={},
            groups={},
            prunable=prunable,
            labels=labels,
            # No weight is trained, and the certificate says whether that is so.
            lanes=lanes._replace(params=weights, mask=lanes.mask["weights"]),
            rewound=None,
            old_mask=stacks.first(jax.tree.map(_ones, weights), replicates),
            trained=trained._replace(
                final=trained.final["weights"],
                best=trained.best["weights"],
                summary=summary,
            ),
            start=0,
            keeps_pruned=True,
            found_mask=likely,
        )
        return state._replace(round=state.round + 1), info

    return Algorithm(init, step, [{} for _ in initial_logits])


def _ones(leaf):
    return jnp.ones(leaf.shape, bool)


def _where_prunable(function: Callable, tree: Params, prunable):
    """`function` of the leaves that may be pruned; ones elsewhere."""
    return jax.tree.map(
        lambda leaf, may: function(leaf) if may else jnp.ones(leaf.shape, bool),
        tree,
        prunable,
    )
