"""Live weights and work against graphs walked by hand, costs against sums."""

import jax
import numpy as np
import pandas as pd
import pytest

from lottery_jax.analysis import cost
from lottery_jax.models import MODELS
from lottery_jax.stacks import stack
from lottery_jax.tickets import masks
from tests import helpers


def walk(mask):
    """Kept weights with a way to the output, layer by layer from the output back."""
    kernels = [np.asarray(mask[name]["kernel"]) for name in
               ("dense_0", "dense_1", "output")]  # fmt: skip
    reaches = np.ones(kernels[-1].shape[1], bool)
    total = 0
    for kernel in reversed(kernels):
        live = kernel & reaches[None]
        total += live.sum()
        reaches = live.any(1)
    return total


@pytest.mark.parametrize("density", [1.0, 0.3, 0.05, 0.01])
def test_live_weights_of_a_dense_network(density):
    model = MODELS["mlp"]((20,), 4, hidden=(30, 12))
    several = []
    for seed in range(3):
        params, _ = model.init(jax.random.key(seed))
        several.append(helpers.random_mask(params, seed, density))
    found = cost.measure(model, stack(several), (20,))
    expected = [walk(mask) for mask in several]
    np.testing.assert_array_equal(found["live_weights"], expected)
    np.testing.assert_array_equal(found["flops"], 2 * np.array(expected))
    kept = [sum(leaf.sum() for leaf in jax.tree.leaves(mask)) for mask in several]
    biases = 30 + 12 + 4
    assert density == 1 or any(np.array(expected) < np.array(kept) - biases)


def test_an_input_needs_no_weight_for_a_unit_to_live():
    """A unit without inputs still passes on its bias."""
    model = MODELS["mlp"]((3,), 2, hidden=(4,))
    params, _ = model.init(jax.random.key(0))
    mask = masks.full(params)
    mask["dense_0"]["kernel"] = mask["dense_0"]["kernel"].at[:, 0].set(False)
    found = cost.measure(model, stack([mask]), (3,))
    assert found["live_weights"] == [9 + 8]


def test_work_of_lenet_5():
    """Positions of each layer times its weights; dead channels cost nothing."""
    model = MODELS["lenet_5"]((28, 28, 1), 10)
    params, _ = model.init(jax.random.key(0))
    mask = masks.full(params)
    assert dict(model.uses) == {
        "conv_0/kernel": 28 * 28,
        "conv_1/kernel": 10 * 10,
        "dense_0/kernel": 1,
        "dense_1/kernel": 1,
        "output/kernel": 1,
    }
    dense = 400 * 120 + 120 * 84 + 84 * 10
    full = 150 * 28 * 28 + 2400 * 100 + dense
    found = cost.measure(model, stack([mask]), (28, 28, 1))
    assert found["flops"] == [2 * full]
    assert found["live_weights"] == [150 + 2400 + dense]
    mask["conv_1"]["kernel"] = mask["conv_1"]["kernel"].at[:, :, 0].set(False)
    found = cost.measure(model, stack([mask]), (28, 28, 1))
    assert found["live_weights"] == [125 + 2000 + dense]
    assert found["flops"] == [2 * (125 * 28 * 28 + 2000 * 100 + dense)]


def test_nothing_over_or_underflows():
    """Nine layers deep: a dense network and one of a fiftieth of its weights."""
    model = MODELS["conv_6"]((32, 32, 3), 10)
    params, _ = model.init(jax.random.key(0))
    for density, least in ((1.0, 1.0), (0.02, 0.5)):
        mask = helpers.random_mask(params, 0, density)
        kept = sum(masks.num_kept(mask, model.prunable(params)).values())
        found = cost.measure(model, stack([mask]), (32, 32, 3))["live_weights"][0]
        assert least * kept <= found <= kept


def made_summary():
    """Three rounds of two replicates, and a control that costs nothing of it."""
    flops = {0: (1000, 1000), 1: (600, 500), 2: (300, 100)}
    rows = [
        {"round": number, "lane": lane, "replicate": replicate, "flops": float(work)}
        for number, works in flops.items()
        for lane in ("ticket", "random")
        for replicate, work in enumerate(works)
    ]
    density = {0: 1.0, 1: 0.5, 2: 0.25}
    return pd.DataFrame(rows).assign(density=lambda frame: frame["round"].map(density))


@pytest.mark.parametrize("one_shot", [False, True])
def test_what_a_ticket_takes_round_by_round(one_shot):
    summary = made_summary()
    steps = {0: 70, 1: 50, 2: 40}  # a rewind step shortens all rounds but the first
    shuffled = summary.sample(frac=1, random_state=0)
    found = cost.to_find(shuffled, pd.Series(steps), 32, one_shot)
    assert len(found) == 6
    for row in found.itertuples():
        own = summary[(summary.lane == "ticket") & (summary.replicate == row.replicate)]
        work = [3 * 32 * steps[i] * own.flops[own["round"] == i].item() for i in steps]
        before = work[: row.round]
        if one_shot:
            before = before[:1]
        np.testing.assert_allclose(row.training, work[row.round])
        np.testing.assert_allclose(row.finding, sum(before))
        total = (sum(before) + work[row.round]) / work[0]
        np.testing.assert_allclose(row.in_dense, total)
    assert found.in_dense[found["round"] == 0].tolist() == [1, 1]


def test_a_geometric_ladder_costs_a_geometric_sum():
    rounds = np.arange(6)
    summary = pd.DataFrame(
        {"round": rounds, "lane": "ticket", "replicate": 0, "density": 0.8**rounds}
    )
    found = cost.to_find(summary.assign(flops=1e4 * summary.density), 1000, 60)
    np.testing.assert_allclose(found.in_dense, (1 - 0.8 ** (rounds + 1)) / 0.2)
    np.testing.assert_allclose(found.training[0], 3 * 1e4 * 1000 * 60)


def test_a_run_without_a_dense_round_has_no_such_cost():
    with pytest.raises(ValueError, match="does not train the dense network"):
        cost.to_find(made_summary().query("round > 0"), 10, 10)
