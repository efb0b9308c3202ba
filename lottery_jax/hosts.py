"""Several processes that run one experiment together, joined by `jax.distributed`.

All of them hold the same values and take the same decisions. What only one may do,
the run directory above all, is done by the first; the others are told what came out.
With one process, every function here is the plain call.
"""

import logging
import os
import pickle
from collections.abc import Callable
from typing import Any

import jax
import numpy as np
from jax.experimental import multihost_utils

from lottery_jax.errors import LotteryError


def from_first(function: Callable, *arguments) -> Any:
    """`function(*arguments)`, called by the first process, returned on all.

    What comes back must be picklable. When the call fails, all processes fail.
    """
    if jax.process_count() == 1:
        return function(*arguments)
    result = error = None
    if jax.process_index() == 0:
        result, error = _attempt(function, arguments)
    _raise(error, process=0)
    return _share(result, source=0)


def on_all(function: Callable, *arguments) -> Any:
    """`function(*arguments)` on every process; when one call fails, all fail."""
    if jax.process_count() == 1:
        return function(*arguments)
    result, error = _attempt(function, arguments)
    for process in range(jax.process_count()):
        _raise(error, process)
    return result


def check_same(what: str, function: Callable, *arguments):
    """Fails on all processes where `function(*arguments)` is not the same on all."""
    if jax.process_count() == 1:
        return
    value = on_all(function, *arguments)
    first = from_first(lambda: value)

    def compare():
        if value != first:
            raise LotteryError(f"it has other {what} than process 0")

    on_all(compare)


def _attempt(function: Callable, arguments: tuple) -> tuple[Any, Exception | None]:
    try:
        return function(*arguments), None
    except Exception as error:
        return None, error


def _raise(error: Exception | None, process: int):
    """Raises the error of a process, if it has one, on all of them."""
    kind = "" if isinstance(error, LotteryError) else f"{type(error).__name__}: "
    text = _share(error and f"{kind}{error}", process)
    if text is not None:
        if jax.process_index() == process:
            raise error
        raise LotteryError(f"process {process}: {text}")


def _share(value: Any, source: int) -> Any:
    """The value of one process, on all; as bytes, so that no sum touches a bit."""
    here = jax.process_index() == source
    content = np.frombuffer(pickle.dumps(value if here else None), np.uint8)

    def send(array):
        return multihost_utils.broadcast_one_to_all(array, is_source=here)

    size = int(send(np.array([len(content)]).view(np.uint8)).view(np.int64)[0])
    # Few lengths, few programs: the next power of two.
    padded = np.zeros(1 << size.bit_length(), np.uint8)
    if here:
        padded[:size] = content
    return pickle.loads(send(padded)[:size].tobytes())


def set_up_devices():
    """A CPU device per core, unless the user says otherwise."""
    # jax tells of every backend that is not installed and every address it calls.
    for name in ("xla_bridge", "distributed"):
        logging.getLogger(f"jax._src.{name}").setLevel(logging.WARNING)
    if jax.config.jax_num_cpu_devices < 0:
        # One lane per core: small matrix products gain nothing from a second one.
        cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else 1
        jax.config.update("jax_num_cpu_devices", cores)
