"""What Frankle & Carbin's appendices say of LeNet-300-100 that takes several runs.

    cd docs/results/lenet_mnist_appendix
    LOTTERY_DATA_DIR=DATA PYTHONPATH=../../.. python run.py RUNS

runs what is not there yet under the folder RUNS, judges the claims over all of it, and
writes `claims.md` and `summary.csv` (means over replicates) beside this file. Steps per
round and replicates are those of the constants below; the paper has 50,000 and 5.
"""

import sys
from pathlib import Path

import lottery_jax
from configs import lenet_mnist
from lottery_jax.analysis import claims

STEPS, REPLICATES = 2000, 5

ADAM = {"algorithm.rounds": 20}
DROP = "algorithm.prune_fraction"
OUTPUT = "algorithm.output_prune_fraction"

# Rounds of other prune fractions and sizes end where a claim looks.
RUNS = {
    "adam": ADAM | {"controls.reinit": 1, "controls.resample": 1,
                    "controls.noise_half": 1, "controls.noise_3": 1},
    "one_shot": ADAM | {"algorithm.one_shot": True},
    "continue": ADAM | {"algorithm.rewind": "continue"},
    "sgd": {"train.optimizer": "sgd", "train.learning_rate": 0.8,
            "algorithm.rounds": 21},
    "momentum": {"train.optimizer": "momentum", "train.learning_rate": 0.05,
                 "algorithm.rounds": 21},
    "drop_0.1": {DROP: 0.1, OUTPUT: 0.05, "algorithm.rounds": 34},
    "drop_0.4": {DROP: 0.4, OUTPUT: 0.2, "algorithm.rounds": 7},
    "drop_0.6": {DROP: 0.6, OUTPUT: 0.3, "algorithm.rounds": 4},
    "normal_0.1": {"model.initializer": "normal_0.1", "algorithm.rounds": 15},
    "narrow": {"model.name": "mlp", "model.hidden": (100, 34), "algorithm.rounds": 9},
    "wide": {"model.name": "mlp", "model.hidden": (500, 167), "algorithm.rounds": 17},
    "untrained_mask": {"algorithm.score": "large_init", "algorithm.rounds": 7},
}  # fmt: skip

BEST, STEP = "early_stop_test_accuracy", "early_stop_step"


def points(id, statement, lane, round, versus, relation, expected=0.0, tolerance=0.0):
    """A claim about the accuracy at early stop; `versus`: (lane, round)."""
    return dict(
        id=id, statement=f"{statement} (points)", quantity=BEST, measure="points",
        lane=lane, round=round, versus_lane=versus[0], versus_round=versus[1],
        relation=relation, expected=expected, tolerance=tolerance,
    )  # fmt: skip


CLAIMS = (
    *(claim | {"lane": "one_shot/ticket", "versus_lane": "one_shot/ticket"}
      for claim in lenet_mnist.ONE_SHOT_CLAIMS),
    *(points(f"L13 ({name} %)", "resetting is better than going on", "adam/ticket",
             round, ("continue/ticket", round), "at_least")
      for name, round in (("21", 7), ("5.6", 13), ("1.9", 18), ("1.2", 20))),
    dict(id="L15a", statement="SGD at 0.8 stops as early as Adam (times)",
         quantity=STEP, measure="ratio", lane="sgd/ticket", round=0,
         versus_lane="adam/ticket", versus_round=0, relation="about", expected=1.0,
         tolerance=0.5),
    points("L15b", "SGD at 0.8: 0.96 % of the weights suffice", "sgd/ticket", 21,
           ("sgd/ticket", 0), "at_least"),
    points("L16", "momentum at 0.05: 0.96 % suffice", "momentum/ticket", 21,
           ("momentum/ticket", 0), "at_least"),
    points("L17a", "2.8 %: dropping 10 % a round is as good as 20 %",
           "drop_0.1/ticket", 34, ("adam/ticket", 16), "about", 0.0, 0.3),
    points("L17b", "2.8 %: dropping 40 % a round is worse", "drop_0.4/ticket", 7,
           ("adam/ticket", 16), "at_most"),
    points("L17c", "2.6 %: dropping 60 % a round is worse", "drop_0.6/ticket", 4,
           ("adam/ticket", 17), "at_most"),
    *(points(f"L18 ({name} %)", "normal(0.1) is like Glorot", "normal_0.1/ticket",
             round, ("adam/ticket", round), "about", 0.0, 0.3)
      for name, round in (("100", 0), ("21", 7), ("3.6", 15))),
    *(points(f"L19 ({weights:,} weights)", "back at its dense network",
             f"{run}/ticket", round, (f"{run}/ticket", 0), "about", 0.0, 0.3)
      for run, round, weights in (("narrow", 9, 11_110), ("adam", 14, 11_893),
                                  ("wide", 17, 10_986))),
    points("F3", "resampled from survivors: little better than reinit",
           "adam/resample", 7, ("adam/reinit", 7), "about", 0.0, 0.3),
    points("F4", "magnitude before training is worse than reinit",
           "untrained_mask/ticket", 7, ("adam/reinit", 7), "at_most"),
    *(dict(id=id, statement=statement, quantity=f"kept_{what}", lane="adam/ticket",
           round=7, versus_lane="adam/ticket", versus_round=7,
           versus_quantity=f"dropped_{what}", relation="at_least", expected=0.0)
      for id, statement, what in (
          ("F5a", "weights of the ticket move further", "movement"),
          ("F5b", "and rather outwards (part of them)", "outward"))),
    points("F7a", "noise of half a sigma hardly hurts", "adam/noise_half", 7,
           ("adam/ticket", 7), "about", 0.0, 0.2),
    points("F7b", "three sigma still beat a reinit", "adam/noise_3", 7,
           ("adam/reinit", 7), "at_least"),
)  # fmt: skip


def main(folder):
    summaries = {}
    for name, changes in RUNS.items():
        config = lenet_mnist.get_config("iclr2019")
        config.train.steps = STEPS
        config.replicates = REPLICATES
        config.controls.reinit = config.controls.random = 0
        config.claims = ()
        config.update_from_flattened_dict(changes)
        print(f"--- {name}", flush=True)
        summaries[name] = lottery_jax.run(config, Path(folder) / name).summary
    both = claims.together(summaries)
    here = Path(__file__).parent
    verdicts = claims.judge(both, CLAIMS, STEPS)
    (here / "claims.md").write_text(claims.to_markdown(verdicts))
    columns = ["density", "kept", BEST, STEP]
    means = both.groupby(["lane", "round"], sort=False)[columns].mean()
    means.to_csv(here / "summary.csv", float_format="%.6g")
    print(verdicts.drop(columns="statement").to_string())


if __name__ == "__main__":
    main(sys.argv[1])
