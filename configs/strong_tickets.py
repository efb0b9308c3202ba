"""stub"""
from lottery_jax import config as configs


def get_config(arg=None):
    config = configs.default("strong_tickets")
    config.data.validation_size = 10_000
    config.model.hidden = (20,)
    config.model.initializer = "uniform"
    config.model.biases = "uniform"
    config.controls.random = 1
    config.replicates = 10
    moons(config)
    return configs.parse_arg(arg, {"moons":moons,"circles":circles}, config)

def moons(config):
    config.data.name = "moons"
    config.data.standardize = "range_0.7"

def circles(config):
    config.data.name = "circles"
    config.data.standardize = "none"
