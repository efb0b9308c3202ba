"""Sweeps: what can share a program does, and every run is as it is alone."""

import contextlib
import io
import shutil
import threading

import jax.numpy as jnp
import numpy as np
import pandas as pd
import pytest

import lottery_jax
from lottery_jax import config as configs
from lottery_jax import experiment, sweep, sweeps
from lottery_jax.errors import ConfigError, LotteryError
from lottery_jax.fields import FIELDS
from lottery_jax.tickets import CONTROLS
from lottery_jax.training import lanes, teams
from lottery_jax.types import Lane
from tests import helpers
from tests.test_config import load


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
    folder, built, said = tmp_path_factory.mktemp("sweep"), [], io.StringIO()
    make_runner = lanes.make_runner

    def noted(*arguments):
        built.append(arguments)
        return make_runner(*arguments)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(lanes, "make_runner", noted)
        with contextlib.redirect_stdout(said):
            table = sweeps.run_sweep(small(), SWEEP, folder)
    last = small().algorithm.rounds
    for number in range(last + 1):
        assert f"round {number}/{last} of 2 runs\n" in said.getvalue()
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
    wanted = [{"train.learning_rate": rate} for rate in (0.1, 0.2)]
    bad = tmp_path / sweeps.name_of(wanted[0])
    bad.mkdir()
    (bad / "something").touch()
    with pytest.raises(LotteryError, match=r"(?s)1 of 2 runs failed.*no run directory"):
        sweeps.run_sweep(small(), wanted, tmp_path)
    other = lottery_jax.load_results(tmp_path / sweeps.name_of(wanted[1]))
    assert len(other.certificates) == 2


def test_an_error_in_the_shared_program_is_everybodys(tmp_path, monkeypatch):
    """Nobody waits for ever, whatever went wrong, in the program or after it."""

    def broken(*arguments):
        return lambda lanes, grid: {"too": jnp.zeros(())}  # cannot be handed back

    monkeypatch.setattr(lanes, "make_runner", broken)
    wanted = [{"train.learning_rate": rate} for rate in (0.1, 0.2)]
    with pytest.raises(IndexError):
        sweeps.run_sweep(small(), wanted, tmp_path)


def test_a_team_that_is_stopped_trains_no_more():
    team = teams.Team([{}, {}])
    found = []

    def one(member):
        try:
            member.join(None, "train")(Lane({}, {}, jnp.zeros(1), {}), jnp.zeros(1))
        except KeyboardInterrupt:
            found.append(member)

    thread = threading.Thread(target=one, args=team.members[:1])
    thread.start()
    team.stop()
    thread.join(10)
    assert found == team.members[:1]


def test_all_that_may_differ_is_a_field():
    config = configs.default("imp")
    for field in sweeps.LANES:
        group, name = field.split(".")
        assert name in config[group], field
    for fields in FIELDS.values():
        assert set(fields.swept) <= set(fields.make())
        assert set(fields.controls) <= set(CONTROLS)


def test_a_search_has_momentum_of_its_own(tmp_path):
    config = load("nets.py:smoke")
    config.train.optimizer = config.algorithm.search.optimizer = "momentum"
    config.algorithm.generations, config.algorithm.imp_rounds = 1, 1
    config.replicates = 1
    wanted = [{"train.momentum": 0.5}, {"train.momentum": 0.9}]
    table = sweeps.run_sweep(config, wanted, tmp_path)
    searched = table[table["round"] == 0].groupby("run").fitness.first()
    trained = table[table["round"] == 2].groupby("run").test_loss.first()
    assert searched.nunique() == 1 and trained.nunique() == 2


def test_what_shares_a_program():
    wanted = [
        {"algorithm.prune_fraction": 0.3},
        {"algorithm.score": "movement", "seed.init": 3},
        {"seed.root": 3},  # another split of the data
        {"model.hidden": (9,)},
        {"train.weight_decay": 0.1},
    ]
    groups = sweeps.groups_of(sweeps.configs_of(small(), wanted))
    assert sorted(map(len, groups)) == [1, 1, 3]
    config = small()
    assert [*sweeps.configs_of(config, [{}])] == ["as_it_is"]
    assert sweeps.name_of({"model.hidden": [20, 20]}) == "model.hidden=_20,20_"
    assert config == small()


@pytest.mark.parametrize(
    ("wanted", "message"),
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
def test_bad_overrides_are_refused_before_anything_runs(wanted, message, tmp_path):
    with pytest.raises((LotteryError, ConfigError), match=message):
        sweeps.run_sweep(small(), wanted, tmp_path / "none")
    assert not (tmp_path / "none").exists()


def test_the_command_runs_jobs_of_a_cluster(tmp_path):
    """Here processes of this machine take the place of Slurm's."""
    pytest.importorskip("submitit", reason="the extra `cluster` is not installed")
    with pytest.raises(LotteryError, match="--cluster=slumr"):
        sweeps.run_sweep(small(), SWEEP[:1], tmp_path / "other", "slumr")
    (tmp_path / "sweep.py").write_text(
        "def get_sweep():\n    return [{'train.learning_rate': 0.1}]\n"
    )
    path = helpers.REPOSITORY / "configs" / "quickstart.py"
    runs = tmp_path / "runs [1]"
    done = helpers.lottery(
        f"--config={path}:smoke", f"--sweep={tmp_path}/sweep.py", f"--workdir={runs}",
        "--cluster=local", '--cluster_options={"timeout_min": 5}', module="sweep",
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert "train.learning_rate=0.1" in done.stdout
    table = pd.read_csv(runs / "sweep.csv")
    assert table["round"].max() == 2 and set(table.run) == {"train.learning_rate=0.1"}


def test_the_command_says_what_is_missing(tmp_path):
    config = helpers.REPOSITORY / "configs" / "quickstart.py"
    done = helpers.lottery(f"--config={config}", module="sweep")
    assert done.returncode == 2 and "no --sweep" in done.stderr
    (tmp_path / "empty.py").touch()
    for name, message in (
        ("none.py", "no sweep file"),
        ("empty.py", "no function get_sweep"),
    ):
        with pytest.raises(LotteryError, match=message):
            sweep.load_sweep(f"{tmp_path}/{name}")


def test_rounds_are_told_when_all_that_are_left_have_done_them():
    told = []
    team = teams.Team([{}, {}, {}], lambda number, last: told.append(number))
    one, other, third = team.members
    one.tell(2, 3)  # it went on from there
    other.tell(0, 3)
    assert told == []
    third.tell(1, 3)
    assert told == [0]
    other.leave()
    assert told == [0, 1]
    third.tell(2, 3)
    third.leave()
    one.leave()
    assert told == [0, 1, 2]
