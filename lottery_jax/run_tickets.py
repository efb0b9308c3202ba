"""Tickets of a run, to take away: a mask, and the weights that it starts from."""

import hashlib
import json
import os

import jax
import numpy as np
from ml_collections import ConfigDict

from lottery_jax import assembly, rng, stacks, tasks
from lottery_jax.errors import TicketError
from lottery_jax.reporting import results
from lottery_jax.tickets import REWINDS, masks
from lottery_jax.types import Origin, Ticket


def ticket_of(
    workdir: str | os.PathLike, round: int | None = None, replicate: int = 0
) -> Ticket:
    """The ticket of a run of `imp`: theta_k under the mask of a round.

    Args:
      workdir: directory of the run.
      round: its number; None: the last one that is there.
      replicate: which of them.

    Raises:
      LotteryError: no such run, round or replicate; another algorithm, a rewind that
        goes on from trained weights, which are not kept, or pruned weights that were
        frozen at other values than zero.
    """
    found = results.load_results(workdir)
    config = ConfigDict(found.config)
    algorithm = config.algorithm
    if algorithm.name != "imp":
        problem = f"a run of {algorithm.name}: its masks are in load_masks({workdir})"
        raise TicketError(f"{workdir} is {problem}")
    if REWINDS[algorithm.rewind].survivors != "rewind_point":
        problem = f"its tickets start from what `{algorithm.rewind}` left, which is not"
        raise TicketError(f"{workdir}: {problem} kept")
    if algorithm.pruned != "zero":
        problem = f"{algorithm.pruned}: a ticket's are zero"
        raise TicketError(f"{workdir}: its pruned weights were frozen at {problem}")
    if not 0 <= replicate < config.replicates:
        problem = f"no replicate {replicate}; there are 0 to {config.replicates - 1}"
        raise TicketError(f"{workdir} has {problem}")
    number = len(found.certificates) - 1 if round is None else round
    stored = results.load_masks(workdir, number)
    task, state = assembly.load_state(config, workdir)
    key = rng.stream(tasks.make_roots(config), "init", replicate)
    params = stacks.take(state.rewind_point, replicate)
    own = {name: mask[replicate] for name, mask in stored.items()}
    mask = masks.from_named(own, params)
    origin = None
    if not config.algorithm.rewind_step and config.planting.target is None:
        model = {k: v for k, v in found.config["model"].items() if v is not None}
        model.pop("prune_biases")
        text = json.dumps(found.config, sort_keys=True)
        origin = Origin(
            model=model,
            input_shape=task.dataset.train.x.shape[1:],
            num_outputs=jax.eval_shape(
                lambda p, x: task.model.apply(p, {}, x, train=False)[0],
                params,
                task.dataset.train.x[:1],
            ).shape[-1],
            key=tuple(np.asarray(jax.random.key_data(key)).tolist()),
            config_hash=hashlib.sha256(text.encode()).hexdigest(),
        )
    return Ticket(masks.apply(params, mask), mask, origin)
