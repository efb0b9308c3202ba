"""Degrees of units against loops, and chance against all masks there are."""

import itertools

import numpy as np
import pytest
from scipy import stats

from lottery_jax.analysis import degrees

SHAPES = [(3, 4), (2, 1, 2, 3)]


def all_masks(shape, kept):
    for places in itertools.combinations(range(np.prod(shape)), kept):
        mask = np.zeros(shape, bool)
        mask.flat[list(places)] = True
        yield mask


@pytest.mark.parametrize("shape", [(7, 5), (3, 2, 4, 6)])
def test_degrees_weight_by_weight(shape):
    mask = np.random.default_rng(0).random(shape) < 0.3
    into, out = np.zeros(shape[-1], int), np.zeros(shape[-2], int)
    for *_, source, unit in np.argwhere(mask):
        into[unit] += 1
        out[source] += 1
    np.testing.assert_array_equal(degrees.incoming(mask), into)
    np.testing.assert_array_equal(degrees.outgoing(mask), out)


@pytest.mark.parametrize("count", [degrees.incoming, degrees.outgoing])
@pytest.mark.parametrize("shape", SHAPES)
def test_chance_is_that_of_all_masks(shape, count):
    kept, size = 4, int(np.prod(shape))
    counts = np.array([count(mask) for mask in all_masks(shape, kept)])
    units = counts.shape[1]
    mean, variance = degrees.chance(size, kept, units)
    np.testing.assert_allclose(mean, counts[:, 0].mean())
    np.testing.assert_allclose(variance, counts[:, 0].var())
    at = np.arange(-1, size + 2)
    frequency = [(counts[:, 0] == degree).mean() for degree in at]
    np.testing.assert_allclose(
        degrees.probability(at, size, kept, units), frequency, atol=1e-12
    )
    ratios = [degrees.unevenness(each, size) for each in counts]
    np.testing.assert_allclose(np.mean(ratios), 1)
    assert np.std(ratios) > 0.1


def test_probability_of_a_large_layer():
    size, kept, units = 784 * 300, 3000, 784
    at = np.arange(40)
    expected = stats.hypergeom(size, kept, size // units).pmf(at)
    np.testing.assert_allclose(
        degrees.probability(at, size, kept, units), expected, rtol=1e-6
    )


def test_unevenness_of_masks_made_by_hand():
    even = np.eye(6, dtype=bool) | np.roll(np.eye(6, dtype=bool), 1, axis=1)
    assert degrees.unevenness(degrees.incoming(even), 36) == 0
    star = np.zeros((6, 6), bool)
    star[2] = True  # one input has all weights, every unit one
    assert degrees.unevenness(degrees.incoming(star), 36) == 0
    # Variance of (6, 0, 0, 0, 0, 0) over that of 6 draws of 36 without replacement.
    expected = 5 / (6 * (1 / 6) * (5 / 6) * (30 / 35))
    assert degrees.unevenness(degrees.outgoing(star), 36) == pytest.approx(expected)
    for whole in (np.zeros((6, 6), bool), np.ones((6, 6), bool)):
        assert np.isnan(degrees.unevenness(degrees.incoming(whole), 36))
    assert np.isnan(degrees.unevenness(np.array([3]), 9))  # one unit
    assert np.isnan(degrees.unevenness(np.array([1]), 1))


def test_a_table_of_layers():
    first = np.zeros((4, 5), bool)
    first[0, :3] = first[1, 0] = True
    conv = np.ones((3, 3, 2, 4), bool)
    conv[..., 1, :] = False
    table = degrees.by_layer({"first": first, "scale": first[0], "conv": conv})
    assert list(table.layer) == ["first", "conv"]
    assert list(table["size"]) == [20, 72] and list(table.kept) == [4, 36]
    np.testing.assert_allclose(table.density, [0.2, 0.5])
    np.testing.assert_allclose(table.no_incoming, [2 / 5, 0])
    np.testing.assert_allclose(table.no_outgoing, [2 / 4, 1 / 2])
    assert table.incoming_unevenness[1] == 0 and table.outgoing_unevenness[1] > 1
