"""The documentation: it builds, names what there is, and its programs run."""

import re
import runpy
import subprocess
import sys

import pytest

import lottery_jax
from lottery_jax import experiment
from lottery_jax.algorithms import ALGORITHMS
from lottery_jax.fields import FIELDS
from tests import helpers

DOCS = helpers.REPOSITORY / "docs"


def test_it_builds_without_a_warning(tmp_path):
    pytest.importorskip("mkdocs", reason="the extra `docs` is not installed")
    done = subprocess.run(
        [sys.executable, "-m", "mkdocs", "build", "--strict", "-q", "-d", tmp_path],
        cwd=helpers.REPOSITORY, capture_output=True, text=True, timeout=300,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    page = (tmp_path / "api" / "index.html").read_text()
    assert "find_ticket" in page and "prune_fraction" in page


def test_all_names_are_listed():
    listed = re.findall(r"^::: (\S+)$", (DOCS / "api.md").read_text(), re.MULTILINE)
    for name in lottery_jax.__all__:
        home = getattr(lottery_jax, name).__module__
        assert f"{home}.{name}" in listed, name


def test_every_method_has_a_page_with_a_config():
    pages = {path.stem: path.read_text() for path in (DOCS / "methods").glob("*.md")}
    together = "\n".join(pages.values())
    for path in (helpers.REPOSITORY / "configs").glob("*.py"):
        if path.stem not in ("quickstart", "xor", "conv_cifar10"):
            assert f"configs/{path.name}" in together, path.name
    menu = (helpers.REPOSITORY / "mkdocs.yml").read_text()
    assert set(re.findall(r"methods/(\w+)\.md", menu)) == set(pages)


def test_extensions_run(tmp_path, monkeypatch):
    mine, algorithm = helpers.code_of("extending.md")
    (tmp_path / "mine.py").write_text(mine)
    sizes = ["--config.train.steps=60", "--config.replicates=2",
             "--config.algorithm.rounds=2"]  # fmt: skip
    done = helpers.lottery("--config=mine.py", "--workdir=run", *sizes, cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    summary = lottery_jax.load_results(tmp_path / "run").summary
    assert summary["round"].max() == 2 and summary.train_accuracy.max() > 0.8
    assert "negated" in set(summary.lane)
    assert (tmp_path / "run" / "report.html").stat().st_size < 8e6
    (tmp_path / "my_algorithm.py").write_text(algorithm)
    for table in (ALGORITHMS, FIELDS):  # as they were, in the end
        monkeypatch.setitem(table, "random_tickets", None)
    config = lottery_jax.load_config(tmp_path / "my_algorithm.py")
    tiny = helpers.tiny_config()
    config.model, config.train, config.lanes = tiny.model, tiny.train, tiny.lanes
    config.replicates, config.algorithm.rounds = 2, 2
    found = experiment.run(config, tmp_path / "own").summary
    assert found["round"].max() == 2
    assert found.density.round(2).unique().tolist() == [1, 0.5, 0.25]


def test_the_sweep_that_is_shown_is_there():
    shown = {}
    exec(helpers.code_of("sweeps.md")[0], shown)
    path = helpers.REPOSITORY / "configs" / "sweeps" / "learning_rates.py"
    assert runpy.run_path(str(path))["get_sweep"]() == shown["get_sweep"]()
