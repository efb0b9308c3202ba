import os
import tempfile
from importlib import metadata
from pathlib import Path

# Many tests compile the same programs: compile them once, also across processes.
CACHE = Path(tempfile.gettempdir()) / f"lottery_jax_tests_{os.getuid()}"
os.environ["JAX_COMPILATION_CACHE_DIR"] = str(CACHE)
os.environ["JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS"] = "0.0"
# Nearly all of their time is compilation, and this halves it; see `optimized`.
os.environ["JAX_DISABLE_MOST_OPTIMIZATIONS"] = "1"
# The older of XLA's two ways to write loops for CPUs compiles in half the time again,
# and a process per core has no use for threads that compile parts of a program.
if metadata.version("jaxlib").startswith("0.10."):  # an unknown flag ends the process
    os.environ["XLA_FLAGS"] = (
        f"{os.environ.get('XLA_FLAGS', '')} --xla_cpu_use_fusion_emitters=false "
        "--xla_cpu_parallel_codegen_split_count=1"
    )

import jax  # noqa: E402
import pytest  # noqa: E402

from lottery_jax.reporting import figures  # noqa: E402

DRAW = figures.draw
jax.config.update("jax_num_cpu_devices", 2)
jax.config.update("jax_numpy_rank_promotion", "raise")


@pytest.fixture
def optimized(monkeypatch):
    """Optimized programs: for tests that train for long or compare bits.

    Here and in the processes that a test starts.
    """
    monkeypatch.setenv("JAX_DISABLE_MOST_OPTIMIZATIONS", "0")
    jax.config.update("jax_disable_most_optimizations", False)
    yield
    jax.config.update("jax_disable_most_optimizations", True)


@pytest.fixture(scope="module", autouse=True)
def no_figures(request):
    """Runs draw nothing, which is a good part of their time; but see `drawn`.

    A module in which all runs draw says so: `DRAWS = True`.
    """
    with pytest.MonkeyPatch.context() as patch:
        if not getattr(request.module, "DRAWS", False):
            patch.setattr(figures, "draw", lambda results: [])
        yield


@pytest.fixture
def drawn(monkeypatch):
    """Runs of this test draw their figures."""
    monkeypatch.setattr(figures, "draw", DRAW)
