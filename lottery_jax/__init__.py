"""lottery_jax: the laboratory for the lottery ticket hypothesis, in JAX.

Names are imported when they are first used, so that `import lottery_jax` is quick.
"""

import importlib

_HOME = {
    "Ticket": "lottery_jax.types",
    "draw_figures": "lottery_jax.reporting.figures",
    "find_ticket": "lottery_jax.own_network",
    "load_config": "lottery_jax.config",
    "load_masks": "lottery_jax.reporting.results",
    "load_results": "lottery_jax.reporting.results",
    "load_ticket": "lottery_jax.reporting.ticket_files",
    "masked": "lottery_jax.tickets.masks",
    "run": "lottery_jax.experiment",
    "save_ticket": "lottery_jax.reporting.ticket_files",
    "ticket_of": "lottery_jax.run_tickets",
    "write_report": "lottery_jax.reporting.report",
}

__all__ = [
    "Ticket",
    "draw_figures",
    "find_ticket",
    "load_config",
    "load_masks",
    "load_results",
    "load_ticket",
    "masked",
    "run",
    "save_ticket",
    "ticket_of",
    "write_report",
]
__version__ = "0.1.0"


def __getattr__(name: str):
    if name not in _HOME:
        raise AttributeError(f"module 'lottery_jax' has no attribute {name!r}")
    return getattr(importlib.import_module(_HOME[name]), name)


def __dir__():
    return sorted(__all__)
