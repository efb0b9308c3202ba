"""Every benchmark runs in a tiny form and writes rows that are what they say."""

import json
import os
import subprocess
import sys

import pytest

from tests import helpers

SMOKE = "--config=configs/quickstart.py:smoke"
TINY = {
    "train_step": ["--models=mlp", "--lanes=2", "--steps=300"],
    "population": ["--networks=xor10", "--populations=5,50", "--steps=5"],
    "startup": [SMOKE],
}


def run(name, *arguments):
    """Standard output of a benchmark in a process of its own."""
    done = subprocess.run(
        [sys.executable, f"benchmarks/{name}.py", *arguments],
        cwd=helpers.REPOSITORY,
        capture_output=True,
        text=True,
        timeout=300,
        env=os.environ | {"PYTHONPATH": str(helpers.REPOSITORY)},
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


@pytest.fixture(params=TINY)
def measured(request, tmp_path):
    """(name, rows, number of lines printed) of a benchmark."""
    path = tmp_path / "rows.json"
    said = run(request.param, *TINY[request.param], "--repeats=1", f"--output={path}")
    return request.param, json.loads(path.read_text()), said.count("\n")


def test_rows_of_a_tiny_form(measured):
    name, rows, lines = measured
    assert lines == len(rows) + 1  # a table with its head
    if name == "train_step":
        keys, value = ("model", "lanes", "plan"), "lane_steps_per_second"
        for row in rows:
            # 64 * 100 + 100 * 50 + 50 * 10 weights, batches of 60, three products
            assert row["mflop_per_step"] == pytest.approx(3 * 2 * 60 * 11_900 / 1e6)
            work = row[value] * row["mflop_per_step"] / row["peak_gflops"] / 1e3
            assert row["fraction_of_peak"] == pytest.approx(work)
    elif name == "population":
        keys, value = ("network", "population"), "candidates_per_second"
        assert rows[0]["over_first"] == 1 < rows[1]["over_first"]
        assert rows[1]["over_first"] == rows[1][value] / rows[0][value]
    else:
        keys, value = ("what",), "seconds"
        assert rows[0]["what"] == "import jax" and rows[0]["ratio_to_import_jax"] == 1
        assert rows[1]["seconds"] < rows[0]["seconds"]  # the package imports no JAX
        found = {row["what"]: row["seconds"] for row in rows}
        assert found["first round, warm"] < found["first round, cold"]
    assert all(0 < row["low"] <= row[value] <= row["high"] for row in rows)
    expected = {"train_step": 2, "population": 2, "startup": 5}[name]
    assert len({tuple(row[key] for key in keys) for row in rows}) == expected


def test_flops_of_convolutions_are_counted():
    """LeNet-5's step by XLA: near three products of its multiplications."""
    code = """
import sys
sys.path.insert(0, "benchmarks")
import common, train_step
shape = train_step.MODELS["lenet_5"].input_shape
print(train_step.flops(common.made_task("lenet_5", shape, 10, num=60)))
"""
    done = subprocess.run(
        [sys.executable, "-c", code],
        cwd=helpers.REPOSITORY,
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr
    positions = {25 * 6: 28 * 28, 25 * 6 * 16: 10 * 10}
    products = sum(weights * places for weights, places in positions.items())
    products += 400 * 120 + 120 * 84 + 84 * 10
    assert 0.6 < float(done.stdout) / (3 * 2 * 60 * products) < 1.2
