"""Scores against loops over single weights, and the faults of published code."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from lottery_jax.tickets import SCORES
from lottery_jax.tickets.saliency import SALIENCIES
from lottery_jax.tickets.selection import select
from tests import helpers

CLOSED_FORMS = {
    "large_final": lambda i, f: abs(f),
    "magnitude": lambda i, f: abs(f),
    "small_final": lambda i, f: -abs(f),
    "large_init": lambda i, f: abs(i),
    "small_init": lambda i, f: -abs(i),
    "magnitude_increase": lambda i, f: abs(f) - abs(i),
    "movement": lambda i, f: abs(f - i),
}


def one_layer(start, final, mask=None, seed=0):
    """A context of one leaf "w"."""
    start, final = (jnp.asarray(x, jnp.float32) for x in (start, final))
    mask = jnp.ones(start.shape, bool) if mask is None else jnp.asarray(mask)
    return helpers.make_context()._replace(
        key=jax.random.key(seed),
        start={"w": start},
        final={"w": jnp.where(mask, final, 0)},
        old_mask={"w": mask},
        mask={"w": mask},
        prunable={"w": True},
    )


def random_layer(seed=0, shape=(7, 9), density=1.0):
    values = np.random.default_rng(seed)
    start, final = values.normal(size=(2, *shape)).astype(np.float32)
    return one_layer(start, final, values.random(shape) < density, seed)


def kept(name, context, num):
    chosen = select(SCORES[name](context), context.old_mask, {"g": num}, {"g": ("w",)})
    return np.asarray(chosen["w"])


@pytest.mark.parametrize("name", CLOSED_FORMS)
@pytest.mark.parametrize("shape", [(1,), (3, 3, 2, 4)])
def test_scores_equal_their_formula_weight_by_weight(name, shape):
    context = random_layer(shape=shape)
    scores = np.asarray(SCORES[name](context)["w"]).ravel()
    pairs = zip(
        np.asarray(context.start["w"]).ravel(),
        np.asarray(context.final["w"]).ravel(),
        strict=True,
    )
    for score, (i, f) in zip(scores, pairs, strict=True):
        assert score == CLOSED_FORMS[name](i, f)


@pytest.mark.parametrize("sign, agrees", [("same_sign", 1), ("diff_sign", -1)])
@pytest.mark.parametrize("base", ["large_final", "magnitude_increase", "movement"])
def test_sign_variants_take_the_eligible_first_and_best_first(base, sign, agrees):
    """Zhou et al. score the others 0: above a magnitude that has decreased."""
    context = random_layer(1)
    i, f = (np.asarray(tree["w"]) for tree in (context.start, context.final))
    eligible = i * f * agrees > 0
    value = np.array([CLOSED_FORMS[base](*pair) for pair in zip(i.flat, f.flat)])
    value = value.reshape(i.shape)
    assert base != "magnitude_increase" or (value[eligible] < 0).any()
    few, all_of_them = eligible.sum() // 2, eligible.sum()
    mask = kept(f"{base}_{sign}", context, few)
    assert mask.sum() == few and not (mask & ~eligible).any()
    assert value[mask].min() >= value[eligible & ~mask].max()
    more = kept(f"{base}_{sign}", context, all_of_them + 4)
    assert (more & eligible).sum() == all_of_them and (more & ~eligible).sum() == 4
    other = kept(f"{base}_{sign}", context._replace(key=jax.random.key(9)),
                 all_of_them + 4)  # fmt: skip
    assert (other != more).any() and (other & eligible == more & eligible).all()


@pytest.mark.parametrize("name", [n for n in SCORES if n.endswith("sign")])
def test_zero_initial_weights_wipe_out_no_layer(name):
    """0 has either sign; in the Keras LTH API it made the score NaN."""
    final = np.linspace(-1, 1, 10)
    context = one_layer(np.zeros(10), final)
    assert np.isfinite(SCORES[name](context)["w"]).all()
    expected = np.argsort(-np.abs(final), kind="stable")[:4]
    assert set(np.flatnonzero(kept(name, context, 4))) == set(expected)


def quadrant(a, b, num):
    """Zhou et al.: entries in the upper part of both, by bisection of one quantile."""
    for rank in range(len(a)):
        both = (a >= np.sort(a)[rank]) & (b >= np.sort(b)[rank])
        if both.sum() == num:
            return both
    return None


@pytest.mark.parametrize("seed", range(2))
def test_rank_scores_are_the_bisected_quadrant_where_there_is_one(seed):
    context = random_layer(seed, (60,))
    i, f = (np.abs(tree["w"]) for tree in (context.start, context.final))
    hit = 0
    for num in range(1, 60, 2):
        large = kept("large_init_large_final", context, num)
        small = kept("small_init_small_final", context, num)
        assert large.sum() == small.sum() == num
        for mask, expected in (
            (large, quadrant(i, f, num)),
            (small, quadrant(-i, -f, num)),
        ):
            if expected is not None:
                hit += 1
                np.testing.assert_array_equal(mask, expected)
    assert hit > 20


def test_rank_scores_rank_among_what_is_kept():
    """Iterated, the Keras LTH API's version collapses to |w_i|: pruned zeros count."""
    context = random_layer(2, (200,), density=0.4)
    mask = np.asarray(context.old_mask["w"])
    i, f = (np.abs(tree["w"])[mask] for tree in (context.start, context.final))
    alone = one_layer(i, f)
    for num in (10, 30):
        within = kept("large_init_large_final", context, num)
        np.testing.assert_array_equal(
            within[mask], kept("large_init_large_final", alone, num)
        )
        assert not within[~mask].any()


def test_ranks_are_parts_of_what_a_layer_keeps():
    """So that small layers can compete with large ones under global pruning."""
    large, small = random_layer(0, (2352,)), random_layer(1, (100,))
    trees = [
        {"large": getattr(large, field)["w"], "small": getattr(small, field)["w"]}
        for field in ("start", "final", "old_mask")
    ]
    context = large._replace(start=trees[0], final=trees[1], old_mask=trees[2])
    scores = SCORES["large_init_large_final"](context)
    mask = select(scores, trees[2], {"all": 1961}, {"all": ("large", "small")})
    assert abs(float(mask["small"].mean()) - 0.8) < 0.1


def test_random_scores_are_uniform_and_keyed():
    context = random_layer(0, (100, 100))
    scores = np.asarray(SCORES["random"](context)["w"])
    assert abs(scores.mean() - 0.5) < 0.01 and 0 <= scores.min() < scores.max() < 1
    again = SCORES["random"](context._replace(key=jax.random.key(1)))["w"]
    assert abs(np.corrcoef(scores.ravel(), np.ravel(again))[0, 1]) < 0.05


@pytest.mark.parametrize("name", [n for n in SCORES if n not in SALIENCIES])
def test_equal_scores_and_extreme_counts_are_exact(name):
    context = one_layer(np.ones(12), np.ones(12), np.arange(12) < 9)
    for num in (0, 1, 5, 9):
        mask = kept(name, context, num)
        assert mask.sum() == num and not mask[9:].any()
