"""Scores of the network as a function: oracles, laws, pruning at initialisation."""

import functools
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from lottery_jax import assembly, experiment, programs, validation
from lottery_jax.errors import ConfigError, ScoreError
from lottery_jax.models import MODELS
from lottery_jax.tickets import masks, schedules, selection
from lottery_jax.tickets.saliency import grasp, snip, synflow
from lottery_jax.tickets.scores import OF_TRAINING, SCORES, num_broken
from lottery_jax.training import losses
from lottery_jax.types import Context, Split
from tests import helpers

LAYERS = ("dense_0", "dense_1", "output")


@functools.cache
@jax.enable_x64(False)  # whoever asks for it first
def make_context(sizes=(6, 8, 5, 3), seed=0, density=0.7, examples=12):
    """An MLP with biases that are not zero, some weights pruned, a batch."""
    model = MODELS["mlp"](sizes[:1], sizes[-1], hidden=sizes[1:-1])
    keys = jax.random.split(jax.random.key(seed), 4)
    params, _ = model.init(keys[0])
    params = jax.tree.map(
        lambda leaf: leaf if leaf.ndim > 1 else 0.1 * jnp.cos(jnp.arange(leaf.size)),
        params,
    )
    mask = helpers.random_mask(params, seed, density)
    x = jax.random.normal(keys[1], (examples, sizes[0]))
    y = jax.random.randint(keys[2], (examples,), 0, sizes[-1])
    return Context(
        key=keys[3], model=model, prunable=model.prunable(params), init=params,
        rewind_point=params, start=params, final=params, old_mask=mask, mask=mask,
        jitter=0.1, batch=Split(x, y), loss=losses.cross_entropy,
    )  # fmt: skip


def in_float64(context):
    """The same weights and examples; `jax.enable_x64` must be on."""
    wide = jax.tree.map(
        lambda leaf: jnp.asarray(np.asarray(leaf), jnp.float64),
        (context.final, context.batch.x),
    )
    return context._replace(final=wide[0], batch=context.batch._replace(x=wide[1]))


# --- independent oracles, in float64


def numpy_loss(weights, x, y, temperature=1.0):
    """Mean cross-entropy of a ReLU MLP, example by example."""
    total = 0.0
    for example, label in zip(x, y, strict=True):
        h = example
        for number, (kernel, bias) in enumerate(weights):
            out = bias.copy()
            for i in range(kernel.shape[0]):
                for j in range(kernel.shape[1]):
                    out[j] += h[i] * kernel[i, j]
            h = np.maximum(out, 0) if number < len(weights) - 1 else out
        h = h / temperature
        total += np.log(np.exp(h).sum()) - h[label]
    return total / len(x)


def as_numpy(context):
    params = masks.apply(context.final, context.old_mask)
    weights = [
        [np.array(params[layer][name], np.float64) for name in ("kernel", "bias")]
        for layer in LAYERS
    ]
    return weights, np.array(context.batch.x, np.float64), np.array(context.batch.y)


def numpy_gradient(weights, x, y, temperature=1.0, step=1e-5):
    """Central differences, one weight at a time."""
    gradients = []
    for pair in weights:
        gradients.append([])
        for leaf in pair:
            found = np.zeros_like(leaf)
            for place in np.ndindex(leaf.shape):
                kept = leaf[place]
                leaf[place] = kept + step
                above = numpy_loss(weights, x, y, temperature)
                leaf[place] = kept - step
                below = numpy_loss(weights, x, y, temperature)
                leaf[place] = kept
                found[place] = (above - below) / (2 * step)
            gradients[-1].append(found)
    return gradients


def kernels(scores):
    return [np.asarray(scores[layer]["kernel"]) for layer in LAYERS]


def test_snip_and_grad_are_derivatives_by_differences():
    context = make_context(sizes=(3, 4, 3, 2), examples=3)
    weights, x, y = as_numpy(context)
    gradients = numpy_gradient(weights, x, y)
    found = zip(kernels(snip(context)), kernels(SCORES["grad"](context)), strict=True)
    for (kernel, _), (slope, _), (by_snip, by_grad) in zip(
        weights, gradients, found, strict=True
    ):
        np.testing.assert_allclose(
            by_snip, np.abs(kernel * slope), rtol=1e-3, atol=1e-6
        )
        np.testing.assert_allclose(by_grad, np.abs(slope), rtol=1e-3, atol=1e-6)


def test_grasp_is_a_product_with_the_whole_hessian():
    """By second differences of every pair of weights."""
    context = make_context(sizes=(3, 4, 3, 2), examples=3)
    weights, x, y = as_numpy(context)
    gradients = numpy_gradient(weights, x, y, 200.0)
    step, whole = (
        1e-4,
        [(n, at) for n in range(3) for at in np.ndindex(weights[n][0].shape)],
    )
    direction = {
        (n, at): gradients[n][0][at] * bool(context.old_mask[LAYERS[n]]["kernel"][at])
        for n, at in whole
    }

    def loss_at(one, other, signs):
        for (n, at), sign in zip((one, other), signs, strict=True):
            weights[n][0][at] += sign * step
        value = numpy_loss(weights, x, y, 200.0)
        for (n, at), sign in zip((one, other), signs, strict=True):
            weights[n][0][at] -= sign * step
        return value

    expected = [np.zeros_like(kernel) for kernel, _ in weights]
    for one in whole:
        for other in whole:
            second = sum(
                a * b * loss_at(one, other, (a, b)) for a in (1, -1) for b in (1, -1)
            ) / (4 * step**2)
            n, at = one
            expected[n][at] += weights[n][0][at] * second * direction[other]
    scale = max(np.abs(leaf).max() for leaf in expected)
    for a, b in zip(kernels(grasp(context)), expected, strict=True):
        np.testing.assert_allclose(a / scale, b / scale, atol=1e-3)


def test_synflow_counts_paths():
    """Every path from an input to an output, by loops; biases take no part."""
    context = make_context(sizes=(3, 4, 3, 2))
    first, second, last = (np.abs(kernel) for (kernel, _) in as_numpy(context)[0])
    expected = [np.zeros_like(leaf) for leaf in (first, second, last)]
    for a, b, c, d in np.ndindex(3, 4, 3, 2):
        flow = first[a, b] * second[b, c] * last[c, d]
        expected[0][a, b] += flow
        expected[1][b, c] += flow
        expected[2][c, d] += flow
    found = kernels(synflow(context))
    factor = found[0].sum() / expected[0].sum()
    for score, paths in zip(found, expected, strict=True):
        np.testing.assert_allclose(score, factor * paths, rtol=1e-4, atol=1e-7)


# --- what theory says


def test_synflow_needs_no_data():
    context = make_context()
    other = context._replace(
        batch=jax.tree.map(lambda leaf: 0 * leaf, context.batch), key=jax.random.key(9)
    )
    helpers.assert_trees_equal(synflow(context), synflow(other))


def test_synflow_is_blind_to_the_scale_of_layers():
    """By factors whose products float32 does not hold; to the last bit by 2^n."""
    context = make_context()
    groups = selection.globally([f"{layer}/kernel" for layer in LAYERS])

    def scores_and_mask(context):
        scores = synflow(context)
        return scores, selection.select(scores, context.mask, {"all": 40}, groups)

    scores, mask = scores_and_mask(context)
    for factors, tolerance in [((2.0**83, 2.0**99, 2.0**-66), 0),
                               ((1e25, 3e30, 7e-20), 1e-5)]:  # fmt: skip
        scales = dict(zip(LAYERS, factors, strict=True))
        scaled = {
            layer: jax.tree.map(lambda leaf, s=scales[layer]: leaf * s, leaves)
            for layer, leaves in context.final.items()
        }
        other, same_mask = scores_and_mask(context._replace(final=scaled))
        helpers.assert_trees_equal(mask, same_mask)
        ratios = np.concatenate(
            [
                b[a > 0] / a[a > 0]
                for a, b in zip(*map(kernels, (scores, other)), strict=True)
            ]
        )
        np.testing.assert_allclose(ratios, ratios[0], rtol=tolerance)


def all_prunable(context):
    """Where biases compete with the weights."""
    return context._replace(prunable=jax.tree.map(lambda leaf: True, context.final))


def flows_in_float64(params, layers):
    """|theta dR/d|theta|| of a chain with its biases, nothing scaled: an oracle."""
    weights = [
        {name: np.abs(np.float64(leaf)) for name, leaf in params[layer].items()}
        for layer in layers
    ]
    inputs = [np.ones(len(weights[0]["kernel"]))]
    for leaves in weights:
        inputs.append(inputs[-1] @ leaves["kernel"] + leaves["bias"])
    behind, scores = np.ones(len(inputs[-1])), {}
    for layer, leaves, x in reversed(list(zip(layers, weights, inputs, strict=False))):
        scores[layer] = {
            "kernel": x[:, None] * leaves["kernel"] * behind,
            "bias": leaves["bias"] * behind,
        }
        behind = leaves["kernel"] @ behind
    return {layer: scores[layer] for layer in sorted(layers)}


@pytest.mark.parametrize("scale", [1e-6, 1.0, 1e6])
def test_synflow_of_biases_ranks_them_among_the_weights(scale):
    context = all_prunable(make_context())
    context = context._replace(
        final=jax.tree.map(lambda x: x if x.ndim < 2 else x * scale, context.final)
    )
    params = masks.apply(context.final, context.old_mask)
    expected = jax.tree.leaves(flows_in_float64(params, LAYERS))
    found = jax.tree.leaves(synflow(context))
    factor = np.sum(found[1]) / np.sum(expected[1])
    for score, flow in zip(found, expected, strict=True):
        np.testing.assert_allclose(score, factor * flow, rtol=1e-5)
    assert min(np.max(leaf) for leaf in found) > 0


def test_synflow_leaves_biases_out_that_may_not_be_pruned():
    context = make_context()
    assert not any(np.any(synflow(context)[layer]["bias"]) for layer in LAYERS)
    without = {layer: context.final[layer] | {"bias": jnp.zeros_like(leaves["bias"])}
               for layer, leaves in context.final.items()}  # fmt: skip
    other = synflow(context._replace(final=without))
    helpers.assert_trees_equal(synflow(context), other)


def test_a_bias_without_a_place_in_the_network_is_refused():
    context = all_prunable(make_context())
    nameless = context.model._replace(uses=())
    with pytest.raises(ConfigError, match="dense_0/bias may be pruned, but"):
        synflow(context._replace(model=nameless))


def test_synflow_of_forty_layers_is_that_of_float64():
    """Without scaling the flow is inf in float32."""
    depth, width = 40, 16
    layers = [*(f"dense_{i}" for i in range(depth - 1)), "output"]
    model = MODELS["mlp"]((width,), width, hidden=(width,) * (depth - 1))
    params, _ = model.init(jax.random.key(0))
    keys = jax.random.split(jax.random.key(1), 2 * depth)
    leaves, structure = jax.tree.flatten(params)
    leaves = [
        1.5 * jax.random.normal(key, leaf.shape)
        for key, leaf in zip(keys, leaves, strict=True)
    ]
    params = jax.tree.unflatten(structure, leaves)
    flow, _ = model.apply(
        jax.tree.map(jnp.abs, params), {}, jnp.ones((1, width)), train=False
    )
    assert not np.isfinite(flow).any()
    context = all_prunable(
        make_context()._replace(
            model=model, final=params, old_mask=masks.full(params),
            batch=Split(jnp.zeros((1, width)), None),
        )
    )  # fmt: skip
    scores, expected = synflow(context), flows_in_float64(params, layers)
    ordered = np.sort(np.concatenate([x.ravel() for x in jax.tree.leaves(expected)]))
    # Where the next score is so far off that rounding cannot change places.
    gaps = ordered[1:] / ordered[:-1]
    place = 4000 + np.argmax(gaps[4000:6000])
    assert gaps[place] > 1.001
    names = list(masks.named_leaves(params))
    mask = selection.select(
        scores, context.old_mask, {"all": ordered.size - place - 1},
        selection.globally(names),
    )  # fmt: skip
    helpers.assert_trees_equal(
        mask, jax.tree.map(lambda flow: flow > ordered[place], expected)
    )


def test_synflow_layers_have_one_total():
    totals = [leaf.sum() for leaf in kernels(synflow(make_context()))]
    np.testing.assert_allclose(totals, totals[0], rtol=1e-5)


def test_snip_is_blind_to_rescaled_units_and_magnitude_is_not():
    """A ReLU unit whose inputs grow and whose outputs shrink is the same unit."""
    context = make_context()
    grown = jax.tree.map(jnp.array, context.final)
    c = jnp.array([3.0, 0.5, 1, 2, 10, 1, 1, 0.1])
    first = grown["dense_0"]
    grown["dense_0"] = {"kernel": first["kernel"] * c[None], "bias": first["bias"] * c}
    grown["dense_1"]["kernel"] = grown["dense_1"]["kernel"] / c[:, None]
    other = context._replace(final=grown)
    for a, b in zip(kernels(snip(context)), kernels(snip(other)), strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-3, atol=1e-7)
    magnitude = SCORES["magnitude"]
    assert helpers.trees_differ(magnitude(context), magnitude(other))


@pytest.mark.parametrize(
    ("path", "expected"),
    [("exponential", [316, 100, 32, 10]), ("linear", [752, 505, 258, 10])],
)
def test_counts_on_the_way(path, expected):
    way = schedules.within({"all": 1000}, {"all": 10}, 4, path)
    found = [keep["all"] for keep in way]
    np.testing.assert_allclose(found, expected, atol=1)
    assert found[-1] == 10


# --- scores that are no numbers


def test_only_finite_weights_are_asked_for_finite_scores():
    params = {"a": jnp.ones((2, 3)), "b": jnp.ones(3)}
    mask = {"a": jnp.ones((2, 3), bool).at[0, 0].set(False), "b": jnp.ones(3, bool)}
    prunable = {"a": True, "b": False}
    scores = {"a": jnp.full((2, 3), jnp.inf).at[1, 1].set(0), "b": jnp.full(3, jnp.nan)}
    assert num_broken(scores, params, mask, prunable) == 4
    finite = jax.tree.map(jnp.zeros_like, scores)
    assert num_broken(finite, params, mask, prunable) == 0
    pruned = params | {"a": params["a"].at[0, 0].set(jnp.nan)}
    assert num_broken(scores, pruned, mask, prunable) == 4
    diverged = params | {"b": jnp.array([1, jnp.nan, 1])}
    assert num_broken(scores, diverged, mask, prunable) == 0


@pytest.mark.parametrize("score", ["synflow", "snip"])
def test_a_network_that_overflows_stops_the_run(score):
    config = at_init(algorithm__score=score)
    task, _, roots = helpers.tiny_algorithm(config)
    calm = task.model.apply

    def overflowing(params, state, x, *, train):
        outputs, state = calm(params, state, x, train=train)
        return outputs * 1e30 * (outputs * 1e30), state

    task = task._replace(model=task.model._replace(apply=overflowing))
    make_run = programs.make_programs(config, task, Path("unused"))
    algorithm = assembly.make_algorithm(config, task, make_run)
    with pytest.raises(ScoreError, match=f"round 0: the score {score} is inf or nan"):
        algorithm.step(algorithm.init(roots))


# --- pruning at initialisation


def at_init(**changes):
    changes = {"algorithm__pretrain": False, "algorithm__score_examples": 50} | changes
    return helpers.tiny_config(**changes)


@pytest.mark.parametrize(
    ("score", "one_shot"), [("snip", False), ("synflow", False), ("synflow", True)]
)
def test_masks_are_made_from_initial_weights(score, one_shot):
    config = at_init(
        algorithm__score=score, algorithm__one_shot=one_shot, algorithm__rounds=2,
        algorithm__iterations=2,
    )  # fmt: skip
    task, algorithm, roots = helpers.tiny_algorithm(config)
    state = algorithm.init(roots)
    theta = state.init
    infos = []
    for _ in range(3):
        state, info = algorithm.step(state)
        infos.append(info)
    assert infos[1].trained_before is None
    helpers.assert_trees_equal(infos[2].rewound, theta)
    # By hand, for SynFlow, whose score has no data: replicate 1 of round 1.
    if score == "synflow":
        params = jax.tree.map(lambda leaf: leaf[1], theta)
        mask = masks.full(params)
        context = make_context()._replace(
            model=task.model, prunable=task.model.prunable(params), final=params,
            batch=Split(task.dataset.train.x[:1], None),
        )  # fmt: skip
        sizes, goal = algorithm.ladder[:2]
        for keep in schedules.within(sizes, goal, 2, "exponential"):
            scores = synflow(context._replace(old_mask=mask, mask=mask))
            mask = selection.select(scores, mask, keep, infos[1].groups)
        found = jax.tree.map(lambda leaf: leaf[1], infos[1].lanes.mask)
        helpers.assert_trees_equal(found, mask)
    nested = jax.tree.map(
        lambda new, old: bool((old | ~new)[:2].all()),
        infos[2].lanes.mask, infos[1].lanes.mask,
    )  # fmt: skip
    assert one_shot or all(jax.tree.leaves(nested))


def test_scores_see_examples_of_their_own_replicate():
    config = at_init(algorithm__score="snip", algorithm__rounds=1)
    task, algorithm, roots = helpers.tiny_algorithm(config)
    state, _ = algorithm.step(algorithm.init(roots))
    same = jax.tree.map(lambda leaf: jnp.stack([leaf[0], leaf[0]]), state.init)
    full = jax.tree.map(lambda leaf: jnp.ones(leaf.shape, bool), same)
    state = state._replace(init=same, start=same, final=same, mask=full)
    _, info = algorithm.step(state)
    one, other = (
        jax.tree.map(lambda leaf, r=r: leaf[r], info.lanes.mask) for r in (0, 1)
    )
    assert helpers.trees_differ(one, other)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"algorithm__score": OF_TRAINING[0]}, "algorithm.score: magnitude_increase"),
        ({"algorithm__rewind_step": 3}, "algorithm.rewind_step: 3"),
        ({"algorithm__rewind": "fine_tune"}, "algorithm.rewind: fine_tune"),
        ({"algorithm__pruned": "final"}, "algorithm.pruned: final"),
        ({"algorithm__score": "snip", "algorithm__pruned": "init",
          "controls__random": 0}, "algorithm.score: snip: sees pruned"),
        ({"level_barrier": True}, "level_barrier"),
        ({"algorithm__iterations": 0}, "algorithm.iterations"),
        ({"algorithm__path": "cubic"}, "algorithm.path"),
        ({"algorithm__score": "snip", "algorithm__score_examples": 9999},
         "algorithm.score_examples: 9999: the training split has 1597"),
    ],
)  # fmt: skip
def test_wrong_values_are_refused(changes, message, tmp_path):
    with pytest.raises(ConfigError, match=message):
        experiment.run(at_init(**changes), tmp_path / "run")
    assert not (tmp_path / "run").exists()
    validation.validate(at_init())
