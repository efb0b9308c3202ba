"""Movement, connectivity and overlap against loops and closed forms."""

import itertools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from lottery_jax import experiment
from lottery_jax.analysis import columns, connectivity, movement
from lottery_jax.analysis.certificates import certify
from lottery_jax.analysis.overlap import overlap
from lottery_jax.errors import CertificateError
from tests import helpers


def test_movement_by_fate_weight_by_weight():
    values = np.random.default_rng(0)
    start, final = values.normal(size=(2, 60)).astype(np.float32)
    old = values.random(60) < 0.7
    new = old & (values.random(60) < 0.5)
    split = (slice(0, 25), slice(25, 60))  # over two leaves
    found = movement.by_fate(
        *([jnp.asarray(x[part]) for part in split] for x in (start, final, old, new))
    )
    for fate, chosen in {"kept": new, "dropped": old & ~new}.items():
        far = [abs(f - i) for i, f, c in zip(start, final, chosen, strict=True) if c]
        out = [abs(f) > abs(i) for i, f, c in zip(start, final, chosen, strict=True)
               if c]  # fmt: skip
        np.testing.assert_allclose(found[f"{fate}_movement"], np.mean(far), rtol=1e-5)
        np.testing.assert_allclose(found[f"{fate}_outward"], np.mean(out), rtol=1e-5)
    whole = movement.by_fate(start, final, old, old)
    assert np.isnan(whole["dropped_movement"])


def test_a_path_and_its_barrier():
    """A double well: flat at both ends, one high in the middle."""
    heights = connectivity.along(
        lambda p: (p["w"][0] ** 2 - 1) ** 2,
        {"w": jnp.array([-1.0])},
        {"w": jnp.array([1.0])},
        points=31,
    )
    t = np.linspace(-1, 1, 31)
    np.testing.assert_allclose(heights, (t**2 - 1) ** 2, atol=1e-6)
    np.testing.assert_allclose(connectivity.barrier(heights), 1, atol=1e-6)
    slope = connectivity.along(lambda p: 3 * p, jnp.float32(1), jnp.float32(3))
    assert len(slope) == 30
    np.testing.assert_allclose(connectivity.barrier(slope), 3, rtol=1e-6)


def test_distance_and_angle():
    a = {"x": jnp.array([3.0, 0.0]), "y": jnp.array([[0.0]])}
    b = {"x": jnp.array([0.0, 0.0]), "y": jnp.array([[4.0]])}
    length, angle = connectivity.distance(a, b)
    np.testing.assert_allclose([length, angle], [5, 90], rtol=1e-5)
    assert connectivity.distance(a, a)[1] < 0.1


def test_overlap_against_all_masks_there_are():
    """Mean and spread over every pair with the same counts per layer."""
    one = {"a": np.array([1, 1, 0, 0, 1], bool), "b": np.array([[1, 0], [0, 0]], bool)}
    shared = []
    for kept in itertools.combinations(range(5), 2):
        for place in range(4):
            other = {"a": np.isin(np.arange(5), kept), "b": np.zeros((2, 2), bool)}
            other["b"].flat[place] = True
            shared.append(overlap(one, other).shared)
    found = overlap(one, other)
    np.testing.assert_allclose(found.expected, np.mean(shared))
    np.testing.assert_allclose(
        found.z, (found.shared - np.mean(shared)) / np.std(shared)
    )
    expected = np.mean(shared)  # of 4 and 3 weights kept
    np.testing.assert_allclose(found.chance, expected / (4 + 3 - expected))
    np.testing.assert_allclose(found.jaccard, found.shared / (7 - found.shared))
    same = overlap(one, one)
    assert same.jaccard == 1 and same.shared == 4 and same.z > 1
    empty = overlap({"a": one["a"] & False}, {"a": one["a"] & False})
    assert np.isnan([empty.jaccard, empty.chance]).all()
    assert np.isnan(overlap({"a": one["a"] | True}, {"a": one["a"] | True}).z)
    with pytest.raises(ValueError, match="unlike networks"):
        overlap(one, {"a": one["a"]})


def test_a_run_tells_movement_and_stability(tmp_path):
    config = helpers.tiny_config(
        controls__order=1, controls__random=0, algorithm__rounds=2
    )
    summary = experiment.run(config, tmp_path / "run").summary
    tickets = summary[(summary.lane == "ticket") & (summary["round"] == 1)]
    # Magnitude pruning drops the small ones, which have rather moved inwards.
    assert (tickets.kept_outward > tickets.dropped_outward).all()
    assert summary[summary["round"] == 0].kept_movement.isna().all()
    other = summary[summary.lane == "order"]
    assert (other.distance > 0.01).all() and other.angle.between(0, 90).all()
    assert other.instability.between(0, 1).all()
    assert summary[summary.lane != "order"].instability.isna().all()


def error_barrier(task, a, b):
    """Thirty networks on the line, one by one, in numpy."""
    test, errors = task.dataset.test, []
    for t in np.linspace(0, 1, 30):
        params = jax.tree.map(lambda x, y, t=t: (1 - t) * x + t * y, a, b)
        outputs, _ = task.model.apply(params, {}, test.x, train=False)
        errors.append(float((outputs.argmax(-1) != test.y).mean()))
    return max(errors) - (errors[0] + errors[-1]) / 2


def test_barriers_are_those_of_the_networks_on_the_line():
    config = helpers.tiny_config(
        controls__order=1, algorithm__rounds=1, train__learning_rate=0.01
    )
    task, algorithm, roots = helpers.tiny_algorithm(config)
    state, dense = algorithm.step(algorithm.init(roots))
    _, info = algorithm.step(state)

    def final(info, lane):
        return jax.tree.map(lambda leaf: leaf[lane], info.trained.final)

    found = columns.of_round(task, info, level_barrier=True)
    (order, *_) = [i for i, lab in enumerate(info.labels) if lab.lane == "order"]
    expected = {
        "instability": (order, error_barrier(task, final(info, 0), final(info, order))),
        "level_barrier": (1, error_barrier(task, final(dense, 1), final(info, 1))),
    }
    for name, (lane, value) in expected.items():  # to one example
        np.testing.assert_allclose(found[name][lane], value, atol=0.011)
    assert np.isfinite(found["level_barrier"]).sum() == 2
    assert "level_barrier" not in columns.of_round(task, info)


def test_stability_to_pruning_is_measured_under_the_tickets_mask():
    """The whole network from the same weights and batches, then masked: in numpy."""
    config = helpers.tiny_config(controls__dense=1, algorithm__rounds=2)
    task, algorithm, roots = helpers.tiny_algorithm(config)
    state, dense_round = algorithm.step(algorithm.init(roots))
    certify(dense_round)
    state, _ = algorithm.step(state)
    _, info = algorithm.step(state)
    certify(info)
    lanes = [i for i, label in enumerate(info.labels) if label.lane == "dense"]
    assert len(lanes) == 2
    assert (columns.of_round(task, dense_round)["distance"][lanes] == 0).all()
    found = columns.of_round(task, info)
    for lane in lanes:
        ticket = info.labels[lane].replicate

        def flat(tree, at):
            return np.concatenate(
                [np.ravel(leaf[at]) for leaf in jax.tree.leaves(tree)]
            )

        own = flat(info.trained.final, lane) * flat(info.lanes.mask, ticket)
        other = flat(info.trained.final, ticket)
        length = np.sqrt(np.sum((own - other) ** 2))
        cosine = own @ other / np.sqrt((own @ own) * (other @ other))
        np.testing.assert_allclose(found["distance"][lane], length, rtol=1e-4)
        angle = np.degrees(np.arccos(cosine))
        np.testing.assert_allclose(found["angle"][lane], angle, rtol=1e-3)
        assert length > 0.01
        whole = jax.tree.map(lambda leaf, i=lane: bool(leaf[i].all()), info.lanes.mask)
        assert all(jax.tree.leaves(whole))
    assert np.isfinite(found["distance"]).sum() == 2
    not_whole = info.lanes._replace(
        mask=jax.tree.map(
            lambda leaf: leaf.at[jnp.array(lanes)].set(leaf[:2]), info.lanes.mask
        )
    )
    with pytest.raises(CertificateError, match="in lane dense"):
        certify(info._replace(lanes=not_whole))
