"""Sample complexity of tickets: how many samples does so sparse a network need?

The numerical side of Zhang et al. (arXiv:2110.05667), all numbers our own: teacher and
student are the mean of K = 5 ReLU units on 50 Gaussian inputs; the mask keeps r weights
of each unit. A student starts at relative distance 0.3 and trains on N samples at once
with heavy-ball momentum; it succeeds where it ends within 0.1 % of the teacher. The
lanes `over_wide` have the same masks and a teacher of 3 weights a unit. Rounds differ
in r; the last one keeps all 50.

Preset after a colon: `gradient_descent`, no momentum, 1,000 samples and steps: the
fewer weights a mask keeps, the faster it is there.

Expect that half succeed from 1.2 to 1.4 samples per kept weight on, with the over-wide
masks too: the mask counts and not the teacher. Takes half a minute on two cores.

    lottery --config=configs/sample_complexity.py
"""

from lottery_jax import config as configs


def get_config(arg=None):
    config = configs.default("sample_complexity")
    config.data.name = "gaussian"
    config.data.standardize = "none"
    config.data.validation_size = 500
    config.data.test_size = 1500
    config.model.name = "committee"
    config.model.hidden = (5,)
    config.train.optimizer = "momentum"
    config.train.learning_rate = 5.0
    config.train.momentum = 0.9
    config.train.batch_size = 560  # the largest number of samples
    config.train.steps = 600
    config.train.eval_every = 100
    config.algorithm.kept_per_unit = (5, 10, 20, 40, 50)
    config.algorithm.support = 3
    config.algorithm.samples = (25, 35, 50, 70, 100, 140, 200, 280, 400, 560)
    config.lanes.plan = "map"
    config.replicates = 10
    presets = {"gradient_descent": gradient_descent, "smoke": smoke}
    return configs.parse_arg(arg, presets, config)


def gradient_descent(config):
    """Without momentum, which makes all of them equally fast."""
    config.train.optimizer = "sgd"
    config.train.batch_size = 1000
    config.train.steps = 1000
    config.algorithm.samples = (1000,)


def smoke(config):
    """Seconds: for tests."""
    config.train.batch_size = 100
    config.train.steps = 40
    config.train.eval_every = 20
    config.algorithm.kept_per_unit = (5, 10)
    config.algorithm.samples = (25, 100)
    config.replicates = 3
