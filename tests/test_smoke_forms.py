"""Every config runs its smoke form, from the first round to the figures."""

import pytest

from lottery_jax import experiment
from lottery_jax.fields import FIELDS
from lottery_jax.reporting import figures
from tests.test_config import load

DRAWS = True

SMOKES = [
    "conv_cifar10.py:conv_2,smoke",
    "gem_miner.py:smoke",
    "lenet_mnist.py:openlth_default,smoke",
    "lth_api.py:iterative,session,smoke",
    "plant_and_seek.py:helix,smoke",
    "pruning_at_init.py:synflow,smoke",
    "sample_complexity.py:smoke",
    "sanity_checks.py:smoke",
    "strong_tickets.py:smoke",
    "theys.py:published,smoke",
    "xor.py:smoke",
    "zhou_fc.py:large_final_same_sign,untrained,smoke",
    "zhou_fc.py:supermask_rescaled,smoke",
]


@pytest.mark.parametrize("path", SMOKES)
def test_every_smoke_form_runs(path, tmp_path):
    config = load(path)
    found = experiment.run(config, tmp_path)
    summary = found.summary
    algorithm, fields = config.algorithm, FIELDS[config.algorithm.name]
    last = len(found.ladder) - 1
    assert summary["round"].max() == last == fields.last_round(algorithm)
    for number, rows in summary.groupby("round"):
        assert set(rows.lane) == {*fields.lanes(config, number)}
    assert not summary.diverged.any()
    drawn = 4 + algorithm.get("pretrain", False)  # as PNG and PDF
    drawn += len({"recall"} & {*summary}) + any(summary.lane.str.contains("/"))
    drawn += 2 * ("used_density" in found.search)
    if config.algorithm.name in figures.OWN:
        drawn = len(figures.OWN[config.algorithm.name](found))
    assert len(list((tmp_path / "figures").iterdir())) == 2 * drawn
