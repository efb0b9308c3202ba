"""Do two trained networks lie in one valley? (Frankle et al., arXiv:1912.05671.)"""

from collections.abc import Callable

import jax
import jax.numpy as jnp

from lottery_jax.types import Params

POINTS = 30


def along(measure: Callable[[Params], jax.Array], a: Params, b: Params, points=POINTS):
    """`measure` at evenly spaced points of the straight line from a to b: [points].

    The first is a, the last b.
    """

    def at(t):
        return measure(jax.tree.map(lambda x, y: (1 - t) * x + t * y, a, b))

    return jax.lax.map(at, jnp.linspace(0.0, 1.0, points))


def barrier(values: jax.Array) -> jax.Array:
    """Highest value along a path [points] above the mean of its ends, in its unit.

    Of an error this is the instability of linear interpolation (sec. 2).
    """
    return jnp.max(values, axis=-1) - (values[..., 0] + values[..., -1]) / 2


def distance(a: Params, b: Params) -> tuple[jax.Array, jax.Array]:
    """L2 distance of two pytrees, and the angle between them in degrees."""

    def dot(x, y):
        return sum(jax.tree.leaves(jax.tree.map(lambda p, q: jnp.vdot(p, q), x, y)))

    apart = jax.tree.map(jnp.subtract, a, b)
    cosine = dot(a, b) / jnp.sqrt(dot(a, a) * dot(b, b))
    return jnp.sqrt(dot(apart, apart)), jnp.degrees(jnp.arccos(jnp.clip(cosine, -1, 1)))
