"""Every notebook runs, in a form that takes seconds, and is stored without outputs."""

import ast
import json

import pytest
from matplotlib.figure import Figure

import lottery_jax
from tests import helpers

NOTEBOOKS = sorted((helpers.REPOSITORY / "colab").glob("*.ipynb"))

SMALL = {"steps": 60, "eval_every": 30, "replicates": 3}
"""In place of what the cell tagged `parameters` says."""

FIGURES = {"lth_api.ipynb": 6}
"""How many a notebook shows."""


def cells_of(path, kind="code"):
    """(tags, source) of the cells of a kind."""
    cells = json.loads(path.read_text())["cells"]
    return [
        (cell["metadata"].get("tags", []), "".join(cell["source"]))
        for cell in cells
        if cell["cell_type"] == kind
    ]


def execute(source, namespace):
    """Runs a cell; what stands in its last line is shown, so it is returned."""
    body = ast.parse(source).body
    last = body.pop() if isinstance(body[-1], ast.Expr) else None
    exec(compile(ast.Module(body, []), "cell", "exec"), namespace)
    if last is not None:
        return eval(compile(ast.Expression(last.value), "cell", "eval"), namespace)


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.name)
def test_a_notebook_runs_from_top_to_bottom(path, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    namespace, shown = {"__name__": "__main__"}, []
    for tags, source in cells_of(path):
        if source.startswith("%"):
            continue
        value = execute(source, namespace)
        if "parameters" in tags:
            assert namespace.keys() >= SMALL.keys()
            namespace |= SMALL
        shown += [value] if isinstance(value, Figure) else []
    assert len(shown) == FIGURES[path.name]
    for figure in shown:
        axes = figure.axes[0]
        assert axes.has_data() and axes.get_xlabel() and axes.get_legend()
    runs = [value for value in namespace.values() if hasattr(value, "curves")]
    assert runs
    for run in runs:
        assert run.curves.step.max() == SMALL["steps"]
        assert len(list((run.workdir / "figures").glob("*.png"))) >= 5
        assert len(lottery_jax.load_results(run.workdir).curves) == len(run.curves)


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.name)
def test_a_notebook_is_stored_clean(path):
    notebook = json.loads(path.read_text())
    assert notebook["nbformat"] == 4
    assert notebook["metadata"]["kernelspec"]["name"] == "python3"
    for cell in notebook["cells"]:
        if cell["cell_type"] == "code":
            assert cell["outputs"] == [] and cell["execution_count"] is None
    assert cells_of(path, "markdown")[0][1].startswith("# ")
    assert any(source.startswith("%pip install") for _, source in cells_of(path))


def test_there_are_notebooks():
    assert {path.name for path in NOTEBOOKS} == set(FIGURES)
