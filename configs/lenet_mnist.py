"""LeNet-300-100 on MNIST, iterative magnitude pruning (arXiv:1803.03635).

Presets after a colon: `iclr2019` (the paper, default), `google_code_2018` (its released
code), `openlth_default` (OpenLTH). Behind one of them may stand `one_shot` (one
round to 21.1 %) and `smoke`: `:google_code_2018,one_shot`.

Expect (two replicates of 3,000 steps a round, docs/results/lenet_mnist_3000): dense
97.3 %, ticket 98.1 % at 7 % of the weights and 97.1 % at 1.2 %, reinit 94.2 % there.
That takes 3 minutes on two cores; the full `iclr2019`, 31.5 million lane-steps, hours.

    lottery --config=configs/lenet_mnist.py:iclr2019 --config.data.dir=DATA
"""

from lottery_jax import config as configs


def get_config(arg=None):
    config = configs.default()
    config.data.name = "mnist"
    config.data.validation_size = 5000
    config.model.name = "lenet_300_100"
    config.lanes.plan = "map"
    iclr2019(config)
    presets = (iclr2019, google_code_2018, openlth_default, one_shot, smoke)
    return configs.parse_arg(arg, {f.__name__: f for f in presets}, config)


def iclr2019(config):
    """Section 2 of the paper: 5 trials, 3 reinits and 2 random masks for each."""
    config.train.optimizer = "adam"
    config.train.learning_rate = 1.2e-3
    config.train.batch_size = 60
    config.train.steps = 50_000
    config.train.eval_every = 100
    config.algorithm.rounds = 20  # to 1.2 %
    config.algorithm.prune_fraction = 0.2
    config.algorithm.output_prune_fraction = 0.1
    config.controls.reinit = 3
    config.controls.random = 2
    config.replicates = 5


def google_code_2018(config):
    """The released code: gradient descent on L2-normalised images, 20 trials.

    It has no validation split; here 5,000 of its 60,000 examples are held out, so that
    there is an early-stop step.
    """
    config.data.standardize = "l2_image"
    config.model.initializer = "glorot_truncated_normal"
    config.train.optimizer = "sgd"
    config.train.learning_rate = 0.1
    config.train.batch_size = 64
    config.train.steps = 50_000
    config.train.eval_every = 100
    config.train.test_curve = True
    config.algorithm.rounds = 30
    config.controls.reinit = 10
    config.controls.random = 0
    config.replicates = 20


def openlth_default(config):
    """OpenLTH: SGD at 0.1, 40 epochs of 469 steps, global pruning, output layer whole.

    It has no validation split either; see `google_code_2018`.
    """
    config.model.initializer = "kaiming_normal"
    config.train.optimizer = "sgd"
    config.train.learning_rate = 0.1
    config.train.batch_size = 128
    config.train.steps = 40 * 469
    config.train.eval_every = 469
    config.algorithm.scope = "global"
    config.algorithm.output_prune_fraction = 0.0
    config.controls.reinit = 1
    config.controls.random = 1


def one_shot(config):
    """One round to the density that seven rounds of 20 % reach: 21.1 %."""
    config.algorithm.rounds = 1
    config.algorithm.prune_fraction = 1 - 0.8**7
    if config.algorithm.output_prune_fraction:
        config.algorithm.output_prune_fraction = 1 - 0.9**7


def smoke(config):
    """Seconds, on digits in place of MNIST: for tests."""
    config.data.name = "digits"
    config.data.validation_size = 100
    config.data.test_size = 100
    config.train.steps = 20
    config.train.eval_every = 10
    config.algorithm.rounds = min(2, config.algorithm.rounds)
    config.replicates = 2
