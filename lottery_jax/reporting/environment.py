"""What a run was made with: versions, devices, commit, command."""

import platform
import subprocess
import sys
import time
from importlib import metadata
from pathlib import Path

import jax

from lottery_jax.reporting import files
from lottery_jax.reporting.run_directory import differences, writing


def record(workdir: Path) -> list[str]:
    """Writes environment.json, or returns what is no longer as it says."""
    packages = ("jax", "jaxlib", "flax", "optax", "numba", "numpy", "lottery-jax")
    now = {
        "versions": {name: metadata.version(name) for name in packages},
        "python": platform.python_version(),
        "platform": platform.platform(),
        "devices": [str(device.device_kind) for device in jax.devices()],
        "commit": commit(),
    }
    path = workdir / "environment.json"
    if not path.exists():
        command = [Path(sys.argv[0]).name, *sys.argv[1:]]
        now |= {"command": command, "started": time.strftime("%Y-%m-%dT%H:%M:%S%z")}
        with writing(workdir):
            files.write_json(path, now)
        return []
    before = files.read_json(path)
    return sorted(differences({name: before.get(name) for name in now}, now))


def commit() -> str | None:
    """Of the checkout that this file is part of; None where it was installed."""
    file = Path(__file__)

    def git(*arguments):
        call = ["git", "-C", str(file.parent), *arguments]
        done = subprocess.run(call, capture_output=True, text=True, timeout=10)
        return done.stdout.strip() if done.returncode == 0 else ""

    try:
        if not git("ls-files", file.name):
            return None
        return git("describe", "--always", "--dirty", "--abbrev=40") or None
    except (OSError, subprocess.TimeoutExpired):
        return None
