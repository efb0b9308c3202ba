"""Ways to find a ticket by name, and checks of what they depend on."""

from collections.abc import Mapping
from typing import NamedTuple

from lottery_jax.algorithms.edge_popup import ANNEALED, EDGE_POPUP
from lottery_jax.algorithms.gem_miner import GEM_MINER
from lottery_jax.data.corruption import CORRUPTIONS
from lottery_jax.tickets.saliency import SALIENCIES

CLEAN = "clean"
"""The data as they are."""

RULES = {
    "edge_popup": EDGE_POPUP,
    "edge_popup_annealed": ANNEALED,
    "gem_miner": GEM_MINER,
}
"""Name -> how scores are learned."""


class Method(NamedTuple):
    """A way to find tickets.

    Attributes:
      score: name in `SCORES`, or in `RULES`: learned.
      after: what is scored: theta_0 ("init"), the trained dense network ("dense"), or
        the trained ticket of the round before ("ticket").
      iterates: prunes in several iterations, with new scores in each.
      allocation: name in `ALLOCATIONS`, or None: all weights compete.
      trained: the ticket starts from the trained dense network, not from theta_0.
    """

    score: str
    after: str = "init"
    iterates: bool = False
    allocation: str | None = None
    trained: bool = False

    @property
    def learns(self) -> bool:
        """Whether scores are learned, of theta_0 and anew in every round."""
        return self.score in RULES

    @property
    def uses_data(self) -> bool:
        """Whether its masks depend on the training examples."""
        looks = self.score in SALIENCIES and self.score != "synflow"
        return self.after != "init" or looks or self.learns


METHODS = {
    "magnitude": Method("magnitude"),
    "snip": Method("snip"),
    "synflow_one_shot": Method("synflow"),
    "grasp": Method("grasp"),
    "synflow": Method("synflow", iterates=True),
    "imp_synflow": Method("synflow", "ticket", iterates=True),
    "imp": Method("magnitude", "ticket"),
    "one_shot": Method("magnitude", "dense"),
    "learning_rate": Method("magnitude", "dense", trained=True),
    "snip_iterative": Method("snip", iterates=True),
    "smart_ratio": Method("random", allocation="smart_ratio"),
    "erk": Method("random", allocation="erdos_renyi_kernel"),
    "uniform": Method("random", allocation="uniform"),
    "random": Method("random"),
    "edge_popup": Method("edge_popup", allocation="uniform"),
    "edge_popup_global": Method("edge_popup"),
    "edge_popup_annealed": Method("edge_popup_annealed", allocation="uniform"),
    "edge_popup_global_annealed": Method("edge_popup_annealed"),
    "gem_miner": Method("gem_miner"),
}
"""Name -> method: at initialisation but for `one_shot` and `learning_rate`, which prune
the trained network once for every density, and `imp` and `imp_synflow`, which train,
prune and rewind from density to density. The last five learn a mask of theta_0."""

MASK_CHECKS = (*CORRUPTIONS, "hybrid", "inverted")
"""What may change in how a mask is found; "hybrid": smart ratios per layer."""


class Strand(NamedTuple):
    """A method, or a method with a check: whose masks go on from round to round.

    Attributes:
      name: of its lanes.
      method: with what a check changes of it.
      data: name in `CORRUPTIONS`, or "clean": what masks are found on.
      inverted: keeps what is scored lowest.
    """

    name: str
    method: Method
    data: str = CLEAN
    inverted: bool = False


def checked(name: str, check: str) -> Strand | None:
    """The method with a check; None where the check could not change its masks."""
    method = METHODS[name]
    whole = f"{name}/{check}"
    if check in CORRUPTIONS:
        return Strand(whole, method, data=check) if method.uses_data else None
    if method.score == "random":
        return None
    if check == "hybrid":
        return Strand(whole, method._replace(allocation="smart_ratio"))
    return Strand(whole, method, inverted=True)


def lane_names(methods, checks, controls: Mapping[str, int]) -> list[str]:
    """Names of all lanes of the rounds after the dense one."""
    found = [checked(name, check) for name in methods for check in checks]
    own = [name for name, number in controls.items() if number]
    return [
        *methods,
        *(strand.name for strand in found if strand),
        *(f"{name}/{control}" for name in methods for control in own),
    ]
