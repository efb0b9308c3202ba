"""Sample complexity of tickets: teacher and student with one hidden layer."""

from lottery_jax import config as configs


def get_config(arg=None):
    config = configs.default("sample_complexity")
    config.data.name = "gaussian"
    config.data.standardize = "none"
    config.data.validation_size = 500
    config.data.test_size = 1500
    config.model.name = "committee"
    config.model.hidden = (5,)  # K
    config.train.optimizer = "momentum"
    config.train.learning_rate = 5.0
    config.train.momentum = 0.9
    config.train.batch_size = 600
    config.train.steps = 600
    config.train.eval_every = 50
    config.algorithm.kept_per_unit = (5, 10, 20, 30, 40, 50)
    config.algorithm.support = 3
    config.algorithm.samples = (25, 50, 75, 100, 150, 200, 250, 300, 400, 600)
    config.lanes.plan = "map"
    config.replicates = 10
    presets = {"smoke": smoke}
    return configs.parse_arg(arg, presets, config)


def smoke(config):
    """Seconds: for tests."""
    config.train.batch_size = 100
    config.train.steps = 40
    config.train.eval_every = 20
    config.algorithm.kept_per_unit = (5, 10)
    config.algorithm.samples = (25, 100)
    config.replicates = 3
