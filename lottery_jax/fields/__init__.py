"""What may stand in `config.algorithm`, a file for every algorithm."""

from lottery_jax.fields import (
    compare,
    gradual,
    imp,
    nets,
    sample_complexity,
    strong_tickets,
    supermask,
    topologies,
)
from lottery_jax.fields.base import Fields

__all__ = ["FIELDS", "Fields"]

FIELDS = {
    "compare": compare.FIELDS,
    "gradual": gradual.FIELDS,
    "imp": imp.FIELDS,
    "nets": nets.FIELDS,
    "sample_complexity": sample_complexity.FIELDS,
    "strong_tickets": strong_tickets.FIELDS,
    "supermask": supermask.FIELDS,
    "topologies": topologies.FIELDS,
}
"""Name of an algorithm -> its fields."""
