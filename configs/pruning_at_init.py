"""Tickets before training: LeNet-300-100 on MNIST, pruned at initialisation.

Presets after a colon: `synflow` (the default; 100 iterations, Tanaka et al.,
arXiv:2006.05467), `snip` (arXiv:1810.02340), `grasp` (arXiv:2002.07376), `magnitude`,
`random` (uniform in every layer), `erk` and `smart_ratio` (random, with the layer
profiles of arXiv:1911.11134 and arXiv:2009.11094). Every round prunes theta_0 anew, to
10^-0.5 of the round before; the controls are Su et al.'s: the mask shuffled within
layers, and fresh weights. `smoke`: seconds, on digits.

Expect, as Frankle et al. (arXiv:2009.08576) find, that shuffling the masks within
layers changes little: what these scores find is the profile of layers. Below 1 % of
the weights it does matter: `synflow` and `snip` lead there, and lose 30 points and more
when shuffled (docs/results/pruning_at_init). Each takes three minutes on two cores.

    lottery --config=configs/pruning_at_init.py:snip --config.data.dir=DATA
"""

from lottery_jax import config as configs


def get_config(arg=None):
    config = configs.default()
    config.data.name = "mnist"
    config.data.validation_size = 5000
    config.model.name = "lenet_300_100"
    config.model.initializer = "kaiming_normal"
    config.lanes.plan = "map"
    config.train.steps = 10_000
    config.train.eval_every = 250
    config.algorithm.pretrain = False
    config.algorithm.one_shot = True
    config.algorithm.rounds = 5
    config.algorithm.prune_fraction = 0.684  # 10^-0.5 are left
    config.algorithm.scope = "global"
    config.controls.random = 0
    config.controls.shuffle = 1
    config.controls.reinit = 1
    config.replicates = 5
    synflow(config)
    presets = (synflow, snip, grasp, magnitude, random, erk, smart_ratio, smoke)
    return configs.parse_arg(arg, {f.__name__: f for f in presets}, config)


def synflow(config):
    config.algorithm.score = "synflow"
    config.algorithm.iterations = 100


def snip(config):
    one_shot_score("snip", config)


def grasp(config):
    one_shot_score("grasp", config)


def magnitude(config):
    one_shot_score("magnitude", config)


def one_shot_score(name, config):
    config.algorithm.score = name
    config.algorithm.iterations = 1


def random(config):
    profile("uniform", config)


def erk(config):
    profile("erdos_renyi_kernel", config)


def smart_ratio(config):
    profile("smart_ratio", config)


def profile(name, config):
    """A random mask with this profile of layers."""
    one_shot_score("random", config)
    config.algorithm.scope = "layerwise"
    config.algorithm.allocation = name


def smoke(config):
    """Seconds, on digits in place of MNIST: for tests."""
    configs.shrink(config)
    config.algorithm.iterations = min(config.algorithm.iterations, 3)
    config.algorithm.score_examples = 50
