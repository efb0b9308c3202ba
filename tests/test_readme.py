"""What the README shows is run as it stands there."""

import re

from tests import helpers

README = (helpers.REPOSITORY / "README.md").read_text()


def test_every_config_stands_in_the_readme():
    for path in (helpers.REPOSITORY / "configs").glob("*.py"):
        assert f"`{path.name}`" in README


def test_links_lead_somewhere():
    prose = re.sub(r"```.*?```", "", README, flags=re.DOTALL)
    targets = re.findall(r"\]\((?!http)([^)#]+)\)", prose)
    assert len(targets) >= 4
    for target in targets:
        assert (helpers.REPOSITORY / target).exists(), target


def test_the_experiment_the_session_and_the_repetition_run(
    tmp_path, monkeypatch, drawn
):
    (code,) = helpers.code_of("methods/session.md")
    assert "replicates = 20" in code
    monkeypatch.chdir(tmp_path)
    found = {}
    short = "config.train.steps, config.train.eval_every = 40, 20\n"
    short += "config.lanes.plan = 'map'\n"  # without a trial
    code = code.replace(
        "config.algorithm.one_shot", f"{short}config.algorithm.one_shot"
    )
    exec(code.replace("replicates = 20", "replicates = 2"), found)
    ticket = found["one"].summary.query("round == 1")
    assert set(ticket.lane) == {"ticket"} and abs(ticket.density.item() - 0.22) < 0.02
    assert set(found["session"].summary.lane) > {"constant_signed", "reshuffle"}
    curves = found["robust"].curves
    assert curves.replicate.nunique() == 2
    assert (tmp_path / "runs/one/figures/weights.png").is_file()
