"""Every notebook runs, in a form that takes seconds, and is stored without outputs."""

import ast
import json

import pytest

from tests import helpers

nbclient = pytest.importorskip("nbclient", reason="nbclient is not installed")
nbformat = pytest.importorskip("nbformat")


NOTEBOOKS = sorted((helpers.REPOSITORY / "colab").glob("*.ipynb"))

SMALL = {
    "00_quickstart.ipynb": {"steps": 48, "rounds": 2, "replicates": 2},
    "01_imp_and_rewinding.ipynb": {
        "steps": 40, "rewind_step": 4, "rounds": 2, "replicates": 2,
    },
    "02_criteria_and_supermasks.ipynb": {
        "steps": 40, "rounds": 2, "replicates": 2, "scores": ("movement", "random"),
    },
    "03_pruning_at_init_and_planted_tickets.ipynb": {
        "steps": 40, "samples": 200, "replicates": 2, "methods": ("random", "synflow"),
    },
    "04_evolution_and_strong_tickets.ipynb": {
        "population": 10, "generations": 20, "candidates": 20, "searched": 2,
        "replicates": 2,
    },
    "05_your_own_network.ipynb": {"steps": 20, "rounds": 2, "replicates": 2},
    "lth_api.ipynb": {"steps": 60, "eval_every": 30, "replicates": 3},
}  # fmt: skip
"""In place of what the cell tagged `parameters` says."""

FIGURES = dict(zip(SMALL, (1, 1, 2, 2, 3, 1, 6), strict=True))
"""How many a notebook shows."""


def cells_of(path, kind="code"):
    """(tags, source) of the cells of a kind."""
    cells = json.loads(path.read_text())["cells"]
    return [
        (cell["metadata"].get("tags", []), "".join(cell["source"]))
        for cell in cells
        if cell["cell_type"] == kind
    ]


WATCH = """
from matplotlib.figure import Figure

from lottery_jax.reporting import figures

figures.draw = lambda results: []
SHOWN = []


def _note(cell):
    if isinstance(cell.result, Figure):
        SHOWN.append(cell.result)


get_ipython().events.register("post_run_cell", _note)
"""
"""The first cell: runs draw nothing, and what cells show is remembered."""

CHECK = """
import lottery_jax

for figure in SHOWN:
    axes = figure.axes[0]
    assert axes.has_data()
    if {with_legend}:
        assert axes.get_xlabel() and axes.get_legend()
RUNS = [value for value in list(globals().values()) if hasattr(value, "curves")]
for run in RUNS:
    assert run.summary.replicate.nunique() in (1, {small}["replicates"])
    assert run.curves.step.max() in {steps}
    assert len(lottery_jax.load_results(run.workdir).curves) == len(run.curves)
print(len(SHOWN), len(RUNS))
"""
"""The last cell."""


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.name)
def test_a_notebook_runs_from_top_to_bottom(path, tmp_path):
    """In a kernel of its own, as people run it."""
    small, name = SMALL[path.name], path.name
    notebook = nbformat.read(path, as_version=4)
    for cell in notebook.cells:
        if cell.source.startswith("%pip"):
            cell.source = ""
        if "parameters" in cell.metadata.get("tags", []):
            there = {node.id for node in ast.walk(ast.parse(cell.source))
                     if isinstance(node, ast.Name)}  # fmt: skip
            assert {*small} <= there
            changes = (f"{field} = {value!r}" for field, value in small.items())
            cell.source = "\n".join((cell.source, *changes))
    # Those of 03 and 04 have no legend, or another.
    check = CHECK.format(
        small=small,
        steps=[small["steps"]] if "steps" in small else range(1, 10**6),
        with_legend=name[:2] not in ("03", "04"),
    )
    notebook.cells.insert(0, nbformat.v4.new_code_cell(WATCH))
    notebook.cells.append(nbformat.v4.new_code_cell(check))
    resources = {"metadata": {"path": str(tmp_path)}}
    nbclient.NotebookClient(notebook, timeout=300, resources=resources).execute()
    shown, runs = map(int, notebook.cells[-1].outputs[0].text.split())
    outputs = [out for cell in notebook.cells for out in cell.get("outputs", [])]
    pictures = [out for out in outputs if "image/png" in out.get("data", {})]
    assert shown == FIGURES[name] <= len(pictures)
    assert runs or name == "05_your_own_network.ipynb"
    assert (tmp_path / "report.html").is_file() == (name == "00_quickstart.ipynb")


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
    assert {path.name for path in NOTEBOOKS} == set(SMALL)
