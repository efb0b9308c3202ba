"""Sparse topologies: a dense layer as a cascade of sparse linear stages.

Which places a stage has is fixed before anything is drawn (NeuroFabric, Isakov &
Kinsy, arXiv:2002.08339; its authors' `ncube` for the hypercube's antipode). Widths are
`N` nodes everywhere. A cascade is the sum of `P` parallel branches of `S` stages each;
its supports are bool [P, S, N, N], and the place (i, j) leads from node i to node j, as
in a kernel [in, out]. A topology of degree d has N d places in every stage, those of
all branches together, so that topologies of one degree have as many weights.
"""

import math
from collections.abc import Callable
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from lottery_jax.errors import ConfigError
from lottery_jax.types import Key

WIDTH = "model.hidden"


class Topology(NamedTuple):
    """A family of supports.

    Attributes:
      degrees: `degrees(nodes, branches) -> degrees`: those there are at this width and
        with at most so many branches; a ConfigError where the width has none.
      supports: `supports(nodes, stages, degree, numbers) -> bool [P, S, N, N]`, for one
        of these degrees; `numbers`: a numpy generator, for what is random.
    """

    degrees: Callable[[int, int], list[int]]
    supports: Callable[[int, int, int, np.random.Generator], np.ndarray]


def _digits(nodes: int, radix: int) -> int:
    """s of nodes = radix^s; 0 where there is none."""
    s = round(math.log(nodes, radix))
    return s if radix**s == nodes else 0


def _near(nodes: int) -> int:
    """A power of two from 4 on."""
    return 2 ** max(2, round(math.log2(nodes)))


def _butterfly_degrees(nodes, branches):
    del branches
    found = [b for b in range(2, math.isqrt(nodes) + 1) if _digits(nodes, b)]
    if not found:
        problem = f"a butterfly has b^s nodes, s at least 2, such as {_near(nodes)}"
        raise ConfigError(WIDTH, f"{nodes}: {problem}")
    return found


def butterfly(nodes, stages, degree, numbers):
    """Stage k mixes digit k mod s of the nodes' numbers to the base d, N = d^s.

    With s stages exactly one path leads from each node to each. Base 2 is the butterfly
    of the fast Fourier transform, a higher one a Clos network.
    """
    del numbers
    i, every = np.arange(nodes), []
    for stage in range(stages):
        weight = degree ** (stage % _digits(nodes, degree))
        rest = i - i // weight % degree * weight
        every.append(rest[:, None] == rest)
    return np.stack(every)[None]


def _power_of_two(nodes: int, what: str) -> int:
    n = _digits(nodes, 2)
    if n < 2:
        problem = f"{what} has 2^n nodes, n at least 2, such as {_near(nodes)}"
        raise ConfigError(WIDTH, f"{nodes}: {problem}")
    return n


def _parallel_degrees(nodes, branches):
    _power_of_two(nodes, "a parallel butterfly")
    return [2 * number for number in range(2, branches + 1)]


def parallel_butterfly(nodes, stages, degree, numbers):
    """The sum of d / 2 butterflies: the same supports, weights of their own.

    The abstract recommends it; that this is what it means is our reading.
    """
    return np.repeat(butterfly(nodes, stages, 2, numbers), degree // 2, axis=0)


def _hypercube_degrees(nodes, branches):
    del branches
    n = _power_of_two(nodes, "a hypercube")
    return [n + 1, n + 2]


def hypercube(nodes, stages, degree, numbers):
    """A node leads to itself and its n neighbours i xor 2^b; degree n + 2: to its
    antipode N - 1 - i as well."""
    del numbers
    steps = [0, *(1 << b for b in range(_digits(nodes, 2))), nodes - 1][:degree]
    return _by_targets([np.arange(nodes) ^ step for step in steps], stages)


def _torus_degrees(nodes, branches):
    del branches
    side = math.isqrt(nodes)
    if side < 3 or side**2 != nodes:
        problem = f"a torus has a square of nodes, such as {max(3, side) ** 2}"
        raise ConfigError(WIDTH, f"{nodes}: {problem}")
    return [5]


def torus(nodes, stages, degree, numbers):
    """A node leads to itself and its four neighbours on a square grid without edges."""
    del degree, numbers
    grid = np.arange(nodes).reshape(math.isqrt(nodes), -1)
    moves = [(0, 0), (1, 0), (-1, 0), (0, 1), (0, -1)]
    return _by_targets([np.roll(grid, move, (0, 1)).ravel() for move in moves], stages)


def _any_degree(nodes, branches):
    del branches
    return list(range(1, nodes + 1))


def de_bruijn(nodes, stages, degree, numbers):
    """i leads to (d i + t) mod N, t = 0 ... d - 1 (Imase & Itoh's for any N)."""
    del numbers
    i = degree * np.arange(nodes)
    return _by_targets([(i + t) % nodes for t in range(degree)], stages)


def kautz(nodes, stages, degree, numbers):
    """i leads to (-d i - t) mod N, t = 1 ... d (Imase & Itoh's for any N)."""
    del numbers
    i = degree * np.arange(nodes)
    return _by_targets([(-i - t) % nodes for t in range(1, degree + 1)], stages)


def random_regular(nodes, stages, degree, numbers):
    """d random perfect matchings: every node has d places before and d behind it.

    Each is the best matching for random values, of the places that are still free.
    """
    from scipy.optimize import linear_sum_assignment  # slow to import

    found = np.zeros((1, stages, nodes, nodes), bool)
    for stage in found[0]:
        for _ in range(degree):
            # A place that is taken costs more than all others together.
            costs = numbers.random((nodes, nodes)) + 2 * nodes * stage
            stage[linear_sum_assignment(costs)] = True
    return found


def random(nodes, stages, degree, numbers):
    """Any N d places of a stage."""
    values = numbers.random((1, stages, nodes**2))
    ranks = values.argsort(-1).argsort(-1)
    return (ranks < nodes * degree).reshape(1, stages, nodes, nodes)


def _by_targets(targets: list[np.ndarray], stages: int) -> np.ndarray:
    """The same in every stage: node i leads to `target[i]` of each of the targets."""
    nodes = len(targets[0])
    support = np.zeros((nodes, nodes), bool)
    for target in targets:
        support[np.arange(nodes), target] = True
    return np.repeat(support[None, None], stages, axis=1)


TOPOLOGIES = {
    "butterfly": Topology(_butterfly_degrees, butterfly),
    "de_bruijn": Topology(_any_degree, de_bruijn),
    "hypercube": Topology(_hypercube_degrees, hypercube),
    "kautz": Topology(_any_degree, kautz),
    "parallel_butterfly": Topology(_parallel_degrees, parallel_butterfly),
    "random": Topology(_any_degree, random),
    "random_regular": Topology(_any_degree, random_regular),
    "torus": Topology(_torus_degrees, torus),
}
"""Name -> topology."""


def count_paths(supports: np.ndarray) -> np.ndarray:
    """Paths from each node before a cascade to each behind it: [P, S, N, N] -> [N, N].

    Numbers and not logarithms: exact up to 2^53, where few cascades come.
    """
    total = 0.0
    for branch in np.asarray(supports, np.float64):
        product = branch[0]
        for stage in branch[1:]:
            product = product @ stage
        total = total + product
    return total


def sparse_xavier(key: Key, mask: jax.Array) -> jax.Array:
    """Normal, Var w_ij = 2 / (fan_out_i + fan_in_j), counted on the mask [in, out]."""
    fans = jnp.sum(mask, 1, keepdims=True) + jnp.sum(mask, 0, keepdims=True)
    return _normal(key, mask, 2 / jnp.maximum(fans, 1))


def sparse_he(key: Key, mask: jax.Array) -> jax.Array:
    """Normal, Var w_ij = 2 / fan_in_j, counted on the mask [in, out]."""
    fan_in = jnp.sum(mask, 0, keepdims=True)
    return _normal(key, mask, 2 / jnp.maximum(fan_in, 1))


def _normal(key, mask, variance):
    values = jnp.sqrt(variance) * jax.random.normal(key, mask.shape)
    return jnp.where(mask, values, 0)


LAWS = {"sparse_he": sparse_he, "sparse_xavier": sparse_xavier}
"""Name -> `law(key, mask [in, out]) -> kernel`, 0 where the mask is."""


def draw(key: Key, supports: jax.Array, law: Callable) -> jax.Array:
    """Weights of a cascade: supports [P, S, N, N] -> floats of this shape.

    Fans are those of the whole cascade: an input leads into all its branches, an output
    has something of each. With one branch every stage is drawn for itself.
    """
    branches, stages, nodes, _ = supports.shape
    keys = jax.random.split(key, stages)
    drawn = []
    for number, own in enumerate(keys):
        masks = supports[:, number]
        if number == stages - 1:
            kernel = law(own, masks.reshape(-1, nodes))
            drawn.append(kernel.reshape(masks.shape))
        elif number == 0:
            kernel = law(own, jnp.moveaxis(masks, 0, 1).reshape(nodes, -1))
            kernel = kernel.reshape(nodes, branches, nodes)
            drawn.append(jnp.moveaxis(kernel, 1, 0))
        else:
            drawn.append(jax.vmap(law)(jax.random.split(own, branches), masks))
    return jnp.stack(drawn, 1)
