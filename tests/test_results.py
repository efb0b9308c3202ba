"""Runs on disk: whole rounds or none, resumed bit for bit, what is refused."""

import fcntl
import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import jax
import numpy as np
import pandas as pd
import pytest

import lottery_jax
from lottery_jax import assembly, experiment
from lottery_jax.errors import ConfigError, ResultsError
from lottery_jax.reporting import environment, files, progress, run_directory
from tests import helpers


def assert_same_run(one, other):
    """Tables (but for seconds), masks, certificates and the last state, bit for bit."""
    first, second = lottery_jax.load_results(one), lottery_jax.load_results(other)
    for table in ("summary", "curves"):
        a, b = (
            getattr(found, table).drop(columns="seconds", errors="ignore")
            for found in (first, second)
        )
        pd.testing.assert_frame_equal(a, b, check_exact=True)
    assert first.certificates == second.certificates
    assert first.ladder == second.ladder
    for number in range(len(first.ladder)):
        for name in ("masks.npz", "state.npz"):
            paths = [w / "rounds" / f"{number:04d}" / name for w in (one, other)]
            assert paths[0].exists() == paths[1].exists()
            if paths[0].exists():
                a, b = (dict(np.load(path)) for path in paths)
                assert a.keys() == b.keys()
                for key in a:
                    np.testing.assert_array_equal(a[key], b[key])


@pytest.fixture(scope="module")
def finished(tmp_path_factory):
    """An uninterrupted run with a rewind step and every control."""
    workdir = tmp_path_factory.mktemp("finished") / "run"
    experiment.run(config(), workdir)
    return workdir


def config():
    return helpers.tiny_config(
        algorithm__rewind_step=10, controls__shuffle=1, controls__reinit=2
    )


def test_tables_are_tidy(finished):
    found = lottery_jax.load_results(finished)
    summary, curves = found.summary, found.curves
    keys = ["round", "lane", "sample", "replicate"]
    assert list(summary.columns[:7]) == [*keys, "density", "kept", "early_stop_step"]
    assert len(summary) == 4 * (1 + 1 + 2 + 1) * 2
    assert not summary.duplicated(keys).any()
    states = [path.parent.name for path in finished.glob("rounds/*/state.npz")]
    assert states == ["0003"]  # to go on from
    assert {
        "early_stop_test_accuracy", "test_accuracy", "validation_accuracy",
        "train_accuracy", "test_loss", "validation_loss", "train_loss", "seconds",
        "diverged",
    } <= set(summary)  # fmt: skip
    assert list(curves.columns[:7]) == [
        *keys, "step", "train_loss", "validation_loss"
    ]  # fmt: skip
    assert not curves.duplicated([*keys, "step"]).any()
    first, later = curves[curves["round"] == 0], curves[curves["round"] > 0]
    assert sorted(set(first.step)) == [0, 10, 20, 30]
    assert sorted(set(later.step)) == [10, 20, 30]
    assert (curves.train_loss.isna() == (curves.groupby("round").step.transform("min")
            == curves.step)).all()  # fmt: skip
    density = [sum(rung.values()) / 1184 for rung in found.ladder]
    np.testing.assert_allclose(summary.groupby("round").density.first(), density)
    last = curves[curves.step == 30].set_index(keys).validation_loss
    pd.testing.assert_series_equal(last, summary.set_index(keys).validation_loss)
    reached = curves.merge(
        summary[[*keys, "early_stop_step"]].rename(columns={"early_stop_step": "step"})
    )
    lowest = curves.groupby(keys, sort=False).validation_loss.min()
    np.testing.assert_array_equal(reached.validation_loss, lowest)


def test_masks_come_back_as_they_were_trained(tmp_path):
    _, algorithm, roots = helpers.tiny_algorithm(config())
    state = algorithm.init(roots)
    (tmp_path / "rounds").mkdir()
    for number in range(2):
        state, info = algorithm.step(state)
        run_directory.commit(tmp_path, info, state, {}, {"seconds": 1.0})
        stored = lottery_jax.load_masks(tmp_path, number)
        assert sorted(stored) == ["dense_0/kernel", "output/kernel"]
        for name, mask in stored.items():
            layer = name.split("/")[0]
            np.testing.assert_array_equal(mask, info.lanes.mask[layer]["kernel"][:2])
    restored = run_directory.restore(tmp_path, like=algorithm.init(roots))
    plain = [
        jax.tree.map(run_directory.without_key, tree) for tree in (state, restored)
    ]
    helpers.assert_trees_equal(*plain)


class Killed(BaseException):
    """Like `kill -9`: nothing on the way out is executed for it."""


@pytest.mark.parametrize("after", [0, 1, 2, 3, 5, 7, 9, 10, 14, 20])
def test_a_crash_at_any_write_changes_nothing(tmp_path, monkeypatch, finished, after):
    """The process dies at the n-th sync to disk; the second start finishes the run."""
    workdir, sync, left = tmp_path / "run", files.sync, [after]

    def dying(path):
        if left[0] == 0:
            raise Killed
        left[0] -= 1
        sync(path)

    with monkeypatch.context() as patch:
        patch.setattr(files, "sync", dying)
        with pytest.raises(Killed):
            experiment.run(config(), workdir)
    experiment.run(config(), workdir)
    assert_same_run(workdir, finished)


def test_kill_and_resume_from_the_command_line(tmp_path):
    """`kill -9` at random moments, then a start that gets through."""
    common = ["--config=configs/quickstart.py:smoke", "--config.algorithm.rounds=8"]
    common.append("--config.controls.random=0")  # slow to compile
    whole, workdir = tmp_path / "whole", tmp_path / "killed"
    done = helpers.lottery(*common, f"--workdir={whole}")
    assert done.returncode == 0, done.stderr
    command = [
        sys.executable,
        "-m",
        "lottery_jax.main",
        *common,
        f"--workdir={workdir}",
    ]
    kills = 0
    for seconds in np.random.default_rng().uniform(0, 0.4, 2):
        process = subprocess.Popen(
            command, cwd=helpers.REPOSITORY, stdout=subprocess.PIPE, text=True
        )
        while "round" not in process.stdout.readline():
            assert process.poll() is None
        time.sleep(seconds)  # somewhere in the rounds after the first of this start
        process.send_signal(signal.SIGKILL)
        process.communicate()
        kills += process.returncode == -signal.SIGKILL
    assert kills
    done = helpers.lottery(*common, f"--workdir={workdir}")
    assert done.returncode == 0, done.stderr
    assert_same_run(workdir, whole)


def test_choices_are_remembered(tmp_path):
    environment.record(tmp_path)
    assert run_directory.remember(tmp_path, "plan", lambda: None) is None
    chosen = run_directory.remember(
        tmp_path, "plan", lambda: {"kind": "map", "chunk": 4}
    )
    again = run_directory.remember(
        tmp_path, "plan", lambda: {"kind": "vmap", "chunk": 1}
    )
    assert chosen == again == {"kind": "map", "chunk": 4}
    assert run_directory.remember(tmp_path, "sparse_below", lambda: 7) == 7


def test_a_finished_run_says_so_and_does_nothing(finished, capsys):
    before = {p: p.stat().st_mtime_ns for p in finished.rglob("*") if p.is_file()}
    before.pop(finished / ".lock")
    experiment.run(config(), finished)
    assert "finished" in capsys.readouterr().out
    assert all(path.stat().st_mtime_ns == when for path, when in before.items())


def test_figures_are_drawn_again_where_they_are_missing(
    tmp_path, finished, monkeypatch, drawn
):
    """Killed while drawing: all or none, and the next start draws; no data needed."""
    workdir = tmp_path / "run"
    shutil.copytree(finished, workdir)
    shutil.rmtree(workdir / "figures", ignore_errors=True)
    with monkeypatch.context() as patch:
        patch.setattr(files, "sync", _killed)
        with pytest.raises(Killed):
            experiment.run(config(), workdir)
    assert not (workdir / "figures").exists()
    monkeypatch.setattr(assembly, "make_task", None)
    experiment.run(config(), workdir)
    assert len(list((workdir / "figures").iterdir())) == 10


def _killed(path):
    raise Killed


def test_another_config_is_refused_with_its_fields(finished):
    other = config()
    other.train.learning_rate = 0.5
    other.controls.random = 0
    before = sorted(finished.rglob("*"))
    with pytest.raises(ResultsError) as error:
        experiment.run(other, finished)
    assert "train.learning_rate: 0.0012 here, 0.5 now" in str(error.value)
    assert "controls.random: 1 here, 0 now" in str(error.value)
    assert "data" not in str(error.value).split("differ:")[1]
    assert sorted(finished.rglob("*")) == before


def test_a_directory_in_use_is_refused(tmp_path, finished):
    workdir = tmp_path / "unfinished"
    shutil.copytree(finished, workdir)
    shutil.rmtree(workdir / "rounds" / "0003")
    with open(workdir / ".lock") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        with pytest.raises(ResultsError, match="in use by another process"):
            experiment.run(config(), workdir)


def test_a_directory_of_something_else_is_refused(tmp_path):
    (tmp_path / "thesis.tex").write_text("mine")
    with pytest.raises(ResultsError, match="no run directory"):
        experiment.run(config(), tmp_path)
    assert [path.name for path in tmp_path.iterdir()] == ["thesis.tex"]


@pytest.mark.parametrize("below", ["file", "file/run"])
def test_a_place_that_cannot_be_written_is_refused(tmp_path, below):
    (tmp_path / "file").write_text("")
    with pytest.raises(ResultsError, match="file"):
        experiment.run(config(), tmp_path / below)


def test_a_full_disk_keeps_the_rounds_before(tmp_path, finished):
    """A real limit on file sizes, which the state of the second round runs into."""
    workdir = tmp_path / "run"
    limit = (
        "import resource, signal, sys, pathlib\n"
        "from lottery_jax import experiment\n"
        "from lottery_jax.reporting import run_directory\n"
        "from tests.test_results import config\n"
        "commit = run_directory.commit\n"
        "def limited(workdir, info, *rest):\n"
        "    if info.round == 2:\n"
        "        resource.setrlimit(resource.RLIMIT_FSIZE, (4000, 4000))\n"
        "    return commit(workdir, info, *rest)\n"
        "run_directory.commit = limited\n"
        "experiment.run(config(), pathlib.Path(sys.argv[1]))\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", limit, str(workdir)],
        cwd=helpers.REPOSITORY,
        capture_output=True,
        text=True,
        env={**os.environ, "XLA_FLAGS": "--xla_force_host_platform_device_count=2"},
    )
    assert "cannot write to" in done.stderr and "rounds up to 1 are kept" in done.stderr
    assert len(lottery_jax.load_results(workdir).certificates) == 2
    assert not list((workdir / "rounds").glob(".writing-*"))
    experiment.run(config(), workdir)
    assert_same_run(workdir, finished)


@pytest.mark.parametrize(
    "name", ["summary.parquet", "masks.npz", "state.npz", "certificate.json"]
)
def test_a_damaged_file_is_named(tmp_path, name):
    experiment.run(helpers.tiny_config(algorithm__rounds=1), tmp_path)
    path = tmp_path / "rounds" / "0001" / name
    path.write_bytes(path.read_bytes()[:40])
    with pytest.raises(ResultsError, match=name):
        if name == "masks.npz":
            lottery_jax.load_masks(tmp_path, 1)
        elif name == "state.npz":
            run_directory.restore(tmp_path, like={})
        else:
            lottery_jax.load_results(tmp_path)


def test_a_missing_round_is_named(finished):
    with pytest.raises(ResultsError, match=r"no round 9; there are \[0, 1, 2, 3\]"):
        lottery_jax.load_masks(finished, 9)


def test_loading_what_is_no_run_is_refused(tmp_path):
    with pytest.raises(ResultsError, match="no config.json"):
        lottery_jax.load_results(tmp_path)
    (tmp_path / "config.json").write_text("{}")
    with pytest.raises(ResultsError, match="no whole round"):
        lottery_jax.load_results(tmp_path)


def test_a_batch_larger_than_the_training_split_is_refused(tmp_path):
    with pytest.raises(ConfigError, match="train.batch_size: 5000: the training split"):
        experiment.run(helpers.tiny_config(train__batch_size=5000), tmp_path / "run")
    assert not (tmp_path / "run").exists()


def test_tensorboard_has_every_lane_and_goes_on(tmp_path, monkeypatch):
    pytest.importorskip("tensorboardX", reason="the extra is not installed")
    config = helpers.tiny_config(algorithm__rounds=1, tensorboard=True)
    folder, commit = tmp_path / "tensorboard", run_directory.commit

    def stopped(workdir, info, *rest):
        if info.round == 1:
            raise KeyboardInterrupt
        return commit(workdir, info, *rest)

    with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
        patch.setattr(run_directory, "commit", stopped)
        experiment.run(config, tmp_path)
    half = events(folder / "ticket")
    found = experiment.run(config, tmp_path)
    assert {path.name for path in folder.iterdir()} == set(found.summary.lane)
    whole = events(folder / "ticket")
    assert half.items() < whole.items()
    own = found.summary[found.summary.lane == "ticket"].groupby("round")
    for number, mean in own.early_stop_test_accuracy.mean().items():
        assert whole["early_stop_test_accuracy", number] == pytest.approx(mean)
    assert ("curves_of_round_01/validation_loss", 30) in whole
    assert len(list((folder / "ticket").iterdir())) == 1


def test_tensorboard_that_is_not_installed_is_missed_at_once(tmp_path, monkeypatch):
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    with pytest.raises(ConfigError, match=r"tensorboard.*pip install"):
        experiment.run(helpers.tiny_config(tensorboard=True), tmp_path / "run")
    assert not (tmp_path / "run").exists()


def events(folder):
    """(tag, step) -> value, of the event files of a lane."""
    from tensorboardX.proto.event_pb2 import Event

    found = {}
    for path in folder.iterdir():
        data = path.read_bytes()
        while data:  # a length, its checksum, the record, its checksum
            size = int.from_bytes(data[:8], "little")
            event = Event.FromString(data[12 : 12 + size])
            data = data[16 + size :]
            for value in event.summary.value:
                found[value.tag, event.step] = value.simple_value
    return found


@pytest.mark.parametrize(
    ("num_lanes", "num_rounds", "num_lines", "head", "cell"),
    [
        (2, 9, 9, ["round", "density %", "method_0", "method_1"], "50.00 +- 10.00"),
        (4, 3, 4, ["lane", "100 %", "50 %", "25 %"], "50.00 +- 10.00"),
        (9, 5, 9, ["lane", "100 %", "50 %", "25 %", "12.5 %", "6.25 %"], " 50.00 "),
        (9, 9, 81, ["round", "density %", "lane", "mean"], "50.00 +- 10.00"),
    ],
)
def test_the_last_table_breaks_no_word(
    monkeypatch, capsys, num_lanes, num_rounds, num_lines, head, cell
):
    """In 80 columns: as rounds, as lanes, without deviations, or line by line."""
    rows = [
        (i, f"method_{lane}", 0, replicate, 0.5**i, value)
        for i in range(num_rounds)
        for lane in range(num_lanes)
        for replicate, value in enumerate((0.4, 0.5, 0.6))
    ]
    names = ["round", "lane", "sample", "replicate", "density"]
    summary = pd.DataFrame(rows, columns=[*names, "early_stop_test_accuracy"])
    monkeypatch.setattr(progress.console, "_width", 80)
    progress.show_end(summary, [], Path("run"))
    title, _, heads, *lines = capsys.readouterr().out.splitlines()
    assert [word.strip() for word in heads.split("┃")[1:-1]] == head
    assert ("+- standard" in title) == ("+-" in cell)
    assert ("do not fit 80" in title) == ("+-" not in cell)
    assert sum(cell in line for line in lines) == num_lines
    assert {name for line in (heads, *lines) for name in line.split()} >= {
        f"method_{lane}" for lane in range(num_lanes)
    }
