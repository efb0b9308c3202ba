"""Many devices, many processes: the same numbers, one directory, a clear end."""

import contextlib
import os
import random
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
    "--config.replicates=3",  # six lanes: four devices do not share them evenly
    "--config.controls.random=0",  # the slowest to compile
]
PORTS = range(61440, 65536)


def environment(devices):
    return {**os.environ, "JAX_NUM_CPU_DEVICES": str(devices)}


@pytest.fixture
def start_two():
    """`_start_two`; what still runs when the test ends is killed."""
    started = []

    def start(*arguments, **options):
        started.extend(_start_two(*arguments, **options))
        return started[-2:]

    yield start
    for process in started:
        process.kill()
        process.communicate()


def _start_two(workdir, arguments=(), second=(), data=None, slurm=False):
    """Two processes of two devices each; the second has no directory to write to.

    Args:
      workdir: of the first.
      arguments: of both.
      second: arguments of the second alone.
      data: LOTTERY_DATA_DIR of the second, or None.
      slurm: let jax find out by itself, from the variables that Slurm sets.
    """
    port = free_port()
    processes = []
    for process, place in enumerate([workdir, "/dev/null/elsewhere"]):
        command = [sys.executable, "-u", "-m", "lottery_jax.main", *COMMON]
        command += [f"--workdir={place}", *arguments, *(second if process else [])]
        variables = environment(devices=2)
        if process and data:
            variables["LOTTERY_DATA_DIR"] = data
        if slurm:
            command += ["--distributed"]
            variables |= {
                "SLURM_JOB_ID": str(port - PORTS.start),
                "SLURM_STEP_NODELIST": "localhost",
                "SLURM_NTASKS": "2",
                "SLURM_PROCID": str(process),
                "SLURM_LOCALID": str(process),
            }
        else:
            command += [f"--coordinator=127.0.0.1:{port}", "--num_processes=2"]
            command += [f"--process_id={process}"]
        processes.append(
            subprocess.Popen(
                command,
                cwd=helpers.REPOSITORY,
                env=variables,
                stdout=subprocess.PIPE,
                stderr=subprocess.PIPE,
                text=True,
            )
        )
    return processes


def free_port():
    """A free port of those that jax makes of Slurm's job numbers."""
    for port in random.sample(PORTS, 100):
        with socket.socket() as trial, contextlib.suppress(OSError):
            trial.bind(("", port))
            return port
    raise OSError(f"no free port in {PORTS}")


def end(processes):
    """[(exit status, standard output, standard error)] of processes that end soon."""
    found = [process.communicate(timeout=120) for process in processes]
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


def test_two_processes_give_the_same_numbers_in_one_directory(
    tmp_path, alone, start_two
):
    first, second = end(start_two(tmp_path))
    assert first[0] == second[0] == 0, first[2] + second[2]
    assert "round  8/8" in first[1] and "tables: " in first[1]
    assert "round" not in second[1] and "tables" not in second[1]
    assert len(lottery_jax.load_results(tmp_path).environment["devices"]) == 4
    assert_same_run(tmp_path, alone)
    again, other = end(start_two(tmp_path, slurm=True))
    assert again[0] == other[0] == 0 and "is finished" in again[1], again


def test_a_killed_process_ends_the_other_and_a_new_start_goes_on(
    tmp_path, alone, start_two
):
    victim, number = 0, signal.SIGKILL  # process 0 is the one that others ask
    processes = start_two(tmp_path)
    while not (tmp_path / "rounds" / "0001").is_dir():
        assert all(process.poll() is None for process in processes)
        time.sleep(0.01)
    processes[victim].send_signal(number)
    started = time.monotonic()
    ended = end(processes)
    assert time.monotonic() - started < 60
    assert ended[victim][0] == -number
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


# What goes wrong, on which process, and what both must say of it.
FAULTS = {
    "directory": (
        0, {"arguments": ["--config.train.learning_rate=0.5"]},
        "train.learning_rate: 0.0012 here, 0.5 now",
    ),
    "config": (
        1, {"second": ["--config.train.learning_rate=0.5"]},
        "it has other fields in its config than process 0",
    ),
    "data": (1, {"data": "/dev/null/x"}, "data directory /dev/null/x does not exist"),
}  # fmt: skip


@pytest.mark.parametrize("fault", FAULTS)
def test_an_error_of_one_ends_all(fault, tmp_path, alone, start_two):
    process, changes, message = FAULTS[fault]
    workdir = tmp_path / "run"
    if fault == "directory":
        shutil.copytree(alone, workdir)
    before = sorted(tmp_path.rglob("*"))
    found = end(start_two(workdir, **changes))
    for status, _, text in found:
        assert status == 2 and message in text, text
    assert f"error: process {process}: " in found[1 - process][2]
    assert sorted(tmp_path.rglob("*")) == before
