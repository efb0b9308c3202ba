"""What survivors are reset to, and where on the learning-rate schedule they go on.

With rewind step k and T training steps (Renda et al., arXiv:2003.02389, table 1):

name            weights    steps retrained    learning rate
weights         theta_k    k to T             schedule from step k
learning_rate   theta_T    k to T             schedule from step k
fine_tune       theta_T    k to T             its last value
continue        theta_T    0 to T             schedule from step 0

k = 0 with `weights` is the original lottery ticket: back to theta_0. `continue` is
Frankle & Carbin's strategy 2 (arXiv:1803.03635, app. B). The optimizer's state starts
anew in every round. Every name in `REINITS` is a rewind too: other values in place of
theta_k, on the schedule of `weights`; `zero_if_shrunk` is Zhou et al.'s Variant 2.
"""

from collections.abc import Callable
from typing import NamedTuple

from lottery_jax.tickets.freezing import zero_if_shrunk
from lottery_jax.tickets.reinitialization import REINITS
from lottery_jax.types import Context, Params


class Rewind(NamedTuple):
    """A way to rewind.

    Attributes:
      params: `params(context) -> params`; survivors are masked when training starts.
      survivors: "rewind_point" or "final", what the survivors must equal when training
        starts, which every round certifies; None where they are drawn anew.
      restart: retrain from step 0 whatever the rewind step.
      freeze_schedule: keep the learning rate at the schedule's last value.
    """

    params: Callable[[Context], Params]
    survivors: str | None = None
    restart: bool = False
    freeze_schedule: bool = False


def to_rewind_point(context: Context) -> Params:
    """theta_k; theta_0 where k = 0."""
    return context.rewind_point


def keep_final(context: Context) -> Params:
    """theta_T: survivors stay as training left them."""
    return context.final


REWINDS = {
    "continue": Rewind(keep_final, "final", restart=True),
    "fine_tune": Rewind(keep_final, "final", freeze_schedule=True),
    "learning_rate": Rewind(keep_final, "final"),
    "weights": Rewind(to_rewind_point, "rewind_point"),
    "zero_if_shrunk": Rewind(zero_if_shrunk, restart=True),
    **{name: Rewind(draw) for name, draw in REINITS.items()},
}
"""Name -> `Rewind`."""
