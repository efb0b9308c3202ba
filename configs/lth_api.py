"""The experiments of K. Dietrich's Keras lottery-ticket API, on MNIST.

An MLP of 128-128-10 with Adam at 0.001, ten epochs in batches of 64. Presets after a
colon: `one_shot` (the default: 80 % of the weights dropped at once), `iterative` (the
same in five equal slices), `session` (beside the ticket every reinitialisation of that
API, with and without the signs), `robust` (20 replicates that differ in everything
random, signs too). `smoke`: seconds, on digits.

Expect (docs/results/lth_api): sparsity 80 / 80 / 40 % of the layers, 79.57 % in all; a
ticket a little above the dense network (97.8 and 97.5 % of the validation split; one
run of that API: 98.1 and 97.4 to 97.9). Takes half a minute on two cores, `iterative`
and `session` two.

    lottery --config=configs/lth_api.py:session --config.data.dir=DATA
"""

from lottery_jax import config as configs


def claim(id, statement, round, measure, relation, expected, tolerance=0.0):
    return dict(
        id=id, statement=statement, quantity="validation_accuracy", round=round,
        measure=measure, relation=relation, expected=expected, tolerance=tolerance,
    )  # fmt: skip


# Of that API's demonstration, one run without a seed. Its dense network went from 97.9
# to 97.4 % in the last two epochs, from 97.0 to 97.9 % in the seven before.
CLAIMS = (
    claim("K1", "dense after ten epochs (%)", 0, "percent", "about", 97.7, 0.5),
    claim("K2", "ticket of 20 % of the weights (%)", 1, "percent", "about", 98.1, 0.3),
    claim("K3", "ticket above dense (points)", 1, "points", "at_least", 0.0),
)


def get_config(arg=None):
    config = configs.default()
    config.data.name = "mnist"
    config.data.validation_size = 5000
    config.data.standardize = "unit"
    config.model.name = "mlp"
    config.model.hidden = (128, 128)
    config.lanes.plan = "map"
    config.train.learning_rate = 1e-3
    config.train.batch_size = 64
    config.train.steps = 10 * 859  # epochs of 55,000 examples
    config.train.eval_every = 859
    config.controls.random = 0
    config.controls.reinit = 1
    config.replicates = 5
    one_shot(config)
    presets = (one_shot, iterative, session, robust, smoke)
    configs.parse_arg(arg, {f.__name__: f for f in presets}, config)
    if config.data.name == "mnist" and config.algorithm.one_shot:
        config.claims = CLAIMS
    return config


def one_shot(config):
    """80 % at once, half of that of the output layer."""
    config.algorithm.one_shot = True
    config.algorithm.rounds = 1
    config.algorithm.prune_fraction = 0.8


def iterative(config):
    """Five slices of 16 % of what there was at first."""
    config.algorithm.one_shot = False
    config.algorithm.ladder = "linear"
    config.algorithm.rounds = 5
    config.algorithm.prune_fraction = 0.16


def session(config):
    """Every way to reset the weights under one mask."""
    for name in ("jitter", "constant", "reinit", "reshuffle"):
        config.controls[name] = 1
    for name in ("constant_signed", "reinit_signed", "reshuffle_signed"):
        config.controls[name] = 1


def robust(config):
    """One experiment, many initial conditions."""
    config.replicates = 20


def smoke(config):
    """Seconds, on digits in place of MNIST: for tests."""
    rounds = config.algorithm.rounds
    configs.shrink(config)
    config.algorithm.rounds = rounds
