"""Tickets: scores, selection, rewinding and controls as pure functions on pytrees."""

from lottery_jax.tickets.allocation import ALLOCATIONS
from lottery_jax.tickets.controls import CONTROLS
from lottery_jax.tickets.freezing import FREEZES
from lottery_jax.tickets.reinitialization import REINITS
from lottery_jax.tickets.rewinding import REWINDS
from lottery_jax.tickets.schedules import LADDERS
from lottery_jax.tickets.scores import SCORES
from lottery_jax.tickets.selection import SCOPES
from lottery_jax.tickets.topology import LAWS, TOPOLOGIES

__all__ = [
    "ALLOCATIONS",
    "CONTROLS",
    "FREEZES",
    "LADDERS",
    "LAWS",
    "REINITS",
    "REWINDS",
    "SCOPES",
    "SCORES",
    "TOPOLOGIES",
]
