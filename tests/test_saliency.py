"""Scores of the network as a function: oracles, laws, pruning at initialisation."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from lottery_jax import config as configs
from lottery_jax import experiment
from lottery_jax.analysis import conservation
from lottery_jax.errors import ConfigError
from lottery_jax.models import MODELS
from lottery_jax.tickets import masks, schedules, selection
from lottery_jax.tickets.saliency import grasp, snip, synflow
from lottery_jax.tickets.scores import OF_TRAINING, SCORES
from lottery_jax.training import losses
from lottery_jax.types import Context, Split
from tests import helpers

LAYERS = ("dense_0", "dense_1", "output")


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


def test_grasp_is_a_hessian_product_by_differences():
    context = make_context(sizes=(3, 4, 3, 2), examples=3)
    weights, x, y = as_numpy(context)
    gradients = numpy_gradient(weights, x, y, 200.0)
    for layer, (slope, of_bias) in zip(LAYERS, gradients, strict=True):
        slope *= np.asarray(context.old_mask[layer]["kernel"])
        of_bias *= 0
    size = np.sqrt(sum((leaf**2).sum() for pair in gradients for leaf in pair))

    def moved(sign):
        step = sign * 1e-3 / size
        at = [
            [leaf + step * slope for leaf, slope in zip(*pairs, strict=True)]
            for pairs in zip(weights, gradients, strict=True)
        ]
        return numpy_gradient(at, x, y, 200.0)

    above, below = moved(1), moved(-1)
    scale = max(np.abs(leaf).max() for leaf in kernels(grasp(context)))
    for number, found in enumerate(kernels(grasp(context))):
        product = (above[number][0] - below[number][0]) * size / 2e-3
        expected = weights[number][0] * product
        np.testing.assert_allclose(found / scale, expected / scale, atol=2e-3)


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


def test_synflow_needs_no_data_and_no_scale():
    context = make_context()
    other = context._replace(
        batch=jax.tree.map(lambda leaf: 0 * leaf, context.batch), key=jax.random.key(9)
    )
    helpers.assert_trees_equal(synflow(context), synflow(other))
    # Layers of sizes whose products float32 does not hold.
    scales = {"dense_0": 1e25, "dense_1": 1e30, "output": 1e-20}
    scaled = {
        layer: jax.tree.map(lambda leaf, s=scales[layer]: leaf * s, leaves)
        for layer, leaves in context.final.items()
    }
    rescaled = synflow(context._replace(final=scaled))
    ratios = [
        a[a > 0] / b[a > 0]
        for a, b in zip(kernels(rescaled), kernels(synflow(context)), strict=True)
    ]
    np.testing.assert_allclose(np.concatenate(ratios), 1, rtol=1e-4)


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


def test_iterative_synflow_survives_where_one_shot_scores_empty_a_layer():
    """10^4 times compressed; sizes and counts as in Tanaka et al.'s figure 2."""
    context = make_context(sizes=(64, 300, 100, 10), density=1.0, examples=100)
    context = context._replace(
        final=jax.tree.map(lambda x: x if x.ndim > 1 else 0 * x, context.final)
    )
    names = [f"{layer}/kernel" for layer in LAYERS]
    groups = selection.globally(names)
    before, after = {"all": 50_200}, {"all": 5}

    def kept(score, iterations):
        way = schedules.within(before, after, iterations, "exponential")
        assert way[-1] == after and len(way) == iterations

        @jax.jit
        def prune(mask, num_keep):
            scores = score(context._replace(old_mask=mask, mask=mask))
            return selection.select(scores, mask, num_keep, groups), None

        counts = {"all": jnp.array([keep["all"] for keep in way])}
        mask, _ = jax.lax.scan(prune, masks.full(context.final), counts)
        return [int(mask[layer]["kernel"].sum()) for layer in LAYERS]

    assert min(kept(synflow, 100)) > 0 and sum(kept(synflow, 100)) == 5
    for name in ("synflow", "snip", "magnitude", "grasp"):
        assert min(kept(SCORES[name], 1)) == 0, name


@pytest.mark.parametrize(
    ("path", "expected"),
    [("exponential", [316, 100, 32, 10]), ("linear", [752, 505, 258, 10])],
)
def test_counts_on_the_way(path, expected):
    way = schedules.within({"all": 1000}, {"all": 10}, 4, path)
    found = [keep["all"] for keep in way]
    np.testing.assert_allclose(found, expected, atol=1)
    assert found[-1] == 10


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
            model=task.model, final=params, batch=Split(task.dataset.train.x[:1], None)
        )
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
    configs.validate(at_init())


# --- conservation laws


def chain(activation, bias, dtype):
    """(loss of params, params): a chain of dense layers in this precision."""
    context = make_context()
    params = jax.tree.map(lambda leaf: np.asarray(leaf, dtype), context.final)
    x = np.asarray(context.batch.x, dtype)

    def loss(params):
        h = x
        for layer in LAYERS:
            h = h @ params[layer]["kernel"]
            if bias:
                h = h + params[layer]["bias"][None]
            h = h if layer == "output" else activation(h)
        return losses.cross_entropy(h, context.batch.y)

    return loss, params


@pytest.mark.parametrize("bias", [False, True])
def test_what_comes_into_a_unit_goes_out_of_it(bias):
    with jax.enable_x64(True):
        loss, params = chain(jax.nn.relu, bias, np.float64)
        scores = conservation.saliency(loss, params)
        assert conservation.law_error(scores, LAYERS) < 1e-12
        loss, params = chain(jnp.tanh, bias, np.float64)
        bent = conservation.saliency(loss, params)
        assert conservation.law_error(bent, LAYERS) > 1e-3


def test_layers_have_one_total_without_biases():
    with jax.enable_x64(True):
        found = {}
        for bias in (False, True):
            loss, params = chain(jax.nn.relu, bias, np.float64)
            scores = conservation.saliency(loss, params)
            totals = np.array(list(conservation.layer_totals(scores, LAYERS).values()))
            found[bias] = np.ptp(totals) / np.abs(totals).max()
        assert found[False] < 1e-12 and found[True] > 1e-3


def test_flows_are_sums_of_columns_and_rows():
    numbers = np.arange(12.0).reshape(3, 4)
    scores = {"a": {"kernel": numbers, "bias": np.ones(4)},
              "b": {"kernel": numbers.T}}  # fmt: skip
    ((incoming, outgoing),) = conservation.unit_flows(scores, ["a", "b"])
    np.testing.assert_array_equal(incoming, [13, 16, 19, 22])
    np.testing.assert_array_equal(outgoing, [12, 15, 18, 21])
    np.testing.assert_allclose(conservation.law_error(scores, ["a", "b"]), 1 / 22)
