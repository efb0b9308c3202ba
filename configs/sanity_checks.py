"""What methods depend on: sanity checks of pruning, one table of methods x checks.

Su et al. (arXiv:2009.11094) and Frankle et al. (arXiv:2009.08576): tickets found at
initialisation train as well with their mask shuffled within layers, with fresh weights,
or found on random labels; tickets of trained networks do not. LeNet-300-100 on digits;
`mnist`: on MNIST, with 2,000 steps; `smoke`: seconds.

Eleven methods (algorithms/methods.py) at 20, 10, 5 and 2 % of the weights, five
replicates. Checks change what masks are found on (`random_labels`, `shuffled_pixels`,
`half_data`) or how (`inverted` scores, `hybrid`: smart ratios per layer); controls
change the ticket: `shuffle`, `reshuffle` (of kept values), `reinit`. The table stands
in `sanity.md`, with intervals and verdicts.

Expect `imp` to depend on weights, places and labels, and what is found before training
on neither weights nor places down to 5 % (docs/results/sanity_checks). Takes three
minutes on two cores, `mnist` ten.

    lottery --config=configs/sanity_checks.py
"""

from lottery_jax import config as configs


def get_config(arg=None):
    config = configs.default("compare")
    config.data.test_size = 500
    config.model.name = "lenet_300_100"
    config.model.initializer = "kaiming_normal"
    config.train.steps = 1000
    config.train.eval_every = 50
    config.lanes.plan = "map"
    config.algorithm.methods = (
        *("random", "uniform", "erk", "smart_ratio"),
        *("magnitude", "snip", "grasp", "synflow"),
        *("one_shot", "imp", "learning_rate"),
    )
    config.algorithm.densities = (0.2, 0.1, 0.05, 0.02)
    config.algorithm.checks = (
        *("inverted", "hybrid"),
        *("random_labels", "shuffled_pixels", "half_data"),
    )
    config.controls.shuffle = 1
    config.controls.reshuffle = 1
    config.controls.reinit = 1
    config.replicates = 5
    presets = {"mnist": mnist, "smoke": smoke}
    return configs.parse_arg(arg, presets, config)


def mnist(config):
    config.data.name = "mnist"
    config.data.validation_size = 5000
    config.data.test_size = None
    config.train.steps = 2000
    config.train.eval_every = 100


def smoke(config):
    """Seconds: for tests."""
    configs.shrink(config)
    config.model.name = "mlp"
    config.model.hidden = (16,)
    config.algorithm.methods = ("smart_ratio", "snip", "imp")
    config.algorithm.checks = ("hybrid", "random_labels")
    config.algorithm.densities = (0.2, 0.1)
    config.algorithm.iterations = 3
    config.controls.reshuffle = 0
