"""Every notebook runs, in a form that takes seconds, and is stored without outputs."""

import ast
import json

import pytest
from matplotlib.figure import Figure

import lottery_jax
from tests import helpers

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

FIGURES = dict(zip(SMALL, (1, 1, 1, 2, 3, 1, 6), strict=True))
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
def test_a_notebook_runs_from_top_to_bottom(path, tmp_path, monkeypatch, request):
    monkeypatch.chdir(tmp_path)
    small, draws = SMALL[path.name], path.name == "lth_api.ipynb"
    if draws:
        request.getfixturevalue("drawn")
    namespace, shown = {"__name__": "__main__"}, []
    for tags, source in cells_of(path):
        if source.startswith("%"):
            continue
        value = execute(source, namespace)
        if "parameters" in tags:
            assert {*small} <= {*namespace}
            namespace |= small
        shown += [value] if isinstance(value, Figure) else []
    assert len(shown) == FIGURES[path.name]
    for figure in shown:
        axes = figure.axes[0]
        assert axes.has_data()
        if path.name[:2] not in ("03", "04"):  # these have no or another legend
            assert axes.get_xlabel() and axes.get_legend()
    runs = [value for value in namespace.values() if hasattr(value, "curves")]
    assert runs or path.name == "05_your_own_network.ipynb"
    for run in runs:
        assert run.summary.replicate.nunique() <= small["replicates"]
        assert run.curves.step.max() == small.get("steps", run.curves.step.max())
        assert len(lottery_jax.load_results(run.workdir).curves) == len(run.curves)
        if draws:
            assert len(list((run.workdir / "figures").glob("*.png"))) >= 5


def test_a_notebook_runs_in_a_kernel(tmp_path):
    nbclient = pytest.importorskip("nbclient", reason="nbclient is not installed")
    nbformat = pytest.importorskip("nbformat")
    notebook = nbformat.read(NOTEBOOKS[0], as_version=4)
    for cell in notebook.cells:
        if cell.source.startswith("%pip"):
            cell.source = ""
        if "parameters" in cell.metadata.get("tags", []):
            small = SMALL[NOTEBOOKS[0].name]
            cell.source = "\n".join(
                f"{name} = {value}" for name, value in small.items()
            )
    resources = {"metadata": {"path": str(tmp_path)}}
    nbclient.NotebookClient(notebook, timeout=300, resources=resources).execute()
    outputs = [out for cell in notebook.cells for out in cell.get("outputs", [])]
    assert any("image/png" in out.get("data", {}) for out in outputs)
    assert (tmp_path / "report.html").is_file()


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
