"""Published methods, one file each, by name."""

from lottery_jax.algorithms.compare import compare
from lottery_jax.algorithms.gradual import gradual
from lottery_jax.algorithms.imp import imp
from lottery_jax.algorithms.nets import nets
from lottery_jax.algorithms.sample_complexity import sample_complexity
from lottery_jax.algorithms.strong_tickets import strong_tickets
from lottery_jax.algorithms.supermask import supermask
from lottery_jax.algorithms.topologies import topologies

__all__ = ["ALGORITHMS"]

ALGORITHMS = {
    "compare": compare,
    "gradual": gradual,
    "imp": imp,
    "nets": nets,
    "sample_complexity": sample_complexity,
    "strong_tickets": strong_tickets,
    "supermask": supermask,
    "topologies": topologies,
}
"""Name -> factory of an `Algorithm`; its keyword arguments are the config's fields."""
