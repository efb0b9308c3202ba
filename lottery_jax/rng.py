"""Named random streams: adding a stream, lane or replicate moves nobody else's numbers.

One root key per stream; below it `fold_in` by replicate, by stream and by round. The
roots may be seeded apart, which is what studies of stability and connectivity need
(same init, other data order).
"""

import jax

from lottery_jax.types import Key

STREAMS = {"init": 0, "order": 1, "split": 2, "control": 3, "score": 4, "rewind": 5,
           "freeze": 6, "batch": 7, "search": 8}  # fmt: skip
"""Initial weights; order of the data; split of the data; what controls, scores,
rewinds and mask-0 actions draw, where they draw at all; examples for scores; what a
search draws."""


def roots(seed: int, **apart: int | None) -> dict[str, Key]:
    """Root key of every stream: `seed`, or its own seed where `apart` gives one."""
    seeds = {name: apart.get(name) for name in STREAMS}
    return {
        name: jax.random.key(seed if own is None else own)
        for name, own in seeds.items()
    }


def stream(roots: dict[str, Key], name: str, replicate=0, round=0) -> Key:
    """Independent key per (stream, replicate, round); both may be traced ints."""
    key = roots[name]
    for number in (replicate, STREAMS[name], round):
        key = jax.random.fold_in(key, number)
    return key
