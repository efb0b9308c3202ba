"""Conservation laws: where they hold to rounding, where they do not, and the words."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from lottery_jax.analysis import conservation
from lottery_jax.tickets import masks
from lottery_jax.tickets.saliency import grasp, snip, synflow
from lottery_jax.training import losses
from tests.test_saliency import LAYERS, in_float64, make_context


def network(activation, bias, dtype):
    """(loss of params, params, outputs of params): a chain in this precision."""
    context = make_context()
    params = {
        layer: {
            name: np.asarray(leaf, dtype)
            for name, leaf in leaves.items()
            if bias or name == "kernel"
        }
        for layer, leaves in context.final.items()
    }
    x = np.asarray(context.batch.x, dtype)
    apply = conservation.chain(activation, LAYERS)

    def loss(params):
        return losses.cross_entropy(apply(params, x), context.batch.y)

    return loss, params, lambda params: apply(params, x)


HOMOGENEOUS = [jax.nn.relu, jax.nn.leaky_relu]
BENT = [jnp.tanh, jax.nn.gelu]


@pytest.mark.parametrize("activation", [*HOMOGENEOUS, *BENT])
@pytest.mark.parametrize("bias", [False, True])
def test_what_comes_into_a_unit_goes_out_of_it(activation, bias):
    with jax.enable_x64(True):
        loss, params, _ = network(activation, bias, np.float64)
        scores = conservation.saliency(loss, params)
        worst = max(conservation.law_errors(scores, LAYERS).values())
        apart = conservation.inhomogeneity(activation)
    if activation in HOMOGENEOUS:
        assert worst < 1e-12 and apart < 1e-12
    else:
        assert worst > 1e-3 and apart > 0.1


def test_every_cut_has_the_flow_of_the_outputs():
    """<dR/dy, y>; kernels alone have it without biases."""
    with jax.enable_x64(True):
        for bias in (False, True):
            loss, params, outputs = network(jax.nn.relu, bias, np.float64)
            scores = conservation.saliency(loss, params)
            y, back = jax.vjp(outputs, params)
            labels = make_context().batch.y
            slope = jax.grad(lambda y: losses.cross_entropy(y, labels))(y)
            cuts = list(conservation.cut_totals(scores, LAYERS).values())
            np.testing.assert_allclose(cuts, jnp.sum(slope * y), rtol=1e-12)
            totals = list(conservation.layer_totals(scores, LAYERS).values())
            assert (np.ptp(totals) / np.max(np.abs(totals)) > 1e-3) == bias


def test_synflow_obeys_both_laws_and_snip_neither():
    """Biases that may be pruned count as well."""
    with jax.enable_x64(True):
        context = in_float64(make_context())
        context = context._replace(
            prunable=jax.tree.map(lambda leaf: True, context.final)
        )
        for score, obeys in ((synflow, True), (snip, False)):
            scores = jax.jit(
                lambda params, score=score: score(context._replace(final=params))
            )(context.final)
            worst = max(conservation.law_errors(scores, LAYERS).values())
            cuts = list(conservation.cut_totals(scores, LAYERS).values())
            spread = np.ptp(cuts) / np.max(cuts)
            assert (worst < 1e-12) == (spread < 1e-12) == obeys
            assert obeys or (worst > 1e-2 and spread > 1e-2)


def test_grasp_conserves_its_score_and_the_squared_gradient_together():
    """Scaling a unit moves the fixed gradient too: theta H g alone does not balance."""
    with jax.enable_x64(True):
        context = in_float64(make_context())
        params = masks.apply(context.final, context.old_mask)

        def loss(params):
            outputs, _ = context.model.apply(params, {}, context.batch.x, train=False)
            return losses.cross_entropy(outputs / 200.0, context.batch.y)

        scores = jax.jit(lambda final: grasp(context._replace(final=final)))(
            context.final
        )
        gradient = jax.jit(jax.grad(loss))(params)
        both = jax.tree.map(
            lambda score, g, kept, may: score + jnp.where(kept & may, g**2, 0),
            scores, gradient, context.old_mask, context.prunable,
        )  # fmt: skip
        assert max(conservation.law_errors(scores, LAYERS).values()) > 1e-2
        assert max(conservation.law_errors(both, LAYERS).values()) < 1e-12


def test_flows_are_sums_of_columns_and_rows():
    numbers = np.arange(12.0).reshape(3, 4)
    scores = {"a": {"kernel": numbers, "bias": np.ones(4)},
              "b": {"kernel": numbers.T, "bias": np.full(3, 5.0)}}  # fmt: skip
    ((incoming, outgoing),) = conservation.unit_flows(scores, ["a", "b"])
    np.testing.assert_array_equal(incoming, [13, 16, 19, 22])
    np.testing.assert_array_equal(outgoing, [12, 15, 18, 21])
    errors = conservation.law_errors(scores, ["a", "b"])
    assert list(errors) == ["a"]
    np.testing.assert_allclose(errors["a"], 1 / 22)
    assert conservation.layer_totals(scores, ["a", "b"]) == {"a": 66, "b": 66}
    assert conservation.cut_totals(scores, ["a", "b"]) == {"a": 66 + 4 + 15, "b": 81}


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("activation", [jax.nn.relu, jnp.tanh])
def test_a_diagnosis_says_whether_the_laws_hold_and_why(activation, dtype):
    with jax.enable_x64(dtype is np.float64):
        loss, params, _ = network(activation, True, dtype)
        found = conservation.diagnose(loss, params, LAYERS, activation)
        blind = conservation.diagnose(loss, params, LAYERS)
    assert list(found.units) == list(LAYERS[:-1])
    assert found.tolerance == conservation.TOLERANCES[np.dtype(dtype).name]
    assert found.holds == blind.holds == (activation is jax.nn.relu)
    if found.holds:
        assert "laws hold" in found.words and "relu is homogeneous" in found.words
        assert "homogeneous" not in blind.words
    else:
        assert "do not hold" in found.words and "tanh is not homog" in found.words
        assert "the activation is not homogeneous, or" in blind.words
    assert np.dtype(dtype).name in found.words


def test_a_diagnosis_of_a_model():
    """Its parameters and `apply`; a skip connection is no chain."""
    context = make_context(sizes=(6, 5, 5, 3))

    def loss(params, skip=0.0):
        hidden, _ = context.model.apply(params, {}, context.batch.x, train=False)
        first = jax.nn.relu(context.batch.x @ params["dense_0"]["kernel"])
        outputs = hidden + skip * first @ params["output"]["kernel"]
        return losses.cross_entropy(outputs, context.batch.y)

    assert conservation.diagnose(loss, context.final, LAYERS).holds
    skipping = conservation.diagnose(lambda p: loss(p, 1.0), context.final, LAYERS)
    assert not skipping.holds
    broken = jax.tree.map(lambda leaf: leaf * jnp.nan, context.final)
    assert not conservation.diagnose(loss, broken, LAYERS).holds
