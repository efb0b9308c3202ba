"""A run of any algorithm that is stopped goes on, and ends with the same bits."""

import pandas as pd
import pytest

import lottery_jax
from lottery_jax import experiment
from lottery_jax.algorithms import ALGORITHMS
from lottery_jax.fields import FIELDS
from lottery_jax.reporting import run_directory
from tests.test_config import load
from tests.test_results import assert_same_run

CASES = {
    "compare": ("gem_miner.py:smoke", {"algorithm.methods": ("gem_miner", "imp")}),
    "gradual": ("theys.py:smoke", {"algorithm.densities": (0.5, 0.2)}),
    "imp": ("pruning_at_init.py:snip,smoke", {}),
    "nets": ("nets.py:xor10,smoke", {}),
    "sample_complexity": ("sample_complexity.py:smoke", {}),
    "strong_tickets": ("strong_tickets.py:smoke", {}),
    "supermask": (
        "zhou_fc.py:supermask,smoke",
        {"algorithm.initial_logits": (0.0, -1.0)},
    ),
    "topologies": ("topologies.py:smoke", {}),
}
"""Name -> a smoke form, and what makes it two rounds or more."""


@pytest.mark.parametrize("name", ALGORITHMS)
def test_a_stopped_run_goes_on_to_the_same_bits(name, tmp_path, monkeypatch):
    path, changes = CASES[name]
    config = load(path)
    config.update_from_flattened_dict(changes)
    assert config.algorithm.name == name
    whole = experiment.run(config, tmp_path / "whole")
    for number, rows in whole.summary.groupby("round"):
        assert set(rows.lane) == {*FIELDS[name].lanes(config, number)}
    stop, commit = len(whole.ladder) // 2, run_directory.commit

    def stopped(workdir, info, *rest):
        if info.round == stop:
            raise KeyboardInterrupt
        return commit(workdir, info, *rest)

    with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
        patch.setattr(run_directory, "commit", stopped)
        experiment.run(config, tmp_path / "parts")
    begun = lottery_jax.load_results(tmp_path / "parts")
    assert len(begun.certificates) == stop > 0
    parts = experiment.run(config, tmp_path / "parts")
    assert_same_run(tmp_path / "whole", tmp_path / "parts")
    for table in ("search", "weights"):
        pd.testing.assert_frame_equal(getattr(parts, table), getattr(whole, table))
