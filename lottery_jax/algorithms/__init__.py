"""Published methods, one file each, by name."""

from lottery_jax.algorithms.imp import imp

__all__ = ["ALGORITHMS"]

ALGORITHMS = {"imp": imp}
"""Name -> factory of an `Algorithm`; its keyword arguments are the config's fields."""
