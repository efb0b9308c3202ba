"""What the README shows is run as it stands there."""

import re

import lottery_jax
from tests import helpers

README = (helpers.REPOSITORY / "README.md").read_text()


def test_the_own_dataset_model_and_score_of_the_readme_run(tmp_path):
    (code,) = re.findall(r"```python\n(# mine\.py.*?)```", README, re.DOTALL)
    (tmp_path / "mine.py").write_text(code)
    sizes = ["--config.train.steps=60", "--config.replicates=2"]
    done = helpers.lottery("--config=mine.py", "--workdir=run", *sizes, cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    summary = lottery_jax.load_results(tmp_path / "run").summary
    assert summary["round"].max() == 5 and summary.train_accuracy.max() > 0.8


def test_every_config_stands_in_the_readme():
    for path in (helpers.REPOSITORY / "configs").glob("*.py"):
        assert f"`{path.name}`" in README


def test_links_lead_somewhere():
    prose = re.sub(r"```.*?```", "", README, flags=re.DOTALL)
    targets = re.findall(r"\]\((?!http)([^)#]+)\)", prose)
    assert len(targets) >= 4
    for target in targets:
        assert (helpers.REPOSITORY / target).exists(), target
