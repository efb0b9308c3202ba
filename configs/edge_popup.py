"""Edge-popup: masks of a random network that is never trained (arXiv:1911.13299).

LeNet-300-100 of signed constants without biases on MNIST at three densities: scores
learned per layer (`edge_popup`), with all layers competing (`edge_popup_global`), and
with a density that falls on the way to its target (`..._annealed`, arXiv:2111.11153;
the same of all layers, arXiv:2202.12002). Tickets and their controls, shuffled within
layers and with fresh signed constants, are then trained a little; `gem_miner.py` trains
them longer. Presets after a colon: `kaiming` (normal weights in place of signed
constants), `conv_2` on CIFAR-10, `digits`, and `smoke`.

Expect 96 % without any training at half of the weights; at 10 % 90 % per layer and 95 %
where layers compete (docs/results/edge_popup). On `digits` 98, 90 and 95 %, the last
only where the density falls: at 10 % from the start, the second layer loses all of its
weights. Takes eight minutes on two cores, `digits` one; `conv_2` hours, it was not run
in full here.

    lottery --config=configs/edge_popup.py --config.data.dir=DATA
"""

from lottery_jax import config as configs


def get_config(arg=None):
    config = configs.default("compare")
    config.data.name = "mnist"
    config.data.validation_size = 5000
    config.model.name = "lenet_300_100"
    config.model.initializer = "signed_constant"
    config.model.biases = "none"
    config.train.steps = 300
    config.train.eval_every = 100
    config.lanes.plan = "map"
    config.algorithm.methods = (
        *("edge_popup", "edge_popup_annealed"),
        *("edge_popup_global", "edge_popup_global_annealed"),
    )
    config.algorithm.densities = (0.9, 0.5, 0.1)
    config.algorithm.search.steps = 1500
    config.algorithm.search.update_every = 100
    config.algorithm.search.batch_size = 64
    config.algorithm.search.weight_decay = 5e-4
    config.controls.shuffle = 1
    config.controls.reinit = 1
    config.replicates = 5
    presets = (conv_2, digits, kaiming, smoke)
    return configs.parse_arg(arg, {f.__name__: f for f in presets}, config)


def kaiming(config):
    config.model.initializer = "kaiming_normal"


def conv_2(config):
    """Conv-2 on CIFAR-10, searched and trained for longer."""
    config.data.name = "cifar10"
    config.model.name = "conv_2"
    config.train.learning_rate = 2e-4
    config.train.steps = 10_000
    config.train.eval_every = 500
    config.algorithm.search.steps = 10_000
    config.algorithm.search.update_every = 500
    config.algorithm.densities = (0.5, 0.1, 0.0372)


def digits(config):
    config.data.name = "digits"
    config.data.validation_size = 200
    config.data.test_size = 500


def smoke(config):
    """Seconds, on digits: for tests."""
    configs.shrink(config)
    config.algorithm.methods = ("edge_popup", "edge_popup_global_annealed")
    config.algorithm.densities = (0.5,)
    config.controls.reinit = 0
    if config.model.name == "conv_2":
        config.data.validation_size = config.data.test_size = 20
        config.data.train_size = 60
        config.train.batch_size = config.algorithm.search.batch_size = 10
        config.train.steps = config.train.eval_every = 4
        config.algorithm.search.steps = 6
        config.replicates = 1
