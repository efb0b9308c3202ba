"""Imports go down the floors; Flax stays on its own; public names are documented."""

import ast
import importlib
import inspect
import pkgutil
import re
import subprocess
import sys

import pytest

import lottery_jax
from tests import helpers

PACKAGE = helpers.REPOSITORY / "lottery_jax"

# From the cellar to the roof: a module may import from its own floor and below.
FLOORS = [
    ("types", "errors", "rng", "stacks", "cache", "commands", "hosts"),
    ("data",),
    ("models",),
    ("tickets",),
    ("training",),
    ("algorithms",),
    ("analysis", "fields", "tasks"),
    ("reporting",),
    ("config",),
    ("validation",),
    ("assembly", "own_network", "programs"),
    ("experiment", "run_tickets"),
    ("sweeps",),
    ("main", "report", "sweep"),
]


def floor_of(module):
    name = module.removeprefix("lottery_jax").lstrip(".").split(".")[0]
    return next((i for i, floor in enumerate(FLOORS) if name in floor), None)


def imports(path):
    """Absolute names of what a file imports, submodules of `from x import y` too."""
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            yield node.module
            yield from (f"{node.module}.{alias.name}" for alias in node.names)


def modules():
    for path in sorted(PACKAGE.rglob("*.py")):
        parts = path.relative_to(PACKAGE.parent).with_suffix("").parts
        yield ".".join(part for part in parts if part != "__init__"), path


def test_imports_go_down():
    for module, path in modules():
        if module == "lottery_jax":
            continue
        floor = floor_of(module)
        assert floor is not None, f"{module} stands on no floor"
        for name in imports(path):
            other = floor_of(name) if name.startswith("lottery_jax.") else None
            assert other is None or other <= floor, f"{module} imports {name}"


def test_flax_is_imported_by_models_alone():
    for module, path in modules():
        if any(name.split(".")[0] == "flax" for name in imports(path)):
            assert module.startswith("lottery_jax.models"), module


def test_tensorflow_and_chex_are_not_imported():
    for module, path in modules():
        roots = {name.split(".")[0] for name in imports(path)}
        assert not roots & {"tensorflow", "chex", "clu", "torch"}, module


def test_compiled_programs_call_no_lapack():
    """On several CPU devices it may wait for its own thread (jaxlib 0.10.2)."""
    called = re.compile(
        r"\b(jnp|lax|jax\.numpy|jax\.scipy)\.linalg\.(?!norm)|"
        r"from jax\S* import linalg|\borthogonal\(|\bmultivariate_normal\("
    )
    for module, path in modules():
        assert not called.search(path.read_text()), module


def test_everything_public_has_a_docstring():
    missing = []
    for found in pkgutil.walk_packages(lottery_jax.__path__, "lottery_jax."):
        module = importlib.import_module(found.name)
        if not module.__doc__:
            missing.append(found.name)
        for name, value in vars(module).items():
            own = getattr(value, "__module__", None) == found.name
            if own and not name.startswith("_") and not inspect.getdoc(value):
                missing.append(f"{found.name}.{name}")
    assert missing == []


def test_the_package_offers_what_it_says():
    for name in lottery_jax.__all__:
        assert callable(getattr(lottery_jax, name))
    assert set(lottery_jax.__all__) <= set(dir(lottery_jax))


def imported_by(module):
    code = f"import sys, {module}; print(*sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return set(done.stdout.split())


def test_importing_the_package_is_light():
    heavy = {"jax", "pandas", "matplotlib", "sklearn", "tensorflow_datasets", "flax"}
    assert not heavy & imported_by("lottery_jax")


@pytest.mark.parametrize("module", ["lottery_jax.experiment", "lottery_jax.main"])
def test_what_a_run_may_not_need_is_not_imported_before(module):
    """Figures come last; scikit-learn and TFDS are for their own datasets."""
    heavy = {"matplotlib", "sklearn", "tensorflow_datasets", "PIL", "scipy.stats"}
    assert not heavy & imported_by(module)
