"""Conv-2, Conv-4 and Conv-6 on CIFAR-10, magnitude pruning (arXiv:1803.03635).

Presets after a colon: `conv_2` (default), `conv_4`, `conv_6`, each as in figure 2
of the paper; `smoke`, to be combined with one of them: `:conv_4,smoke`.

Expect, from the paper: tickets above dense accuracy down to 2 % of the weights, by 3.3
to 3.5 points at best. Not run in full here: it is long, use an accelerator.

    lottery --config=configs/conv_cifar10.py:conv_2 --config.data.dir=DATA
"""

from lottery_jax import config as configs


def get_config(arg=None):
    config = configs.default()
    config.data.name = "cifar10"
    config.data.validation_size = 5000
    config.train.batch_size = 60
    config.train.eval_every = 100
    config.algorithm.rounds = 20
    config.algorithm.prune_fraction = 0.2  # of the dense layers
    config.algorithm.output_prune_fraction = 0.1
    config.lanes.plan = "map"  # vmapped convolutions need the memory of all lanes
    config.controls.reinit = 1
    config.controls.random = 1
    conv_2(config)
    presets = (conv_2, conv_4, conv_6, smoke)
    return configs.parse_arg(arg, {f.__name__: f for f in presets}, config)


def conv_2(config):
    config.model.name = "conv_2"
    config.train.learning_rate = 2e-4
    config.train.steps = 20_000
    config.algorithm.conv_prune_fraction = 0.1


def conv_4(config):
    config.model.name = "conv_4"
    config.train.learning_rate = 3e-4
    config.train.steps = 25_000
    config.algorithm.conv_prune_fraction = 0.1


def conv_6(config):
    config.model.name = "conv_6"
    config.train.learning_rate = 3e-4
    config.train.steps = 30_000
    config.algorithm.conv_prune_fraction = 0.15


def smoke(config):
    """Seconds, on digits in place of CIFAR-10: for tests."""
    config.data.name = "digits"
    config.data.validation_size = 20
    config.data.test_size = 20
    config.data.train_size = 100
    config.train.batch_size = 10
    config.train.steps = 4
    config.train.eval_every = 2
    config.algorithm.rounds = 1
    config.controls.random = 0
    config.replicates = 1
