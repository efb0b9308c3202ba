"""Compiled programs are kept for the next start, and no run fails for want of them."""

import os
import subprocess
import sys

import jax
import pytest

from lottery_jax import cache, experiment
from tests import helpers

COMPILE = """
import jax
from lottery_jax import cache
print(cache.enable())
jax.jit(lambda x: x * x + 1)(2.0)
"""


def compile_in(**changes):
    """Standard output of a process whose user has set `changes` and nothing of JAX."""
    env = {name: x for name, x in os.environ.items() if not name.startswith("JAX_")}
    done = subprocess.run(
        [sys.executable, "-c", COMPILE],
        capture_output=True,
        text=True,
        env=env | changes,
        cwd=helpers.REPOSITORY,
    )
    assert done.returncode == 0 and done.stderr == "", done.stderr
    return done.stdout.strip()


@pytest.mark.parametrize("variable", ["XDG_CACHE_HOME", "HOME"])
def test_programs_are_kept_in_the_users_cache_directory(tmp_path, variable):
    home = {"XDG_CACHE_HOME": "", variable: str(tmp_path)}
    kept = []
    for _ in range(2):
        assert compile_in(**home) == "None"
        kept.append(sorted(path.name for path in tmp_path.rglob("*-cache")))
    assert kept[0] == kept[1] and any("lambda" in name for name in kept[0])
    folder = ".cache/lottery_jax" if variable == "HOME" else "lottery_jax"
    assert len(list((tmp_path / folder).iterdir())) == len(kept[0])


def test_a_folder_that_jax_was_given_stays(tmp_path):
    own = {"JAX_COMPILATION_CACHE_DIR": str(tmp_path / "own")}
    own["JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS"] = "0"
    compile_in(XDG_CACHE_HOME=str(tmp_path / "users"), **own)
    assert list((tmp_path / "own").iterdir()) and not (tmp_path / "users").exists()


def test_a_folder_that_cannot_be_made_is_no_failure(tmp_path):
    (tmp_path / "file").touch()
    said = compile_in(XDG_CACHE_HOME=str(tmp_path / "file"))
    assert "not kept" in said and str(tmp_path / "file") in said


def test_a_run_says_why_there_is_no_cache_and_goes_on(tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(cache, "enable", lambda: "no room for programs")
    config = helpers.tiny_config(algorithm__rounds=1)
    experiment.run(config, tmp_path / "run")
    assert "note: no room for programs" in capsys.readouterr().out


def test_the_switch_is_off(tmp_path, monkeypatch):
    monkeypatch.setattr(cache, "enable", None)
    config = helpers.tiny_config(algorithm__rounds=1, compilation_cache=False)
    experiment.run(config, tmp_path / "run")


def test_what_was_used_longest_ago_goes_first(tmp_path, monkeypatch):
    monkeypatch.setattr(cache, "MAX_BYTES", 250)
    for number, name in enumerate("abcd"):
        (tmp_path / name).write_bytes(bytes(100))
        os.utime(tmp_path / name, (1000 + number, 1000))
    os.utime(tmp_path / "a", (2000, 1000))  # written first, read last
    (tmp_path / "below").mkdir()  # XLA makes a folder of its own on a GPU
    os.utime(tmp_path / "below", (0, 0))
    cache._trim(tmp_path)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["a", "below", "d"]


def test_compile_seconds_count_compilations():
    before = cache.compile_seconds()
    program = jax.jit(lambda x: jax.numpy.sin(x) * 3)
    program(1.0)
    compiled = cache.compile_seconds()
    assert compiled > before
    program(2.0)
    assert cache.compile_seconds() == compiled
