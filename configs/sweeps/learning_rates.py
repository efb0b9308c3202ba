"""Three learning rates and three scores of any config of `imp`: nine runs, one program.

The table of all stands in the directory of the sweep, as `sweep.csv`.

    lottery-sweep --config=configs/quickstart.py --workdir=runs/learning_rates
                  --sweep=configs/sweeps/learning_rates.py
"""


def get_sweep():
    return [
        {"train.learning_rate": rate, "algorithm.score": score}
        for rate in (3e-4, 1e-3, 3e-3)
        for score in ("magnitude", "movement", "random")
    ]
