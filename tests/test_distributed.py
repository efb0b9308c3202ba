"""Many devices, many processes: the same numbers, one directory, a clear end."""

import os
import shutil
import signal
import socket
import subprocess
import sys
import time

import pytest

import lottery_jax
from tests import helpers
from tests.test_results import assert_same_run

COMMON = [
    "--config=configs/quickstart.py:smoke",
    "--config.model.hidden=(16,)",
    "--config.algorithm.rounds=8",
]


def environment(devices):
    return {**os.environ, "JAX_NUM_CPU_DEVICES": str(devices)}


def start_two(workdir, *arguments):
    """Two processes of two devices each; the second has no directory to write to."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    together = [f"--coordinator=127.0.0.1:{port}", "--num_processes=2"]
    return [
        subprocess.Popen(
            [
                *(sys.executable, "-u", "-m", "lottery_jax.main", *COMMON, *together),
                f"--process_id={process}",
                f"--workdir={place}",
                *arguments,
            ],
            cwd=helpers.REPOSITORY,
            env=environment(devices=2),
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        for process, place in enumerate([workdir, "/dev/null/elsewhere"])
    ]


def end(processes):
    """[(exit status, standard output, standard error)] of processes that end soon."""
    try:
        found = [process.communicate(timeout=120) for process in processes]
    finally:
        for process in processes:
            process.kill()
    return [(p.returncode, *texts) for p, texts in zip(processes, found, strict=True)]


@pytest.fixture(scope="module")
def alone(tmp_path_factory):
    """A run of one process with four devices."""
    workdir = tmp_path_factory.mktemp("alone") / "run"
    done = helpers.lottery(*COMMON, f"--workdir={workdir}", env=environment(4))
    assert done.returncode == 0, done.stderr
    devices = lottery_jax.load_results(workdir).environment["devices"]
    assert len(devices) == 4
    return workdir


@pytest.mark.parametrize("devices", [1, 2])
def test_fewer_devices_give_the_same_numbers(devices, tmp_path, alone):
    done = helpers.lottery(*COMMON, f"--workdir={tmp_path}", env=environment(devices))
    assert done.returncode == 0, done.stderr
    found = lottery_jax.load_results(tmp_path)
    assert len(found.environment["devices"]) == devices
    assert_same_run(tmp_path, alone)


def test_two_processes_give_the_same_numbers_in_one_directory(tmp_path, alone):
    first, second = end(start_two(tmp_path))
    assert first[0] == second[0] == 0, first[2] + second[2]
    assert "round  8/8" in first[1] and "tables: " in first[1]
    assert "round" not in second[1] and "tables" not in second[1]
    assert len(lottery_jax.load_results(tmp_path).environment["devices"]) == 4
    assert_same_run(tmp_path, alone)
    again, other = end(start_two(tmp_path))
    assert again[0] == other[0] == 0 and "is finished" in again[1], again


@pytest.mark.parametrize("victim", [0, 1])
def test_a_killed_process_ends_the_other_and_a_new_start_goes_on(
    victim, tmp_path, alone
):
    processes = start_two(tmp_path)
    while not (tmp_path / "rounds" / "0001").is_dir():
        assert all(process.poll() is None for process in processes)
        time.sleep(0.01)
    processes[victim].send_signal(signal.SIGKILL)
    started = time.monotonic()
    ended = end(processes)
    assert time.monotonic() - started < 60
    assert ended[victim][0] == -signal.SIGKILL
    status, _, message = ended[1 - victim]
    # Ours, or jax's own where it is the first to notice.
    assert status != 0, message
    assert "start all processes again to go on" in message or "task died" in message
    whole = len(list((tmp_path / "rounds").glob("[0-9]*")))
    assert 2 <= whole < 9
    first, second = end(start_two(tmp_path))
    assert first[0] == second[0] == 0, first[2] + second[2]
    assert f"going on with round {whole}" in first[1]
    assert_same_run(tmp_path, alone)


def test_an_error_of_one_ends_all(tmp_path, alone):
    """A directory of another config, which only the first process can see."""
    workdir = shutil.copytree(alone, tmp_path / "run")
    first, second = end(start_two(workdir, "--config.train.learning_rate=0.5"))
    for status, _, message in (first, second):
        assert status == 2, message
        assert "train.learning_rate: 0.0012 here, 0.5 now" in message
    assert "error: process 0: " in second[2]
