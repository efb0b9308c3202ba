import os
import tempfile
from pathlib import Path

# Many tests compile the same programs: compile them once, also across processes.
CACHE = Path(tempfile.gettempdir()) / f"lottery_jax_tests_{os.getuid()}"
os.environ["JAX_COMPILATION_CACHE_DIR"] = str(CACHE)
os.environ["JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS"] = "0.0"
# Nearly all of their time is compilation, and this halves it. Programs are as they are
# for users in the quickstart, which runs before the tests.
os.environ["JAX_DISABLE_MOST_OPTIMIZATIONS"] = "1"

import jax  # noqa: E402

jax.config.update("jax_num_cpu_devices", 2)
jax.config.update("jax_numpy_rank_promotion", "raise")
