"""The report: what it says, and that it works in a browser."""

import base64
import gzip
import html
import io
import json
import re
import shutil
import subprocess

import pandas as pd
import pytest

import lottery_jax
from lottery_jax import config as configs
from lottery_jax import experiment
from lottery_jax.errors import LotteryError
from lottery_jax.reporting import report
from tests import helpers
from tests.test_config import load

DRAWS = True

CHROMIUM = shutil.which("chromium") or shutil.which("google-chrome")


@pytest.fixture(scope="module")
def runs(tmp_path_factory):
    """Two runs of one task, one of another."""
    folder = tmp_path_factory.mktemp("runs")
    config = helpers.tiny_config(controls__reinit=1, algorithm__rounds=2)
    config.claims = (
        {
            "id": "sparser", "statement": "A <ticket> is as good.",
            "quantity": "early_stop_test_accuracy", "lane": "ticket", "round": 2,
            "versus_lane": "ticket", "versus_round": 0, "measure": "difference",
            "relation": "at_least", "expected": 0.0, "tolerance": 0.9,
        },
    )  # fmt: skip
    experiment.run(config, folder / "one")
    config.train.learning_rate = 0.01
    experiment.run(config, folder / "other")
    experiment.run(load("strong_tickets.py:smoke"), folder / "evolved")
    return folder


@pytest.fixture(scope="module")
def page(runs):
    names = ("one", "other", "evolved")
    path = lottery_jax.write_report([runs / name for name in names], runs / "all.html")
    return path.read_text()


def own_parts(page):
    """The page without plotly.js."""
    return re.sub(r"<script>/\*\*.*?</script>", "", page, count=1, flags=re.DOTALL)


def test_it_is_one_small_file_that_asks_nobody(page):
    assert len(page) < 8e6
    assert len(own_parts(page)) < 1e6
    assert not re.search(r"""(src|href)=["']?(http|//)""", own_parts(page))
    for place in ("title", "style", "plotly", "figures", "script", "body"):
        assert f"<!--{place}-->" not in page


def test_it_says_what_ran(page, runs):
    assert page.count("<h2>") == 2
    assert "mlp 16 on digits" in page and "mlp 20 on moons" in page
    assert "2 runs side by side" in page
    assert "fields that differ: 1<" in page
    assert "<td>train.learning_rate</td><td>0.0012</td><td>0.01</td>" in page
    assert page.count("3 of 3") == 3
    assert "A &lt;ticket&gt; is as good." in page
    verdict = re.search(r'<td class="(\w+)">', page)
    assert verdict[1] in ("reproduced", "underpowered", "not_reproduced")
    images = list((runs / "evolved" / "figures").glob("*.png"))
    assert own_parts(page).count("data:image/png;base64,") == len(images) > 0


def figures_of(page):
    text = re.search(r'id="figures">(.*?)</script>', page, re.DOTALL)[1]
    return {figure["id"]: figure for figure in json.loads(text)}


def test_claims_are_no_field_in_which_runs_differ(runs):
    found = {name: lottery_jax.load_results(runs / name) for name in ("one", "other")}
    other = found["other"]
    found["other"] = other._replace(config={**other.config, "claims": ()})
    assert "fields that differ: 1<" in report._differences(found)


def test_figures_are_those_of_the_tables(page, runs):
    figures = figures_of(page)
    found = lottery_jax.load_results(runs / "one")
    assert {"t0_early_stop_test_accuracy", "r0_0_curves", "r0_1_curves"} <= set(figures)
    traces = figures["r0_0_early_stop_test_accuracy"]["frames"][0]
    line = next(one for one in traces if one.get("name") == "reinit")
    own = found.summary[found.summary.lane == "reinit"]
    means = 100 * own.groupby("density").early_stop_test_accuracy.mean()
    assert line["y"] == pytest.approx(means.tolist(), rel=1e-4)
    assert line["x"] == pytest.approx((100 * means.index).tolist(), rel=1e-4)
    assert len(figures["r0_0_curves"]["frames"]) == 3
    kept = lottery_jax.load_masks(runs / "one", 2)["dense_0/kernel"]
    heat = figures["r0_0_pixels"]["frames"][2][0]["z"]
    assert sum(map(sum, heat)) == pytest.approx(kept.sum() / len(kept), rel=1e-3)
    shared = figures["r0_0_overlaps"]["frames"][0][0]["z"]
    assert shared[0][0] is None and 0 < shared[0][1] == shared[1][0] < 1


def test_tables_come_along(page, runs):
    data = re.search(r'download="one_summary.csv.gz" href="data:[^,]*,([^"]*)"', page)
    table = pd.read_csv(io.BytesIO(gzip.decompress(base64.b64decode(data[1]))))
    found = lottery_jax.load_results(runs / "one").summary
    pd.testing.assert_frame_equal(
        table[["lane", "kept"]], found[["lane", "kept"]], check_dtype=False
    )


def test_names_cannot_break_out_of_their_place(runs, tmp_path):
    folder = tmp_path / 'a"b<!--script--><script>'
    shutil.copytree(runs / "one", folder)
    path = lottery_jax.write_report([folder], tmp_path / "r.html")
    page = path.read_text()
    assert page.count("<script>") == 2 and page.count("</script>") >= 3
    assert 'a"b<' not in page and "a&quot;b&lt;" in page


def test_a_run_that_is_not_finished_is_shown_as_far_as_it_is(runs, tmp_path):
    shutil.copytree(runs / "one", tmp_path / "half")
    shutil.rmtree(tmp_path / "half" / "rounds" / "0002")
    path = lottery_jax.write_report([tmp_path / "half"], tmp_path / "new" / "r.html")
    page = path.read_text()
    assert "2 of 3 (the run is not finished)" in page
    assert "judged when all rounds are there" in page
    shutil.rmtree(tmp_path / "half" / "rounds")
    with pytest.raises(LotteryError, match="has no whole round yet"):
        lottery_jax.write_report([tmp_path / "half"], tmp_path / "r.html")
    both = [runs / "one", tmp_path / "half"]  # it has only just begun
    assert "<summary>half" not in lottery_jax.write_report(both, path).read_text()


def test_controls_with_nothing_to_draw_are_told(tmp_path, capsys):
    """A lone weight in each layer has no other order."""
    config = helpers.tiny_config(
        data__name="xor", model__hidden=(3,), algorithm__rounds=2,
        algorithm__prune_fraction=0.5, algorithm__output_prune_fraction=0.5,
    )  # fmt: skip
    config.controls = {"random": 1, "reshuffle": 1}
    found = experiment.run(config, tmp_path / "run")
    told = [certificate["idle_controls"] for certificate in found.certificates]
    assert told == [[], [], ["reshuffle"]]
    printed = capsys.readouterr().out
    assert printed.count("note: reshuffle came out as its ticket in this round") == 1
    text = lottery_jax.write_report([tmp_path / "run"], tmp_path / "r.html").read_text()
    told = "controls that came out as their ticket: reshuffle<"
    assert text.count(told) == 1
    path = tmp_path / "run" / "rounds" / "0002" / "certificate.json"
    certificate = json.loads(path.read_text())
    del certificate["idle_controls"]  # as older runs have it
    path.write_text(json.dumps(certificate))
    text = lottery_jax.write_report([tmp_path / "run"], tmp_path / "r.html").read_text()
    assert told not in text and "5 properties hold" in text


def test_what_is_no_run_is_refused(runs, tmp_path):
    for paths, message in (([], "no run"), ([tmp_path], "is no run directory")):
        with pytest.raises(LotteryError, match=message):
            lottery_jax.write_report(paths, tmp_path / "r.html")
    assert not (tmp_path / "r.html").exists()
    done = helpers.lottery(str(tmp_path), module="report", cwd=tmp_path)
    assert done.returncode == 2 and "is no run directory" in done.stderr
    done = helpers.lottery("--help", module="report", cwd=tmp_path)
    assert done.returncode == 0 and "RUN [RUN ...]" in done.stdout


FIRST = """<head><script>
window.errors = [];
window.onerror = (text) => window.errors.push(String(text));
console.error = (...words) => window.errors.push(words.join(" "));
</script>"""

LAST = """<script>(async () => {
  const found = {};
  for (const id of figures.keys()) await draw(id);
  found.plots = document.querySelectorAll(".plot .main-svg").length > 0
    && [...document.querySelectorAll(".plot")].every((one) => one.querySelector("svg"));
  const id = "r0_0_curves", slider = document.querySelector(`[data-figure=${id}]`);
  const label = document.getElementById(`${id}_label`), line = () =>
    document.getElementById(id).data.map((trace) => trace.y.join()).join();
  found.label = [label.textContent]; found.lines = [line()];
  slider.value = "0"; slider.dispatchEvent(new Event("input"));
  found.label.push(label.textContent); found.lines.push(line());
  const field = document.querySelector("[data-table=r0_0_table]");
  const table = document.getElementById("r0_0_table"), rows = table.tBodies[0].rows;
  field.value = "reinit"; field.dispatchEvent(new Event("input"));
  found.filtered = [...rows].filter((row) => !row.hidden).length;
  const heads = [...table.tHead.rows[0].cells];
  const kept = heads.findIndex((head) => head.textContent === "kept");
  heads[kept].click();
  found.sorted = [...rows].map((row) => Number(row.cells[kept].textContent));
  found.errors = window.errors;
  found.width = document.documentElement.scrollWidth;
  document.documentElement.dataset.found = JSON.stringify(found);
})()</script></body>"""


@pytest.mark.skipif(CHROMIUM is None, reason="there is no Chromium")
@pytest.mark.parametrize("width", [1280, 500])
def test_it_works_in_a_browser(page, width, tmp_path):
    path = tmp_path / "page.html"
    changed = page.replace("<head>", FIRST, 1)
    start, end = changed.rsplit("</body>", 1)
    path.write_text(start + LAST + end)
    done = subprocess.run(
        [CHROMIUM, "--headless", "--no-sandbox", "--disable-gpu", "--disable-quic",
         "--no-first-run", "--disable-background-networking",
         "--disable-component-update", "--disable-sync",
         f"--user-data-dir={tmp_path}/profile", f"--window-size={width},1000",
         "--virtual-time-budget=20000", "--dump-dom", path.as_uri()],
        capture_output=True, text=True, timeout=120,
    )  # fmt: skip
    data = re.search(r'data-found="([^"]*)"', done.stdout)
    assert data, done.stderr[-2000:]
    found = json.loads(html.unescape(data[1]))
    assert found["errors"] == []
    assert found["plots"]
    assert found["label"][0].startswith("round 2,")
    assert found["label"][1].startswith("round 0,")
    assert found["lines"][0] != found["lines"][1]
    assert found["filtered"] == 6  # of three rounds and two replicates
    assert found["sorted"] == sorted(found["sorted"])
    assert len(found["sorted"]) == 18
    assert found["width"] <= width


def test_methods_stand_apart(tmp_path):
    """Runs with several kinds of tickets in a round."""
    tiny, config = helpers.tiny_config(), configs.default("compare")
    config.data, config.model, config.train = tiny.data, tiny.model, tiny.train
    config.lanes, config.replicates = tiny.lanes, 2
    config.algorithm.methods = ("random", "magnitude")
    config.algorithm.densities = (0.5, 0.2)
    config.controls.shuffle = 1
    experiment.run(config, tmp_path / "one")
    config.train.learning_rate = 0.01
    experiment.run(config, tmp_path / "other")
    runs = [tmp_path / "one", tmp_path / "other"]
    page = lottery_jax.write_report(runs, tmp_path / "r.html").read_text()
    figures = figures_of(page)

    def names(id):
        (traces,) = figures[id]["frames"]
        return {trace["name"] for trace in traces if "name" in trace}

    assert names("r0_0_early_stop_test_accuracy") == {"dense", "random", "magnitude"}
    expected = {
        f"{run.name}: {name}" for run in runs for name in ("random", "magnitude")
    }
    assert names("t0_early_stop_test_accuracy") == expected
    assert page.count('<img alt="checks"') == 2 and '<img alt="validation' not in page
    # Tickets of two methods are not replicates of each other.
    assert not {f"r0_0_{name}" for name in ("pixels", "layers", "overlaps")} & {
        *figures
    }
