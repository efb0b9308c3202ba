"""Masks, selection, ladders, rewinding and controls against loops and closed forms."""

import itertools

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from lottery_jax.errors import ConfigError
from lottery_jax.models import MODELS
from lottery_jax.tickets import (
    CONTROLS,
    REINITS,
    REWINDS,
    SCOPES,
    SCORES,
    masks,
    schedules,
)
from lottery_jax.tickets.controls import OF_THE_MASK
from lottery_jax.tickets.selection import select
from tests import helpers

# Kept weights per layer of LeNet-300-100, round 0 to 30, as worked out by hand from
# "drop round(p n), half to even" with 20 %, 20 % and 10 % (arXiv:1803.03635).
LENET_LADDER = [
    "235200/30000/1000",
    "188160/24000/900",
    "150528/19200/810",
    "120422/15360/729",
    "96338/12288/656",
    "77070/9830/590",
    "61656/7864/531",
    "49325/6291/478",
    "39460/5033/430",
    "31568/4026/387",
    "25254/3221/348",
    "20203/2577/313",
    "16162/2062/282",
    "12930/1650/254",
    "10344/1320/229",
    "8275/1056/206",
    "6620/845/185",
    "5296/676/167",
    "4237/541/150",
    "3390/433/135",
    "2712/346/121",
    "2170/277/109",
    "1736/222/98",
    "1389/178/88",
    "1111/142/79",
    "889/114/71",
    "711/91/64",
    "569/73/58",
    "455/58/52",
    "364/46/47",
    "291/37/42",
]


# --- masks


def test_apply_zeroes_even_what_is_not_finite():
    tree = {"a": jnp.array([jnp.nan, jnp.inf, -2.0])}
    masked = masks.apply(tree, {"a": jnp.array([False, False, True])})
    np.testing.assert_array_equal(masked["a"], [0, 0, -2])


def test_mask_updates_is_an_optax_link():
    mask = {"a": jnp.array([True, False])}
    tx = optax.chain(optax.adam(0.1), masks.mask_updates(mask))
    params = {"a": jnp.array([1.0, 0.0])}
    state = tx.init(params)
    for _ in range(5):
        updates, state = tx.update({"a": jnp.ones(2)}, state, params)
        params = optax.apply_updates(params, updates)
    assert params["a"][1] == 0 and params["a"][0] < 0.6


def test_no_norm_sees_what_is_pruned():
    mask = {"a": jnp.array([True, False])}
    tx = masks.masked(optax.chain(optax.clip_by_global_norm(1.0), optax.sgd(1.0)), mask)
    grads = {"a": jnp.array([0.5, 100.0])}
    updates, _ = tx.update(grads, tx.init(grads), grads)
    np.testing.assert_allclose(updates["a"], [-0.5, 0])


def test_names_and_counts():
    context = helpers.make_context()
    names = masks.prunable_names(context.prunable)
    assert names == ["dense_0/kernel", "dense_1/kernel", "output/kernel"]
    counts = masks.num_kept(context.mask, context.prunable)
    assert counts["dense_1/kernel"] == np.sum(context.mask["dense_1"]["kernel"])
    assert set(counts) == set(names)


# --- selection


def select_by_loop(scores, mask, num_keep):
    """Picks the best kept entry again and again; the first of equals wins."""
    left = {i for i, kept in enumerate(mask) if kept}
    chosen = np.zeros(len(mask), bool)
    for _ in range(num_keep):
        best = max(sorted(left), key=lambda i: scores[i])
        left.remove(best)
        chosen[best] = True
    return chosen


@pytest.mark.parametrize("ties", [False, True])
@pytest.mark.parametrize("seed", range(4))
def test_select_equals_a_loop(seed, ties):
    values = np.random.default_rng(seed)
    scores = values.normal(size=40).astype(np.float32)
    if ties:
        scores = np.round(scores)
    mask = values.random(40) < 0.7
    for num_keep in (1, 5, int(mask.sum())):
        chosen = select(
            {"w": jnp.array(scores.reshape(8, 5))},
            {"w": jnp.array(mask.reshape(8, 5))},
            {"g": num_keep},
            {"g": ("w",)},
        )
        expected = select_by_loop(scores, mask, num_keep)
        np.testing.assert_array_equal(chosen["w"].ravel(), expected)


def test_who_asks_for_more_than_there_are_gets_those():
    mask = {"w": jnp.array([True, False, True, False])}
    chosen = select({"w": jnp.ones(4)}, mask, {"g": 3}, {"g": ("w",)})
    np.testing.assert_array_equal(chosen["w"], mask["w"])


def test_select_across_leaves_competes_and_leaves_others_alone():
    scores = {"a": jnp.array([5.0, 1.0]), "b": jnp.array([[4.0], [3.0]])}
    scores["c"] = jnp.array([9.0, 9.0])
    mask = masks.full(scores)
    chosen = select(scores, mask, {"all": 3}, {"all": ("a", "b")})
    np.testing.assert_array_equal(chosen["a"], [True, False])
    np.testing.assert_array_equal(chosen["b"], [[True], [True]])
    assert chosen["c"].all()


@pytest.mark.parametrize("scope", SCOPES)
@pytest.mark.parametrize("score", SCORES)
def test_scores_select_exactly_and_revive_nothing(score, scope):
    for seed in range(2 if score in ("magnitude", "movement_same_sign") else 1):
        context = helpers.make_context(seed)
        groups = SCOPES[scope](masks.prunable_names(context.prunable))
        kept = masks.named_leaves(context.old_mask)
        num_keep = {
            group: int(sum(kept[name].sum() for name in names)) // 2
            for group, names in groups.items()
        }
        scores = SCORES[score](context)
        mask = select(scores, context.old_mask, num_keep, groups)
        chosen = masks.named_leaves(mask)
        for group, names in groups.items():
            assert sum(chosen[name].sum() for name in names) == num_keep[group]
        revived = jax.tree.map(lambda new, old: new & ~old, mask, context.old_mask)
        assert not any(leaf.any() for leaf in jax.tree.leaves(revived))
        assert all(chosen[name].all() for name in chosen if name.endswith("bias"))
        assert all(np.isfinite(leaf).all() for leaf in jax.tree.leaves(scores))


def test_select_is_exact_under_vmap_and_with_traced_counts():
    scores = jnp.round(jax.random.normal(jax.random.key(0), (6, 50)))
    mask = jnp.ones((6, 50), bool)

    def one(scores, mask, num):
        return select({"w": scores}, {"w": mask}, {"g": num}, {"g": ("w",)})["w"]

    nums = jnp.array([1, 7, 20, 33, 49, 50])
    chosen = jax.jit(jax.vmap(one))(scores, mask, nums)
    np.testing.assert_array_equal(chosen.sum(1), nums)
    for row in range(6):
        expected = select_by_loop(np.asarray(scores[row]), mask[row], int(nums[row]))
        np.testing.assert_array_equal(chosen[row], expected)


def test_nan_ranks_below_every_number_and_above_the_pruned():
    scores = {"w": jnp.array([jnp.nan, -jnp.inf, 1.0, jnp.nan, 5.0])}
    mask = {"w": jnp.array([True, True, True, True, False])}
    for num, expected in [(2, [0, 1, 1, 0, 0]), (3, [1, 1, 1, 0, 0])]:
        chosen = select(scores, mask, {"g": num}, {"g": ("w",)})["w"]
        np.testing.assert_array_equal(chosen, np.array(expected, bool))


def test_permuting_hidden_units_permutes_the_mask():
    context = helpers.make_context()
    groups = SCOPES["global"](masks.prunable_names(context.prunable))
    order = np.random.default_rng(0).permutation(8)

    def permute(tree):
        first, second = tree["dense_0"], tree["dense_1"]
        first = {"kernel": first["kernel"][:, order], "bias": first["bias"][order]}
        return {**tree, "dense_0": first, "dense_1": {**second, "kernel":
                second["kernel"][order]}}  # fmt: skip

    def mask_of(context):
        scores = SCORES["magnitude"](context)
        return select(scores, context.old_mask, {"all": 30}, groups)

    permuted = context._replace(
        final=permute(context.final), old_mask=permute(context.old_mask)
    )
    assert helpers.trees_differ(mask_of(context), mask_of(permuted))
    helpers.assert_trees_equal(permute(mask_of(context)), mask_of(permuted))


def test_magnitude_ignores_sign_and_positive_scale():
    context = helpers.make_context()
    score = SCORES["magnitude"](context)["output"]["kernel"]
    np.testing.assert_array_equal(score, np.abs(context.final["output"]["kernel"]))


# --- ladders


def test_the_ladder_of_the_paper():
    ladder = schedules.geometric(
        {"a": 235_200, "b": 30_000, "c": 1_000}, {"a": 0.2, "b": 0.2, "c": 0.1}, 30
    )
    assert ["/".join(map(str, rung.values())) for rung in ladder] == LENET_LADDER
    percent = [100 * sum(rung.values()) / 266_200 for rung in ladder]
    assert round(percent[7], 3) == 21.072 and round(percent[30], 3) == 0.139


@pytest.mark.parametrize(
    ("num", "fraction", "dropped"),
    [(25, 0.1, 2), (15, 0.1, 2), (35, 0.1, 4), (1000, 0.0145, 14), (3, 0.5, 2)],
)
def test_drops_are_rounded_half_to_even_in_decimals(num, fraction, dropped):
    assert num - schedules.num_keep(num, fraction) == dropped


def test_the_linear_ladder_of_the_keras_api():
    """prop .8 in 5 steps: equal slices of the original size, half for the output."""
    ladder = schedules.linear({"a": 1000, "out": 500}, {"a": 0.16, "out": 0.08}, 5)
    assert [rung["a"] for rung in ladder] == [1000, 840, 680, 520, 360, 200]
    assert [rung["out"] for rung in ladder] == [500, 460, 420, 380, 340, 300]
    with pytest.raises(ConfigError, match="round 7 would empty a: 40 of 1000"):
        schedules.linear({"a": 1000, "out": 500}, {"a": 0.16, "out": 0.08}, 8)


def test_counts_beyond_float_precision():
    assert schedules.num_keep(2**60 + 1, 0.5) == 2**59 + 1


def test_a_round_that_empties_a_layer_is_named():
    with pytest.raises(ConfigError, match="round 2 would empty b"):
        schedules.geometric({"a": 1000, "b": 20}, {"a": 0.9, "b": 0.9}, 5)
    with pytest.raises(ConfigError, match="round 4 would drop nothing of {'a': 2}"):
        schedules.geometric({"a": 5}, {"a": 0.2}, 9)


# --- rewinding


@pytest.mark.parametrize("name", REWINDS)
def test_rewinds_give_what_they_say(name):
    context = helpers.make_context()
    params = REWINDS[name].params(context)
    survivors = REWINDS[name].survivors
    if survivors:
        helpers.assert_trees_equal(params, getattr(context, survivors))
    assert (survivors is None) == (name in REINITS or name == "zero_if_shrunk")
    assert helpers.trees_differ(context.rewind_point, context.final)


# --- controls


@pytest.mark.parametrize("name", CONTROLS)
def test_a_control_differs_in_exactly_one_respect(name):
    context = helpers.make_context()

    def draw(context):
        lane = CONTROLS[name](context)
        return lane._replace(key=jax.random.key_data(lane.key))

    lane = draw(context)
    differing = [
        field
        for field in ("params", "mask", "hypers")
        if helpers.trees_differ(getattr(lane, field), getattr(context.lane, field))
    ]
    expected = "mask" if name in OF_THE_MASK else "params"
    assert differing == ([] if name == "order" else [expected])
    same_key = (lane.key == jax.random.key_data(context.lane.key)).all()
    assert same_key != (name == "order")
    counts = [masks.num_kept(m, context.prunable) for m in (lane.mask, context.mask)]
    assert (counts[0] == counts[1]) != (name == "dense")
    helpers.assert_trees_equal(lane, draw(context))
    other = draw(context._replace(key=jax.random.key(99)))
    differ = helpers.trees_differ(lane, other)
    # Nothing is left to chance there.
    assert differ != (name in ("constant_signed", "dense"))


@pytest.mark.parametrize("name", ["shuffle", "random"])
def test_random_masks_are_uniform(name):
    """Every one of the six ways to keep two of four weights is equally likely."""
    tree = {"w": jnp.zeros(4)}
    mask = {"w": jnp.array([True, True, False, False])}
    context = helpers.make_context()._replace(
        prunable={"w": True}, lane=helpers.make_lane(tree, mask)
    )

    def draw(key):
        return CONTROLS[name](context._replace(key=key)).mask["w"]

    drawn = jax.vmap(draw)(jax.random.split(jax.random.key(0), 6000))
    found, counts = np.unique(np.asarray(drawn), axis=0, return_counts=True)
    expected = itertools.combinations(range(4), 2)
    assert len(found) == len(list(expected)) == 6
    assert np.abs(counts - 1000).max() < 150  # five standard deviations


@pytest.mark.parametrize("name", ["shuffle", "random"])
def test_layers_of_one_size_get_masks_of_their_own(name):
    tree = {"v": jnp.zeros(40), "w": jnp.zeros(40)}
    mask = dict.fromkeys(tree, jnp.arange(40) < 20)
    lane = helpers.make_lane(tree, mask)
    context = helpers.make_context()._replace(
        prunable=dict.fromkeys(tree, True), lane=lane
    )
    found = CONTROLS[name](context).mask
    assert (found["v"] != found["w"]).any()


def test_reinit_draws_from_the_law_of_the_init():
    model = MODELS["mlp"]((300,), 3, hidden=(100,))
    params, _ = model.init(jax.random.key(0))
    lane = helpers.make_lane(params)
    context = helpers.make_context()._replace(model=model, lane=lane)
    kernel = CONTROLS["reinit"](context).params["dense_0"]["kernel"]
    assert abs(kernel.std() / params["dense_0"]["kernel"].std() - 1) < 0.03
    correlation = np.corrcoef(kernel.ravel(), params["dense_0"]["kernel"].ravel())
    assert abs(correlation[0, 1]) < 0.03


def test_select_runs_without_jit():
    scores, mask = {"w": jnp.array([3.0, -1.0, 2.0])}, {"w": jnp.ones(3, bool)}
    with jax.disable_jit():
        chosen = select(scores, mask, {"g": 2}, {"g": ("w",)})["w"]
    np.testing.assert_array_equal(chosen, [True, False, True])
