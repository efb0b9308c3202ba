"""Small things that many tests are made of."""

import functools
import os
import re
import subprocess
import sys
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from lottery_jax import assembly, programs, rng, stacks
from lottery_jax import config as configs
from lottery_jax.models import MODELS
from lottery_jax.tickets import masks
from lottery_jax.training import losses
from lottery_jax.types import Context, Dataset, Lane, Split

REPOSITORY = Path(__file__).parents[1]

MNIST = Path(os.environ.get("LOTTERY_DATA_DIR", "")) / "mnist"
needs_mnist = pytest.mark.skipif(
    not MNIST.is_dir(), reason="LOTTERY_DATA_DIR names no folder with mnist/"
)


def tiny_config(**changes):
    """Digits, 16 hidden units, 3 rounds of 30 steps, 2 replicates: a few seconds.

    `changes` are dotted fields with `__` for the dot: train__steps=10.
    """
    config = configs.default()
    config.data.validation_size = 100
    config.data.test_size = 100
    config.model.hidden = (16,)
    config.train.steps = 30
    config.train.eval_every = 10
    config.algorithm.rounds = 3
    config.lanes.plan = "map"
    config.replicates = 2
    config.update_from_flattened_dict(
        {name.replace("__", "."): value for name, value in changes.items()}
    )
    return config


def tiny_algorithm(config, workdir="unused"):
    """(task, algorithm, roots) of a config, as `experiment.run` makes them."""
    roots = rng.roots(config.seed.root)
    task = assembly.make_task(config, roots)
    make_run = programs.make_programs(config, task, Path(workdir))
    algorithm = assembly.make_algorithm(config, task, make_run)
    return task, algorithm, roots


def random_task(num=128, features=5, classes=3, hidden=(8,), seed=0):
    """A noisy linear teacher; half to train, a quarter each to validate and test."""
    keys = jax.random.split(jax.random.key(seed), 3)
    x = jax.random.normal(keys[0], (num, features))
    teacher = jax.random.normal(keys[1], (features, classes))
    y = (x @ teacher + 2 * jax.random.normal(keys[2], (num, classes))).argmax(1)
    parts = (slice(0, num // 2), slice(num // 2, -num // 4), slice(-num // 4, None))
    dataset = Dataset(*(Split(x[part], y[part]) for part in parts), classes, "random")
    return losses.make_task(dataset, MODELS["mlp"]((features,), classes, hidden=hidden))


def random_mask(params, seed=0, density=0.5):
    """A random mask over all kernels; biases are kept."""
    key = jax.random.key(seed)
    leaves = {
        name: jax.random.bernoulli(jax.random.fold_in(key, i), density, leaf.shape)
        if name.endswith("kernel")
        else jnp.ones(leaf.shape, bool)
        for i, (name, leaf) in enumerate(masks.named_leaves(params).items())
    }
    return jax.tree.unflatten(jax.tree.structure(params), leaves.values())


def make_lane(params, mask=None, seed=0, learning_rate=0.01, schedule_offset=0):
    mask = masks.full(params) if mask is None else mask
    hypers = {
        "learning_rate": jnp.float32(learning_rate),
        "schedule_offset": jnp.int32(schedule_offset),
    }
    return Lane(params, mask, jax.random.key(seed), hypers)


@functools.cache
def make_context(seed=0):
    """A context whose params are unrelated to each other; masks that shrink."""
    model = MODELS["mlp"]((6,), 3, hidden=(8, 5))
    keys = jax.random.split(jax.random.key(seed), 5)
    init, rewind_point, final, start = (model.init(key)[0] for key in keys[:4])
    x = jax.random.normal(keys[0], (20, 6))
    old = random_mask(init, seed, 0.8)
    mask = jax.tree.map(lambda a, b: a & b, old, random_mask(init, seed + 1, 0.7))
    return Context(
        key=keys[4],
        model=model,
        prunable=model.prunable(init),
        init=init,
        rewind_point=rewind_point,
        start=start,
        final=masks.apply(final, old),
        old_mask=old,
        mask=mask,
        jitter=0.1,
        lane=make_lane(rewind_point, mask),
        batch=Split(x, jnp.argmax(x[:, :3], 1)),
        loss=losses.cross_entropy,
    )


def with_idle(info, lane, replicate=None):
    """A round in which a lane is its ticket bit for bit, in one replicate or in all."""
    places = [
        ticket if label.lane == lane and replicate in (None, label.replicate) else place
        for place, (label, ticket) in enumerate(
            zip(info.labels, info.ticket_of, strict=True)
        )
    ]
    trained = info.trained
    changed, final, best, found = stacks.take(
        (info.lanes, trained.final, trained.best, info.found_mask), np.array(places)
    )
    trained = trained._replace(final=final, best=best)
    return info._replace(lanes=changed, trained=trained, found_mask=found)


def assert_trees_equal(one, other):
    jax.tree.map(np.testing.assert_array_equal, one, other)


def trees_differ(one, other):
    differ = jax.tree.map(lambda a, b: bool(np.any(a != b)), one, other)
    return any(jax.tree.leaves(differ))


def lottery(*arguments, module="main", cwd=REPOSITORY, **options):
    """Runs a command line in a process of its own."""
    return subprocess.run(
        [sys.executable, "-m", f"lottery_jax.{module}", *arguments],
        cwd=cwd,
        capture_output=True,
        text=True,
        timeout=300,
        **options,
    )


def code_of(page):
    """The Python in a page of docs/, block by block."""
    text = (REPOSITORY / "docs" / page).read_text()
    return re.findall(r"```python\n(.*?)```", text, re.DOTALL)
