"""Configs that nobody thought of: they run, or are refused before anything is written.

`LOTTERY_FUZZ=100 pytest tests/test_fuzz.py` tries so many, other ones every time.
"""

import os
import tempfile
from pathlib import Path

import pytest
from hypothesis import HealthCheck, Phase, assume, given, note, settings
from hypothesis import strategies as st

from lottery_jax import experiment, validation
from lottery_jax.algorithms import breeding, methods
from lottery_jax.algorithms.bounds import BOUNDS
from lottery_jax.data import STANDARDIZE
from lottery_jax.errors import CertificateError, ConfigError, LotteryError, ScoreError
from lottery_jax.fields.checks import get
from lottery_jax.models import ACTIVATIONS, BIASES, INITIALIZERS
from lottery_jax.tickets import (
    ALLOCATIONS,
    CONTROLS,
    FREEZES,
    LADDERS,
    LAWS,
    REWINDS,
    SCOPES,
    SCORES,
    TOPOLOGIES,
)
from lottery_jax.tickets.genetics import SELECTIONS
from lottery_jax.tickets.schedules import PATHS
from lottery_jax.training.execution import EXECUTIONS
from lottery_jax.training.fitness import DENSITIES, PENALTIES, TERMS
from lottery_jax.training.losses import LOSSES
from lottery_jax.training.optimizers import OPTIMIZERS, SCHEDULES
from tests.test_config import load

EXAMPLES = int(os.environ.get("LOTTERY_FUZZ", 0))

BASES = [
    "quickstart.py:smoke",
    "pruning_at_init.py:synflow,smoke",
    "zhou_fc.py:supermask,smoke",
    "theys.py:smoke",
    "nets.py:xor10,smoke",
    "strong_tickets.py:smoke",
    "sample_complexity.py:smoke",
    "topologies.py:smoke",
    "gem_miner.py:smoke",
    "sanity_checks.py:smoke",
]

DATA = ("digits", "moons", "circles", "blobs", "xor", "circle", "relu", "gaussian")
CHOICES = {
    "data.name": DATA,
    "data.standardize": STANDARDIZE,
    "model.initializer": INITIALIZERS,
    "model.biases": (None, *BIASES),
    "model.activation": (None, *ACTIVATIONS),
    "model.hidden": (None, (6,), (8, 5)),
    "optimizer": OPTIMIZERS,
    "schedule": SCHEDULES,
    "train.loss": (None, *LOSSES),
    "train.execution": EXECUTIONS,
    "lanes.plan": ("map", "vmap"),
    "algorithm.allocation": (None, *ALLOCATIONS),
    "algorithm.bound": BOUNDS,
    "algorithm.density": DENSITIES,
    "algorithm.ladder": LADDERS,
    "algorithm.law": LAWS,
    "algorithm.objective": ("accuracy", "cross_entropy"),
    "algorithm.pairs": breeding.PAIRS,
    "algorithm.path": PATHS,
    "algorithm.penalty": PENALTIES,
    "algorithm.prune_on": ("validation", "both"),
    "algorithm.pruned": FREEZES,
    "algorithm.rewind": REWINDS,
    "algorithm.scope": SCOPES,
    "algorithm.score": SCORES,
    "algorithm.select": SELECTIONS,
    "algorithm.term": TERMS,
    "algorithm.weights": breeding.WEIGHTS,
    "algorithm.methods": [(name, "random") for name in methods.METHODS],
    "algorithm.checks": [(), *((name,) for name in methods.MASK_CHECKS)],
    "algorithm.densities": [(0.5,), (0.6, 0.2), (0.2, 0.6)],
    "algorithm.topologies": [(name,) for name in TOPOLOGIES],
}
"""Field, or the last part of its name -> values."""

APART = ("claims", "seed", "tensorboard", "compilation_cache", "planting", "data.dir",
         "steps", "eval_every", "memory_gb", "level_barrier")  # fmt: skip
"""Fields that are left as they are, or would make it long."""

JUNK = [-1, 0, 10**9, -0.5, 1e-30, 2.5, float("nan"), float("inf"), "", "magnitud",
        None, True, (), (0,), (0.5, -1), (3, "a"), {"a": 1}]  # fmt: skip


def flat(config, prefix=""):
    """Dotted fields with their values, but for `APART`."""
    for name, value in config.items():
        field = f"{prefix}{name}"
        if not {name, field} & {*APART} and field != "algorithm.name":
            if hasattr(value, "items"):
                yield from flat(value, f"{field}.")
            else:
                yield field, value


def plausible(field, value):
    """Values that may be right."""
    for name in (field, field.split(".")[-1]):
        if name in CHOICES:
            return st.sampled_from([*CHOICES[name]])
    if isinstance(value, bool):
        return st.booleans()
    if field.startswith("controls.") or field == "replicates":
        return st.integers(field == "replicates", 2)
    if isinstance(value, int):
        return st.integers(0, max(2 * value, 2))
    if isinstance(value, float):
        return st.sampled_from([0.0, 0.1, 0.25, 0.5, 0.9, 1.0, value])
    return st.just(value)


def put(config, field, value) -> bool:
    """Whether a field is now another one; the launcher refuses other types as well."""
    before = repr(get(config, field))
    try:
        config.update_from_flattened_dict({field: value})
    except (TypeError, ValueError):
        return False
    return repr(get(config, field)) != before


@st.composite
def changed(draw):
    """A config with some of its fields changed, and controls added."""
    path = draw(st.sampled_from(BASES))
    config = load(path)
    fields = dict(flat(config))
    names = st.lists(st.sampled_from([*fields]), min_size=3, max_size=8, unique=True)
    changes = {name: draw(plausible(name, fields[name])) for name in draw(names)}
    there = [name for name, value in changes.items() if put(config, name, value)]
    assume(there)
    for name in draw(st.lists(st.sampled_from([*CONTROLS]), max_size=2, unique=True)):
        changes[f"controls.{name}"] = config.controls[name] = draw(st.integers(1, 2))
    note(f"{path} {changes}")
    return config


@settings(
    max_examples=EXAMPLES or 3, deadline=None, derandomize=not EXAMPLES, database=None,
    suppress_health_check=list(HealthCheck), print_blob=False,
    phases=[Phase.generate],  # to shrink a run of seconds would take an hour
)  # fmt: skip
@given(changed())
def test_a_config_runs_or_is_refused(config):
    with tempfile.TemporaryDirectory() as folder:
        workdir = Path(folder) / "run"
        try:
            found = experiment.run(config, workdir)
        except CertificateError:
            raise
        except ConfigError:
            assert not workdir.exists()
            return
        except ScoreError:
            return
        assert len(found.certificates) == len(found.ladder)
        assert found.summary["round"].nunique() == len(found.ladder)


@pytest.mark.parametrize("path", BASES)
def test_junk_is_refused_or_right(path):
    """In every field, one at a time; those of all algorithms just once."""
    config, tried = load(path), 0
    for field, value in flat(load(path)):
        if not field.startswith("algorithm.") and path != BASES[0]:
            continue
        for junk in JUNK:
            if not put(config, field, junk):
                continue
            tried += 1
            try:
                validation.validate(config)
            except LotteryError as refused:
                assert str(refused).startswith("config."), field
                assert "\n" not in str(refused)
            else:
                assert not (isinstance(junk, float) and junk != junk), field  # NaN
            put(config, field, value)
    assert tried > 10


def test_the_bases_are_valid():
    for path in BASES:
        validation.validate(load(path))
        assert len(dict(flat(load(path)))) > 30
