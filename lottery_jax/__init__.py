"""lottery_jax: the laboratory for the lottery ticket hypothesis, in JAX.

Names are imported when they are first used, so that `import lottery_jax` is quick.
"""

import importlib

_HOME = {
    "draw_figures": "lottery_jax.reporting.figures",
    "load_masks": "lottery_jax.reporting.results",
    "load_results": "lottery_jax.reporting.results",
    "run": "lottery_jax.experiment",
}

__all__ = ["draw_figures", "load_masks", "load_results", "run"]
__version__ = "0.1.0"


def __getattr__(name: str):
    if name not in _HOME:
        raise AttributeError(f"module 'lottery_jax' has no attribute {name!r}")
    return getattr(importlib.import_module(_HOME[name]), name)


def __dir__():
    return sorted(__all__)
