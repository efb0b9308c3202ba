"""XOR with ten hidden units: the smallest network in which a ticket can be found.

Uniform points of the unit square, labelled by XOR of their rounded coordinates, as in
NeTS's noisy XOR; iterative magnitude pruning (arXiv:1803.03635). Expect at 40 % of the
weights: ticket 95 %, reinit 79 %, random 64 %; at 30 % nobody learns. Takes 15 seconds.

    lottery --config=configs/xor.py
"""

from lottery_jax import config as configs


def get_config(arg=None):
    config = configs.default()
    config.data.name = "xor"
    config.data.validation_size = 500
    config.data.test_size = 500
    config.model.hidden = (10,)
    config.train.learning_rate = 1e-2
    config.train.batch_size = 50
    config.train.steps = 2000
    config.train.eval_every = 100
    config.algorithm.rounds = 8
    config.lanes.plan = "vmap"
    config.replicates = 20
    return configs.parse_arg(arg, {"smoke": smoke}, config)


def smoke(config):
    """Seconds: for tests."""
    config.train.steps = 40
    config.train.eval_every = 20
    config.algorithm.rounds = 2
    config.replicates = 3
