"""One page that shows a run, or several, without a network: figures, verdicts, tables.

plotly.js stands in the page once, figures beside it as data, tables compressed for
download. The page is `assets/report.html` with its places filled in.
"""

import base64
import gzip
import html
import io
import json
import os
import re
from collections.abc import Iterable
from pathlib import Path

import pandas as pd

from lottery_jax.analysis import claims
from lottery_jax.errors import ConfigError, ResultsError
from lottery_jax.reporting import figures, files, interactive, plotting
from lottery_jax.reporting.results import Results, load_results, varied_fields
from lottery_jax.reporting.run_directory import round_folders

ASSETS = Path(__file__).parent / "assets"
CAPTIONS = {
    "search": "The course of the search: its best and its mean, or accuracies by step.",
    "recovery": "How much of what is planted the masks have; their worth untrained.",
    "checks": "What tickets lose by every check; bars are 95 % intervals.",
    "untrained": "What masks are worth on the weights that were never trained.",
    "topologies": "By weights of a node, from weights drawn for the mask and others.",
    "comparison": "The ticket beside others of as many weights; a line per replicate.",
    "density": "Iterative pruning on its way to the ticket's density, and the others.",
    "training": "Validation during training, of the last round and the dense network.",
    "front": "The most accurate candidate of every size, and the tickets.",
    "decisions": "What the tickets decide, in the plane of the inputs.",
    "networks": "The kept weights of the tickets.",
    "phase_diagram": "Which samples and kept weights lead to success.",
    "least_eigenvalue": "How curved the loss is at the teacher, by kept weights.",
    "steps_to_success": "With the most samples; lower is faster.",
}
"""Of pictures, by their names."""

INTERACTIVE = (
    *("test_accuracy", "test_loss", "test_accuracy_at_end", "test_loss_at_end"),
    *("early_stop_step", "validation_loss", "weights"),
)
"""Pictures of which the page has interactive figures."""

MOST_ROWS = 5000
"""Of a table in the page; the download has all."""


def write_report(
    workdirs: Iterable[str | os.PathLike], output: str | os.PathLike
) -> Path:
    """Writes the page; returns its path.

    Args:
      workdirs: run directories; what is there up to the last whole round is shown, and
        of several those that have none are passed over. Runs of one task stand
        together, compared in figures of their own.
      output: the file.

    Raises:
      LotteryError: a directory that is no run, or has no whole round; no directory.
    """
    paths = [Path(path) for path in workdirs]
    if not paths:
        raise ResultsError("no run directory")
    begun = [
        path for path in paths
        if (path / "config.json").is_file() and not round_folders(path)
    ]  # fmt: skip
    if len(begun) < len(paths):  # else it is an error
        paths = [path for path in paths if path not in begun]
    runs = {_name(path, paths): load_results(path) for path in paths}
    page = to_html(runs)
    output = Path(output)
    output.parent.mkdir(parents=True, exist_ok=True)
    files.write(output, page.encode())
    return output


def to_html(runs: dict[str, Results]) -> str:
    """The page of runs by name."""
    from plotly.offline import get_plotlyjs  # a moment to import

    tasks = {}
    for name, results in runs.items():
        task = {key: results.config["data"][key] for key in results.config["data"]}
        model = results.config["model"]
        task |= {"model": model["name"], "hidden": model["hidden"]}
        tasks.setdefault(json.dumps(task, sort_keys=True), {})[name] = results
    shown, sections = [], []
    for number, own in enumerate(tasks.values()):
        parts = []
        if len(own) > 1:
            parts.append(f"<h3>{len(own)} runs side by side</h3>")
            parts.append(_differences(own))
            parts.append(_grid(interactive.of_runs(own), f"t{number}", shown))
        for place, (name, results) in enumerate(own.items()):
            parts.append(_section(name, results, f"r{number}_{place}", shown))
        title = html.escape(_title(next(iter(own.values()))))
        sections.append(
            f'<section class="task"><h2>{title}</h2>{"".join(parts)}</section>'
        )
    places = {
        "title": html.escape(", ".join(runs)),
        "style": (ASSETS / "report.css").read_text(),
        "plotly": get_plotlyjs(),
        "figures": _data(shown),
        "script": (ASSETS / "report.js").read_text(),
        "body": "".join(sections),
    }
    page = (ASSETS / "report.html").read_text()
    return re.sub(r"<!--(\w+)-->", lambda place: places[place[1]], page)


def _title(results: Results) -> str:
    config = results.config
    hidden = config["model"]["hidden"]
    widths = f" {'-'.join(map(str, hidden))}" if hidden else ""
    return f"{config['model']['name']}{widths} on {config['data']['name']}"


def _name(path: Path, paths: list[Path]) -> str:
    """The directory's, with what is above it where two are called alike."""
    same = [other for other in paths if other.name == path.name]
    return path.name if len(same) < 2 else str(path)


def _differences(runs: dict[str, Results]) -> str:
    """A row for every field in which the configs of runs differ, but for claims."""
    configs = {name: {**run.config, "claims": ()} for name, run in runs.items()}
    varied = varied_fields(configs)
    fields = [*next(iter(varied.values()))]
    head = "".join(f"<th>{html.escape(name)}</th>" for name in ("field", *runs))
    rows = "".join(
        f"<tr><td>{html.escape(field)}</td>"
        + "".join(f"<td>{_cell(own[field])}</td>" for own in varied.values())
        + "</tr>"
        for field in fields
    )
    return (
        f"<details{' open' * (len(fields) < 9)}>"
        f"<summary>fields that differ: {len(fields)}</summary>"
        f'<div class="wide"><table><tr>{head}</tr>{rows}</table></div></details>'
    )


def _section(name: str, results: Results, prefix: str, shown: list) -> str:
    own_figures = results.config["algorithm"]["name"] in figures.OWN
    parts = [
        f'<details class="run" open><summary>{html.escape(name)}</summary>',
        _what_ran(results),
        _verdicts(results),
        _grid([] if own_figures else interactive.of_run(results), prefix, shown),
        _images(results),
        _certificates(results),
        _table(results, prefix),
        "</details>",
    ]
    return "".join(parts)


def _what_ran(results: Results) -> str:
    environment, done = results.environment, len(results.certificates)
    rounds = f"{done} of {len(results.ladder)}"
    if done < len(results.ladder):
        rounds += " (the run is not finished)"
    seconds = results.summary.groupby("round").seconds.first().sum()
    versions = environment["versions"]
    facts = {
        "algorithm": results.config["algorithm"]["name"],
        "replicates": results.config["replicates"],
        "rounds": rounds,
        "duration": f"{seconds:,.0f} s",
        "started": environment.get("started"),
        "command": " ".join(environment.get("command", [])),
        "devices": ", ".join(environment["devices"]),
        "platform": environment["platform"],
        "versions": ", ".join(f"{k} {v}" for k, v in versions.items()),
        "commit": environment["commit"] or "installed package",
        "diverged lanes": int(results.summary.diverged.sum()),
    }
    rows = "".join(
        f"<dt>{key}</dt><dd>{html.escape(str(value))}</dd>"
        for key, value in facts.items()
    )
    config = html.escape(json.dumps(results.config, indent=1))
    return (
        f'<dl class="facts">{rows}</dl>'
        f"<details><summary>config</summary><pre>{config}</pre></details>"
    )


def _verdicts(results: Results) -> str:
    stated = results.config.get("claims")
    if not stated:
        return ""
    if len(results.certificates) < len(results.ladder):
        return "<p>Claims are judged when all rounds are there.</p>"
    try:
        found = claims.judge(results.summary, stated, int(results.curves.step.max()))
    except ConfigError as error:
        return f"<p>Claims are not judged: {html.escape(str(error))}</p>"
    rows = "".join(
        f"<tr><td>{html.escape(row.statement)}</td><td>{html.escape(row.expected)}</td>"
        f"<td>{row.estimate:.3g} [{row.low:.3g}, {row.high:.3g}]</td>"
        f"<td>{row.detectable:.2g}</td>"
        f'<td class="{row.verdict.replace(" ", "_")}">{row.verdict}</td></tr>'
        for row in found.itertuples()
    )
    names = ("statement", "expected", "found", "detectable effect", "verdict")
    head = f"<tr>{''.join(f'<th>{name}</th>' for name in names)}</tr>"
    return f"<h3>Claims</h3><div class=wide><table>{head}{rows}</table></div>"


def _grid(found: list[dict], prefix: str, shown: list) -> str:
    """Places for figures, which are added to what is shown."""
    cells = []
    for figure in found:
        id = f"{prefix}_{figure['id']}"
        shown.append({**figure, "id": id})
        slider = ""
        if last := len(figure["frames"]) - 1:
            slider = (
                f'<label class="slider"><input type="range" min="0" max="{last}" '
                f'value="{last}" data-figure="{id}" '
                f'aria-label="{html.escape(figure["title"])}: round">'
                f'<output id="{id}_label"></output></label>'
            )
        cells.append(
            f"<figure><figcaption><b>{html.escape(figure['title'])}.</b> "
            f"{html.escape(figure['caption'])}</figcaption>{slider}"
            f'<div class="plot" id="{id}"></div></figure>'
        )
    return f'<div class="grid">{"".join(cells)}</div>'


def _images(results: Results) -> str:
    """What a method has beside the figures of all, as pictures from the run."""
    cells = []
    pictures = sorted((results.workdir / "figures").glob("*.png"))
    for path in (path for path in pictures if path.stem not in INTERACTIVE):
        data = base64.b64encode(path.read_bytes()).decode()
        name = html.escape(path.stem.replace("_", " "))
        cells.append(
            f"<figure><figcaption><b>{name}.</b> {CAPTIONS.get(path.stem, '')}"
            "</figcaption>"
            f'<img alt="{name}" src="data:image/png;base64,{data}"></figure>'
        )
    return f'<div class="grid images">{"".join(cells)}</div>'


def _certificates(results: Results) -> str:
    rows = []
    for certificate in results.certificates:
        notes = [f"{len(certificate['holds'])} properties hold"]
        if certificate["diverged"]:
            notes.append(f"diverged: {certificate['diverged']}")
        if certificate["empty_layers"]:
            notes.append(f"empty: {', '.join(certificate['empty_layers'])}")
        if idle := certificate.get("idle_controls"):  # older runs have none
            notes.append(f"controls that came out as their ticket: {', '.join(idle)}")
        rows.append(
            f"<tr><td>{certificate['round']}</td>"
            f"<td>{html.escape('; '.join(notes))}</td></tr>"
        )
    holds = "".join(
        f"<li>{html.escape(text)}</li>" for text in results.certificates[-1]["holds"]
    )
    return (
        "<details><summary>certificates: what was checked after every round</summary>"
        f"<ul>{holds}</ul><table><tr><th>round</th><th>found</th></tr>"
        f"{''.join(rows)}</table></details>"
    )


def _table(results: Results, prefix: str) -> str:
    """The summary, to sort and to filter; all tables, to download."""
    table = plotting.with_percent(results.summary).drop(columns="percent")
    tables = {"summary": results.summary, "curves": results.curves}
    if len(results.search):
        tables["search"] = results.search
    links = " ".join(
        f'<a download="{html.escape(results.workdir.name)}_{name}.csv.gz" '
        f'href="data:application/gzip;base64,{_compressed(rows)}">{name}.csv.gz</a>'
        for name, rows in tables.items()
    )
    head = "".join(f"<th>{html.escape(name)}</th>" for name in table)
    rows = "".join(
        f"<tr>{''.join(f'<td>{_cell(value)}</td>' for value in row)}</tr>"
        for row in table.head(MOST_ROWS).itertuples(index=False)
    )
    return (
        f"<details><summary>table: {len(table)} rows</summary><p>{links}</p>"
        f'<label>filter <input type="search" data-table="{prefix}_table" '
        'placeholder="ticket"></label>'
        f'<div class="wide"><table class="sortable" id="{prefix}_table">'
        f"<thead><tr>{head}</tr></thead><tbody>{rows}</tbody></table></div></details>"
    )


def _cell(value) -> str:
    if isinstance(value, float):
        return "" if pd.isna(value) else f"{value:.5g}"
    return html.escape(str(value))


def _compressed(table: pd.DataFrame) -> str:
    with io.BytesIO() as file:
        text = table.to_csv(index=False, float_format="%.6g")
        with gzip.GzipFile(fileobj=file, mode="wb", mtime=0) as packed:
            packed.write(text.encode())
        return base64.b64encode(file.getvalue()).decode()


def _data(value) -> str:
    """JSON that may stand in a script."""
    text = json.dumps(value, separators=(",", ":"), allow_nan=False)
    return text.replace("<", "\\u003c")
