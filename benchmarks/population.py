"""Candidates per second of a population of small networks, by lanes and plan.

    python benchmarks/population.py [--networks=2-10-1] [--lanes=1,16] [--output=FILE]

A candidate is one lane: a network trained for 10 steps and evaluated, as
`training/loop.py` does it, on made data. The time is that of a whole call, evaluation
and dispatch included. The speed-up is over one lane at a time, in the same run. Takes
three minutes on two cores.
"""

import math

import common
from absl import app, flags

from lottery_jax.training.lanes import Plan

STEPS = 10
BATCH = 50
SECONDS = 0.2  # that a timing lasts at least
NUM = 200  # examples to train on, and as many to evaluate

# widths -> most lanes
NETWORKS = {
    "2-10-1": 4096,
    "2-100-1": 4096,
    "64-100-50-10": 256,
    "784-300-100-10": 16,
}

NAMES = common.define_names("networks", NETWORKS)
LANES = flags.DEFINE_list("lanes", ["1", "16", "256", "4096"], "Numbers of lanes.")
REPEATS = flags.DEFINE_integer("repeats", 5, "Timings of each row.")
OUTPUT = flags.DEFINE_string("output", None, "JSON file for the rows.")


def measure(name: str) -> list[dict]:
    """The rows of one network."""
    inputs, *hidden, outputs = map(int, name.split("-"))
    task = common.made_task(
        "mlp", (inputs,), outputs, num=NUM, held_out=NUM, hidden=tuple(hidden)
    )

    def speed(num, plan):
        stacked = common.make_lanes(task, num)
        seconds = common.make_run(task, stacked, Plan(plan), STEPS, BATCH)
        calls = math.ceil(SECONDS / seconds(STEPS))
        timings = [
            sum(seconds(STEPS) for _ in range(calls)) for _ in range(REPEATS.value)
        ]
        speeds = [num * calls / timing for timing in timings]
        return common.middle(speeds, "candidates_per_second")

    alone = speed(1, "map")
    rows = []
    for num in map(int, LANES.value):
        for plan in ("map", "vmap") if num <= NETWORKS[name] else ():
            found = alone if (num, plan) == (1, "map") else speed(num, plan)
            ratio = found["candidates_per_second"] / alone["candidates_per_second"]
            row = {"network": name, "lanes": num, "plan": plan, "steps": STEPS}
            rows.append(row | found | {"speed_up": ratio})
    return rows


def main(argv):
    """Prints a table and writes it."""
    del argv
    common.start()
    rows = [row for name in NAMES.value for row in measure(name)]
    common.report(rows, OUTPUT.value)


if __name__ == "__main__":
    app.run(main)
