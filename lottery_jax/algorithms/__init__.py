"""Published methods, one file each, by name."""

from lottery_jax.algorithms.imp import imp
from lottery_jax.algorithms.supermask import supermask

__all__ = ["ALGORITHMS"]

ALGORITHMS = {"imp": imp, "supermask": supermask}
"""Name -> factory of an `Algorithm`; its keyword arguments are the config's fields."""
