"""Tickets of networks that are not the package's; the page about them runs."""

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

import lottery_jax
from lottery_jax.errors import CertificateError, LotteryError
from lottery_jax.tickets import masks
from tests import helpers


@pytest.fixture(autouse=True)
def promotion():
    """Other people's networks add biases without an axis for the batch."""
    with jax.numpy_rank_promotion("allow"):
        yield


X = jax.random.normal(jax.random.key(0), (60, 6))
Y = jnp.sum(X[:, :2], axis=1, keepdims=True)


def draw(key):
    one, two = jax.random.split(key)
    return {
        "body": (jax.random.normal(one, (6, 9)), jnp.zeros(9)),
        "head": jax.random.normal(two, (9, 1)),
    }


def loss(params):
    w, b = params["body"]
    return jnp.mean((jnp.tanh(X @ w + b) @ params["head"] - Y) ** 2)


def train(key, params, mask, steps=20):
    tx = lottery_jax.masked(optax.adam(0.05), mask)

    def step(number, carry):
        params, opt_state = carry
        updates, opt_state = tx.update(jax.grad(loss)(params), opt_state, params)
        return optax.apply_updates(params, updates), opt_state

    return jax.lax.fori_loop(0, steps, step, (params, tx.init(params)))[0]


def find(init=draw, train=train, **options):
    return lottery_jax.find_ticket(init, train, **{"rounds": 2} | options)


def test_rounds_are_those_of_magnitude_pruning_by_hand():
    theta = draw(jax.random.key(3))
    found = find(theta, prune_fraction=0.5, evaluate=loss)
    mask, final = masks.full(theta), theta
    for number, num_keep in enumerate((63, 31, 15)):
        kept = np.concatenate([mask["body"][0].ravel(), mask["head"].ravel()])
        if number:
            sizes = np.concatenate([np.ravel(final["body"][0]), final["head"][:, 0]])
            order = np.argsort(np.where(kept, -np.abs(sizes), np.inf), kind="stable")
            kept = np.zeros(63, bool)
            kept[order[:num_keep]] = True
            mask = {
                "body": (kept[:54].reshape(6, 9), np.ones(9, bool)),
                "head": kept[54:, None],
            }
        final = jax.jit(train)(None, masks.apply(theta, mask), mask)
        jax.tree.map(np.testing.assert_array_equal, found.masks[number], mask)
        np.testing.assert_allclose(found.summary.value[number], loss(final), rtol=1e-5)
    assert found.summary.kept.tolist() == [63, 31, 15]
    jax.tree.map(
        np.testing.assert_array_equal, found.ticket.params, masks.apply(theta, mask)
    )
    assert len(found.certificates) == 3


def test_lanes_together_are_lanes_one_by_one():
    options = {"replicates": 2, "controls": {"reinit": 1}, "evaluate": loss}
    together, alone = find(**options), find(vectorize=False, **options)
    assert set(together.summary.lane) == {"ticket", "reinit"}
    values = together.summary.set_index(["round", "lane", "replicate"]).value
    assert values.nunique() >= 8  # replicates and, after round 0, lanes differ
    np.testing.assert_allclose(together.summary.value, alone.summary.value, rtol=1e-4)
    assert together.masks[-1]["head"].shape == (2, 9, 1)
    for i, ticket in enumerate(together.tickets):  # each of one network
        assert ticket.params["head"].shape == (9, 1)
        np.testing.assert_array_equal(
            ticket.mask["head"], together.masks[-1]["head"][i]
        )
    assert together.ticket is together.tickets[0]


def test_weights_are_rewound_to_where_the_warm_up_ends():
    def warm_up(key, params, mask):
        return train(key, params, mask, steps=3)

    theta = draw(jax.random.key(1))
    found = find(theta, warm_up=warm_up)
    early = jax.jit(warm_up)(None, theta, masks.full(theta))  # it needs no key
    assert helpers.trees_differ(early, theta)
    expected = masks.apply(early, found.ticket.mask)
    jax.tree.map(
        lambda a, b: np.testing.assert_allclose(a, b, atol=1e-6),
        found.ticket.params,
        expected,
    )


def test_what_may_be_pruned_can_be_said():
    by_path = find(prunable=lambda path, leaf: path == "head", rounds=1)
    assert by_path.masks[-1]["body"][0].all() and not by_path.masks[-1]["head"].all()
    tree = {"body": (False, True), "head": False}
    by_tree = find(prunable=tree, rounds=1)
    assert by_tree.masks[-1]["head"].all() and not by_tree.masks[-1]["body"][1].all()
    layerwise = find(scope="layerwise", prune_fraction=0.5, rounds=1)
    assert int(layerwise.masks[-1]["head"].sum()) == 5  # 4.5, half to even, are dropped


def test_a_layer_called_output_is_pruned_like_the_others():
    def init(key):
        return {"output_layer": jax.random.normal(key, (10, 10)), "w": jnp.ones((5, 4))}

    def train(key, params, mask):
        return params

    found = find(init, train, scope="layerwise", prune_fraction=0.2, rounds=1)
    kept = jax.tree.map(jnp.sum, found.masks[-1])
    assert kept == {"output_layer": 80, "w": 16}
    rest = find(init, train, prunable=lambda path, leaf: path == "w", rounds=1)
    assert rest.masks[-1]["output_layer"].all()


def moves(key, params, mask):
    return jax.tree.map(lambda leaf: leaf + 1, params)


def explodes(key, params, mask):
    return jax.tree.map(lambda leaf, kept: kept * jnp.inf, params, mask)


def test_what_diverges_is_told():
    diverged = find(train=explodes, rounds=1).summary.diverged
    assert diverged.all() and not find(rounds=1).summary.diverged.any()


def if_large(key, params, mask):
    return params if params["head"].sum() > 0 else params


def test_python_that_looks_at_values_needs_no_compiler():
    with pytest.raises(LotteryError, match="train cannot be compiled: .*vectorize"):
        find(train=if_large)
    assert len(find(train=if_large, vectorize=False).masks) == 3


BAD = {
    "train: dict: expected a function of a key": {"train": {}},
    "controls: ['random']: expected names with numbers, as {\"random\"": {
        "controls": ["random"]
    },
    "train returned a tuple; expected the params alone, a dict": {
        "train": lambda key, params, mask: (params, 0.0)
    },
    "evaluate: value is [9, 1], expected a number": {
        "evaluate": lambda params: params["head"]
    },
    "round 1: train returned nan where body/1 is": {
        "train": lambda key, params, mask: jax.tree.map(
            lambda leaf: leaf * jnp.nan, params
        ),
        "prunable": lambda path, leaf: True,
        "rounds": 1,
    },
    "init: a pytree without leaves": {"init": {}},
    "init: a is int32[3]; expected floats": {"init": {"a": jnp.arange(3)}},
    "prunable: none of b": {"init": {"b": jnp.zeros(3)}},
    "prunable: has the leaves head; the params have": {"prunable": {"head": True}},
    "score: 'magnitud'; did you mean 'magnitude'": {"score": "magnitud"},
    "score: 'snip'": {"score": "snip"},
    "controls: 'reinits'; did you mean 'reinit'": {"controls": {"reinits": 1}},
    "rewind: 'back'": {"rewind": "back"},
    "train returned other params: head is float32[9], was float32[9, 1]": {
        "train": lambda key, params, mask: params | {"head": params["head"][:, 0]}
    },
    "train returned other params: head is missing": {
        "train": lambda key, params, mask: {"body": params["body"]}
    },
    "train returned another tree": {
        "train": lambda key, params, mask: params | {"body": [*params["body"]]}
    },
    "warm_up returned other params: tail is new": {
        "warm_up": lambda key, params, mask: params | {"tail": params["head"]}
    },
    "pruned weights that are not zero": {"train": moves},
    "config.algorithm.rounds": {"rounds": 40},
    "rounds: 0": {"rounds": 0},
    "rounds: 2.5: expected a whole number": {"rounds": 2.5},
    "controls, random: -1: expected": {"controls": {"random": -1}},
    "controls, random: 1.5": {"controls": {"random": 1.5}},
    "prune_fraction: 'x'": {"prune_fraction": "x"},
    "evaluate: int: expected a function": {"evaluate": 3},
    "evaluate: value is NoneType": {"evaluate": lambda params: None},
    "replicates: 0": {"replicates": 0},
    "prune_fraction: -0.5": {"prune_fraction": -0.5},
    "init: 2 replicates need weights": {
        "init": draw(jax.random.key(0)),
        "replicates": 2,
    },
    "init: reinit need weights": {
        "init": draw(jax.random.key(0)),
        "controls": {"reinit": 1},
    },
}


@pytest.mark.parametrize("message", BAD)
def test_what_cannot_work_is_refused(message):
    with pytest.raises(LotteryError) as refused:
        find(**BAD[message])
    assert message in str(refused.value)
    assert isinstance(refused.value, CertificateError) == (
        BAD[message] == {"train": moves}
    )


@pytest.mark.filterwarnings("ignore::DeprecationWarning")  # of the other libraries
def test_the_page_runs():
    """Plain functions, Linen, NNX, Equinox, Haiku."""
    pytest.importorskip("equinox", reason="the extra `networks` is not installed")
    pytest.importorskip("haiku", reason="the extra `networks` is not installed")
    names, kept = {}, []
    for code in helpers.code_of("own_network.md"):
        if "find_ticket" in code:
            assert len(code.splitlines()) < 20 or "def init" in code
        exec(compile(code, "own_network.md", "exec"), names)
        if "find_ticket" in code:
            kept.append(names["found"].summary.density.min())
    assert len(kept) == 5
    np.testing.assert_allclose(kept, [0.6**5, *[0.8**2] * 4], atol=1e-3)
    assert sum(leaf.sum() for leaf in jax.tree.leaves(names["mask"])) == 500 + 32
    last = names["static"] is not None and names["ticket"]
    assert last.layers[0].weight.shape == (32, 64)
