"""Other values for kept weights than those they were rewound to.

Each tells what about the rewind point matters: its values, their sizes, their places,
their signs (Frankle & Carbin, arXiv:1803.03635, app. F; Zhou et al., arXiv:1905.01067,
sec. 3; the Keras LTH API of K. Dietrich). With theta the rewind point and sigma the
standard deviation of the layer at initialisation, per kernel:

name            value of a kept weight                          with `_signed`
reinit          a fresh draw of the network                     |value| sign(theta)
permute         theta, permuted over all of the kernel          |value| sign(theta)
reshuffle       theta, permuted over what is kept               within either sign
resample        drawn from what is kept of theta, "D_m"         |value| sign(theta)
constant        sigma, sign at random                           |value| sign(theta)
jitter          theta + N(0, (s sigma)^2), s = `jitter`         |value| sign(theta)
noise_half ...  theta + N(0, (s sigma)^2), s = 1/2, 1, 2, 3     |value| sign(theta)

The sign of 0 is positive. Leaves that are never pruned stay at the rewind point, but
for a fresh draw, which is of everything.
"""

from collections.abc import Callable

import jax
import jax.numpy as jnp

from lottery_jax.types import Context, Params

Draw = Callable[[Context], Params]


def reinit(context: Context) -> Params:
    """A fresh draw from the law of the initialisation."""
    return context.model.init(context.key)[0]


def permute(context: Context) -> Params:
    """Every kernel's values in another order; Zhou et al. call it random reinit."""
    return _per_kernel(
        context,
        lambda key, theta, kept, sigma: jax.random.permutation(
            key, theta.ravel()
        ).reshape(theta.shape),
    )


def reshuffle(context: Context) -> Params:
    """The kept values in another order among the kept places."""
    return _per_kernel(
        context, lambda key, theta, kept, sigma: _shuffle(key, theta, kept, 0 * kept)
    )


def reshuffle_signed(context: Context) -> Params:
    """The same among positive and among negative values, each for itself."""
    return _per_kernel(
        context,
        lambda key, theta, kept, sigma: _shuffle(key, theta, kept, theta < 0),
    )


def resample(context: Context) -> Params:
    """Drawn with replacement from the kept values (arXiv:1803.03635, app. F)."""

    def draw(key, theta, kept, sigma):
        # Kept ones first; nobody sees what an empty layer gets.
        order = jnp.argsort(~kept.ravel())
        num = jnp.maximum(1, jnp.sum(kept))
        return theta.ravel()[order[jax.random.randint(key, theta.shape, 0, num)]]

    return _per_kernel(context, draw)


def constant(context: Context) -> Params:
    """Plus or minus the standard deviation of the layer's initialisation."""
    return _per_kernel(
        context,
        lambda key, theta, kept, sigma: (
            sigma * jax.random.rademacher(key, theta.shape, theta.dtype)
        ),
    )


def jitter(context: Context) -> Params:
    """White noise of `jitter` standard deviations of the layer's initialisation."""
    return _add_noise(context, context.jitter)


def noise(scale: float) -> Draw:
    """White noise of so many standard deviations (arXiv:1803.03635, app. F)."""
    return lambda context: _add_noise(context, scale)


def signed(draw: Draw) -> Draw:
    """The sizes that `draw` gives with the signs of the rewind point."""

    def drawn(context):
        return jax.tree.map(
            lambda value, theta, prunable: (
                jnp.where(theta < 0, -1, 1) * jnp.abs(value) if prunable else value
            ),
            draw(context),
            context.rewind_point,
            context.prunable,
        )

    return drawn


def _add_noise(context, scale):
    return _per_kernel(
        context,
        lambda key, theta, kept, sigma: (
            theta + scale * sigma * jax.random.normal(key, theta.shape, theta.dtype)
        ),
    )


def _per_kernel(context, draw):
    """`draw(key, theta, kept, sigma)` for every prunable leaf."""
    structure = jax.tree.structure(context.prunable)
    keys = jax.random.split(context.key, structure.num_leaves)
    return jax.tree.map(
        lambda key, theta, kept, init, prunable: (
            draw(key, theta, kept, jnp.std(init)) if prunable else theta
        ),
        jax.tree.unflatten(structure, keys),
        context.rewind_point,
        context.mask,
        context.init,
        context.prunable,
    )


def _shuffle(key, theta, kept, group):
    """Permutes the kept values among the kept places of the same group (an integer)."""
    group = jnp.where(kept, group, 2).ravel()
    values = theta.ravel()
    chance = jax.random.uniform(key, values.shape)
    places = jnp.lexsort((jnp.arange(values.size), group))
    values = values.at[places].set(values[jnp.lexsort((chance, group))])
    return jnp.where(kept, values.reshape(theta.shape), theta)


UNSIGNED = {
    "constant": constant,
    "jitter": jitter,
    "noise_1": noise(1.0),
    "noise_2": noise(2.0),
    "noise_3": noise(3.0),
    "noise_half": noise(0.5),
    "permute": permute,
    "reinit": reinit,
    "resample": resample,
}

REINITS = {
    **UNSIGNED,
    **{f"{name}_signed": signed(draw) for name, draw in UNSIGNED.items()},
    "reshuffle": reshuffle,
    "reshuffle_signed": reshuffle_signed,
}
"""Name -> `draw(context) -> params`."""
