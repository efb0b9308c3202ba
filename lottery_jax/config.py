"""The config: every field with its meaning and unit.

A file in `configs/` starts from `default()`, changes what its experiment needs and
returns it. The fields of an algorithm stand in `fields/`, and `validation.py` says what
all of them may be.
"""

import os
import runpy
from collections.abc import Callable
from pathlib import Path

from ml_collections import ConfigDict, config_dict

from lottery_jax.errors import LotteryError, nearest
from lottery_jax.fields import FIELDS, optimization
from lottery_jax.tickets import CONTROLS


def default(algorithm: str = "imp") -> ConfigDict:
    """A complete config: LeNet-like MLP on digits.

    Args:
      algorithm: name in `FIELDS`, which decides the fields of `config.algorithm`.
    """
    config = ConfigDict()

    config.data = ConfigDict()
    config.data.name = "digits"
    config.data.dir = ""  # folder with mnist/ etc.; empty: LOTTERY_DATA_DIR
    config.data.standardize = "mean_std"  # with the numbers of the training split
    config.data.validation_size = 200  # examples held out for early stopping
    config.data.test_size = config_dict.placeholder(int)  # examples; None: all
    config.data.train_size = config_dict.placeholder(int)  # examples; None: the rest
    config.data.classes = config_dict.placeholder(int)  # the first so many; None: all

    config.model = ConfigDict()
    config.model.name = "mlp"
    # Widths (mlp, cascade, committee).
    config.model.hidden = config_dict.placeholder(tuple)
    # Linear stages of a hidden layer, and parallel chains of them (cascade only).
    config.model.stages = config_dict.placeholder(int)
    config.model.branches = config_dict.placeholder(int)
    config.model.initializer = "glorot_normal"  # of kernels
    # Of biases: zeros, uniform, or none, no biases at all; None: zeros (mlp, lenet_*,
    # conv_*).
    config.model.biases = config_dict.placeholder(str)
    config.model.activation = config_dict.placeholder(str)  # None: relu (mlp only)
    config.model.prune_biases = False  # as kernels are

    # A known ticket in the weights at initialisation (an mlp with biases of its own).
    config.planting = ConfigDict()
    # Hand-made for the data circle, helix or relu, or the directory of a run, whose
    # last ticket it is; None: nothing is planted.
    config.planting.target = config_dict.placeholder(str)
    config.planting.replicate = 0  # whose ticket, of a run
    config.planting.mode = "matched"  # how: tickets/planting.py
    config.planting.loudness = 1.0  # its weights, in sizes of the others (matched)

    config.train = ConfigDict()
    # None: cross_entropy, for regression squared_error; logistic and brier: one output
    # for two classes.
    config.train.loss = config_dict.placeholder(str)
    config.train.update(optimization.make())
    config.train.steps = 1000  # optimizer steps per round
    config.train.eval_every = 50  # steps between evaluations
    config.train.test_curve = False  # evaluate the test split every time as well
    # dense: masks simulate sparsity; sparse: kept weights alone are computed with, in
    # dense layers and on CPUs; auto: the faster in a trial at the density of the round
    config.train.execution = "auto"

    config.algorithm = FIELDS[algorithm].make()

    # Lanes beside the ticket, number per replicate. `random` and `shuffle` have another
    # mask with the same counts, `dense` the whole one, `order` other batches, and all
    # others other weights (tickets/reinitialization.py).
    config.controls = ConfigDict(dict.fromkeys(sorted(CONTROLS), 0))
    config.controls.update(FIELDS[algorithm].controls)

    config.lanes = ConfigDict()
    config.lanes.plan = "auto"  # vmap, map in chunks, or auto: the faster in a trial
    config.lanes.chunk = 1  # lanes in a chunk of `map`
    # GiB of a device that `auto` may fill; None: most of what is free
    config.lanes.memory_gb = config_dict.placeholder(float)

    config.seed = ConfigDict()
    config.seed.root = 0  # of all random streams ...
    config.seed.init = config_dict.placeholder(int)  # ... but those seeded apart:
    config.seed.order = config_dict.placeholder(int)  # order of the data
    config.seed.split = config_dict.placeholder(int)  # split of the data
    config.seed.control = config_dict.placeholder(int)  # draws of the controls

    # The paper's statements to judge, dicts as in analysis/claims.py; they may change
    # when a run is there already.
    config.claims = ()
    # Measure the error on the line from each ticket to the network that its mask was
    # made from: 30 evaluations of the test split for every ticket.
    config.level_barrier = False
    config.replicates = 5  # independent repetitions of the whole experiment
    # Keep compiled programs in the user's cache directory, for the next start.
    config.compilation_cache = True
    config.tensorboard = False  # event files of every lane, for TensorBoard
    return config


def load_config(path: str | os.PathLike) -> ConfigDict:
    """The config of a file as the launcher reads it: `load_config("mine.py:smoke")`.

    Args:
      path: of the file, and after a colon what `get_config` gets.

    Raises:
      LotteryError: no such file, or one without `get_config`; what it raises itself.
    """
    file, _, arg = str(path).partition(":")
    return load_function(file, "config")(*([arg] if arg else [])).lock()


def load_function(path: str, kind: str) -> Callable:
    """The function `get_<kind>` of a file.

    Raises:
      LotteryError: no such file, or one without it.
    """
    check_file(path, kind)
    names = runpy.run_path(path)
    if f"get_{kind}" not in names:
        raise LotteryError(f"{path} has no function get_{kind}()")
    return names[f"get_{kind}"]


def check_file(path: str, kind: str):
    """Refuses the path of a config or sweep where there is no file."""
    if not Path(path).is_file():
        known = map(str, Path(path).parent.glob("*.py"))
        raise LotteryError(f"no {kind} file {path}; {nearest(path, known)}")


def parse_arg(arg: str | None, presets: dict, config: ConfigDict) -> ConfigDict:
    """Applies the presets named after the colon of `--config=file.py:one,two`.

    Args:
      arg: comma-separated names, or None.
      presets: name -> function that changes a config.
      config: changed in place and returned.

    Raises:
      LotteryError: a name that is no preset.
    """
    for name in arg.split(",") if arg else ():
        if name not in presets:
            raise LotteryError(
                f"--config: no preset {name!r}; {nearest(name, presets)}"
            )
        presets[name](config)
    return config


def shrink(config: ConfigDict) -> None:
    """Digits and 20 steps in place of data and budgets: for `smoke` presets."""
    config.data.name = "digits"
    config.data.validation_size = 100
    config.data.test_size = 100
    config.train.batch_size = 60
    config.train.steps = 20
    config.train.eval_every = 10
    config.lanes.plan = "map"  # no trial
    config.replicates = 2
    FIELDS[config.algorithm.name].shrink(config.algorithm)
    config.claims = ()
