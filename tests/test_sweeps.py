"""Sweeps: what can share a program does, and every run is as it is alone."""

import shutil

import numpy as np
import pandas as pd
import pytest

import lottery_jax
from lottery_jax import experiment, sweeps
from lottery_jax.errors import ConfigError, LotteryError
from lottery_jax.training import lanes
from tests import helpers


def small():
    config = helpers.tiny_config()
    config.train.optimizer = "momentum"
    config.algorithm.rounds = 1
    config.replicates = 1
    return config


SWEEP = [
    {"train.learning_rate": 0.1, "train.momentum": 0.5},
    {"train.learning_rate": 0.01, "train.momentum": 0.9, "algorithm.score": "random"},
    {"train.learning_rate": 0.1, "train.momentum": 0.9, "controls.reinit": 0},
]


@pytest.fixture(scope="module")
def swept(tmp_path_factory):
    folder, built = tmp_path_factory.mktemp("sweep"), []
    make_runner = lanes.make_runner

    def noted(*arguments):
        built.append(arguments)
        return make_runner(*arguments)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(lanes, "make_runner", noted)
        table = sweeps.run_sweep(small(), SWEEP, folder)
    return folder, table, built


def test_runs_share_programs_and_are_what_they_are_alone(swept, tmp_path):
    folder, table, built = swept
    assert len(built) == 2  # the last run has other lanes, the first two share
    assert table.run.nunique() == 3
    for overrides in SWEEP[:2]:
        config = small()
        config.update_from_flattened_dict(overrides)
        name = sweeps.name_of(overrides)
        alone = experiment.run(config, tmp_path / name).summary
        own = table[table.run == name].reset_index(drop=True)
        numbers = ["kept", "test_loss", "validation_loss"]
        pd.testing.assert_frame_equal(own[numbers], alone[numbers], rtol=1e-4)
    losses = table[table["round"] == 0].groupby("run").test_loss.first()
    assert losses.nunique() == 3


def test_the_table_has_what_differs(swept):
    folder, table, _ = swept
    leading = ["run", "controls.reinit", "train.learning_rate", "train.momentum"]
    assert set(table.columns[:5]) == {*leading, "algorithm.score"}
    assert set(table["algorithm.score"]) == {"magnitude", "random"}
    again = lottery_jax.load_results(f"{folder}/*")
    pd.testing.assert_frame_equal(again, table)
    with pytest.raises(LotteryError, match="names no run directory"):
        lottery_jax.load_results(f"{folder}/none*")


def test_a_sweep_goes_on(swept, monkeypatch, tmp_path):
    folder, table, _ = swept
    shutil.copytree(folder, tmp_path / "copy")
    first = tmp_path / "copy" / sweeps.name_of(SWEEP[0])
    shutil.rmtree(first)  # the others are finished
    trained = []
    train = lanes.make_runner

    def noted(*arguments):
        trained.append(arguments)
        return train(*arguments)

    monkeypatch.setattr(lanes, "make_runner", noted)
    again = sweeps.run_sweep(small(), SWEEP, tmp_path / "copy")
    assert len(trained) == 1
    columns = ["run", "round", "lane", "kept"]
    pd.testing.assert_frame_equal(again[columns], table[columns])
    np.testing.assert_allclose(again.test_loss, table.test_loss, rtol=1e-4)


def test_one_that_fails_does_not_stop_the_others(tmp_path):
    sweep = [{"train.learning_rate": rate} for rate in (0.1, 0.2)]
    bad = tmp_path / sweeps.name_of(sweep[0])
    bad.mkdir()
    (bad / "something").touch()
    with pytest.raises(LotteryError, match=r"(?s)1 of 2 runs failed.*no run directory"):
        sweeps.run_sweep(small(), sweep, tmp_path)
    other = lottery_jax.load_results(tmp_path / sweeps.name_of(sweep[1]))
    assert len(other.certificates) == 2


def test_what_shares_a_program():
    sweep = [
        {"algorithm.prune_fraction": 0.3},
        {"algorithm.score": "movement", "seed.init": 3},
        {"seed.root": 3},  # another split of the data
        {"model.hidden": (9,)},
        {"train.weight_decay": 0.1},
    ]
    groups = sweeps.groups_of(sweeps.configs_of(small(), sweep))
    assert sorted(map(len, groups)) == [1, 1, 3]
    config = small()
    assert [*sweeps.configs_of(config, [{}])] == ["as_it_is"]
    assert config == small()


@pytest.mark.parametrize(
    ("sweep", "message"),
    [
        ([], "no overrides"),
        ([{"train.learning_rat": 1}], "did you mean 'learning_rate'"),
        ([{"trai.x": 1}], "config.trai.x: no such field; did you mean 'train'"),
        ([{"train": 1}], "config.train: 1"),
        ([{"train.steps": "many"}], "train.steps"),
        ([{"algorithm.score": "size"}], "--sweep, algorithm.score=size: .*valid"),
        ([{"train.steps": 30}, {"train.steps": 30}], "two runs are train.steps=30"),
    ],
)
def test_bad_overrides_are_refused_before_anything_runs(sweep, message, tmp_path):
    with pytest.raises((LotteryError, ConfigError), match=message):
        sweeps.run_sweep(small(), sweep, tmp_path / "none")
    assert not (tmp_path / "none").exists()


def test_jobs_of_a_cluster(tmp_path):
    """Here processes of this machine take the place of Slurm's."""
    pytest.importorskip("submitit", reason="the extra `cluster` is not installed")
    options = {"timeout_min": 5}
    table = sweeps.run_sweep(small(), SWEEP[:1], tmp_path / "runs", "local", options)
    assert table["round"].max() == 1
    with pytest.raises(LotteryError, match="unknown|cluster"):
        sweeps.run_sweep(small(), SWEEP[:1], tmp_path / "other", "slumr")


def test_the_command_says_what_is_missing(tmp_path):
    config = helpers.REPOSITORY / "configs" / "quickstart.py"
    (tmp_path / "empty.py").touch()
    for flags, message in (
        ([], "no --sweep"),
        ([f"--sweep={tmp_path}/none.py", "--workdir=x"], "no sweep file"),
        ([f"--sweep={tmp_path}/empty.py", "--workdir=x"], "no function get_sweep"),
    ):
        done = helpers.lottery(f"--config={config}", *flags, module="sweep")
        assert done.returncode == 2 and message in done.stderr
