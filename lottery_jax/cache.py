"""Compiled programs are kept on disk: the second start of a config compiles nothing."""

import contextlib
import functools
import os
from pathlib import Path

import jax

MAX_BYTES = 2**30
"""What the folder holds at most when a run starts."""


def folder() -> Path:
    """`lottery_jax` in the user's cache directory (XDG_CACHE_HOME or ~/.cache)."""
    home = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
    return Path(home) / "lottery_jax"


def enable() -> str | None:
    """Turns JAX's persistent compilation cache on for this process.

    A folder that JAX has been given already (JAX_COMPILATION_CACHE_DIR) stays. What is
    kept belongs to one version of JAX and one kind of machine: JAX's keys see to that.

    Returns:
      Why it cannot be used here, in words, or None: a run can do without.
    """
    if jax.config.jax_compilation_cache_dir is not None:
        return None
    try:
        path = folder()
        path.mkdir(mode=0o700, parents=True, exist_ok=True)
        if not os.access(path, os.R_OK | os.W_OK | os.X_OK):
            raise PermissionError(f"{path} may not be written")
        _trim(path)
    except (OSError, RuntimeError) as error:  # RuntimeError: there is no home directory
        return f"compiled programs are not kept: {error}"
    jax.config.update("jax_compilation_cache_dir", str(path))
    # Small programs too: there are many of them.
    jax.config.update("jax_persistent_cache_min_compile_time_secs", 0.0)
    return None


def compile_seconds() -> float:
    """Seconds that this process has spent compiling since the first call."""
    return sum(_compilations())


@functools.cache
def _compilations() -> list[float]:
    found = []

    def listen(event, seconds, **_):
        if event == "/jax/core/compile/backend_compile_duration":
            found.append(seconds)

    jax.monitoring.register_event_duration_secs_listener(listen)
    return found


def _trim(path: Path):
    """Deletes what was used longest ago.

    JAX's own limit (jax_compilation_cache_max_size) takes another package and a lock,
    and a process killed between its two writes breaks it for all that follow.
    """
    used = []
    for file in filter(Path.is_file, path.rglob("*")):
        with contextlib.suppress(FileNotFoundError):  # another run trims as well
            status = file.stat()
            when = max(status.st_atime, status.st_mtime)
            used.append((when, status.st_size, file))
    kept = 0
    for _, size, file in sorted(used, reverse=True):
        kept += size
        if kept > MAX_BYTES:
            file.unlink(missing_ok=True)
