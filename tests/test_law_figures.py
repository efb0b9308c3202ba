"""Figures of laws and collapse show the tables they are given."""

import numpy as np
import pandas as pd

from lottery_jax.reporting import law_figures

DRAWS = True

LAYERS = ["dense_0", "output"]


def test_units_stand_where_their_flows_say():
    kernels = {
        "dense_0": np.array([[1.0, 2], [3, 4]]),
        "output": np.array([[5.0], [6]]),
    }
    scores = {layer: {"kernel": kernel} for layer, kernel in kernels.items()}
    figure = law_figures.unit_flows({"one": scores, "two": scores}, LAYERS)
    assert len(figure.axes) == 2
    (points,) = figure.axes[0].collections
    np.testing.assert_array_equal(points.get_offsets(), [[4, 5], [6, 6]])
    assert "difference 0.17" in figure.axes[0].get_title()


def test_equal_totals_have_slope_one():
    sizes = {"a": 10, "b": 1000, "c": 100}
    totals = {"flat": dict.fromkeys(sizes, 7.0), "by size": sizes}
    (axes,) = law_figures.layer_means(totals, sizes).axes
    labels = axes.get_legend_handles_labels()[1]
    assert labels[:2] == ["flat: slope 1.00", "by size: slope 0.00"]
    x, y = axes.lines[0].get_data()
    np.testing.assert_allclose(x, [1e-3, 1e-2, 1e-1])
    np.testing.assert_allclose(y, x / 3)


def table(path, ratios):
    """Two exponents, two replicates; the second one loses its layer b at 10^2."""
    kept = {0.0: [(90, 10), (90, 10)], 2.0: [(1, 2), (3, 0)]}
    return pd.DataFrame(
        [
            {"score": "synflow", "iterations": iterations, "path": path}
            | {"exponent": exponent, "compression": 10**exponent, "replicate": r}
            | {"empty": int(b == 0), "flow_ratio": ratio, "a": a, "b": b}
            for iterations, ratio in ratios.items()
            for exponent, counts in kept.items()
            for r, (a, b) in enumerate(counts)
        ]
    )


def test_a_line_ends_where_a_replicate_has_lost_the_layer():
    rows = table("exponential", {1: 2.0})
    (axes,) = law_figures.collapse_curves(rows, ["a", "b"], maximum=50).axes
    a, b, lost, most = axes.lines
    np.testing.assert_array_equal(a.get_ydata(), [90, 2])
    np.testing.assert_array_equal(b.get_ydata(), [10, np.nan])
    assert lost.get_xdata()[0] == 100 and most.get_xdata()[0] == 50
    assert axes.get_title() == "synflow, 1 iteration"


def test_ratios_of_each_network_and_path():
    rows = pd.concat([table(path, {1: 2.0, 10: 0.5}) for path in ("one", "other")])
    figure = law_figures.flow_ratios({"narrow": rows, "wide": rows})
    titles = [axes.get_title() for axes in figure.axes]
    assert titles[1:3] == ["narrow, other path", "wide, one path"]
    np.testing.assert_array_equal(
        figure.axes[0].lines[0].get_data(), [[1, 10], [2, 0.5]]
    )
    figure.draw_without_rendering()
