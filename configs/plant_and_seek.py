"""Plant 'n' Seek: do methods find a ticket that is known to be there?

Fischer & Burkholz (arXiv:2111.11153) hide a hand-made network in a random one, here of
three hidden layers of 100 units, and judge pruning methods by the accuracy that they
reach. The masks are compared with what was planted as well (`recall`, `precision`).
Presets: `circle` (the default), `helix`, `relu`; `faithful`: planted as in the paper's
code, which gives some layers away; `loud`: weights planted twice as large as the rest;
`sanity`: with the checks of what methods depend on; `smoke`.

Seven methods at five densities, the last being that of the ticket: at initialisation
`random`, `magnitude`, `snip`, `grasp`, `synflow`, and from density to density `imp` and
`imp_synflow`. Expect all but `random` to train well at 10 % and more, and none to find
what was planted: at its own density no more than 6 % of it is kept, little more than by
random masks with layers as dense. Takes a minute on two cores, `sanity` three.

    lottery --config=configs/plant_and_seek.py:circle

A ticket of one's own, found by `imp` on an mlp of as many layers:

    lottery --config=configs/plant_and_seek.py:ticket --config.planting.target=RUN
"""

from lottery_jax import config as configs
from lottery_jax.tickets import targets

HIDDEN = (100, 100, 100)


def get_config(arg=None):
    config = configs.default("compare")
    config.data.standardize = "none"
    config.data.validation_size = 1000
    config.model.name = "mlp"
    config.model.hidden = HIDDEN
    config.model.initializer = "kaiming_normal"
    config.model.prune_biases = True
    config.train.learning_rate = 1e-3
    config.train.batch_size = 32
    config.train.steps = 2810  # 10 epochs
    config.train.eval_every = 281
    config.train.execution = "dense"
    config.lanes.plan = "map"
    config.algorithm.methods = (
        *("random", "magnitude", "snip", "grasp", "synflow"),
        *("imp", "imp_synflow"),
    )
    config.algorithm.score_examples = 40
    config.replicates = 5
    circle(config)
    presets = (circle, helix, relu, ticket, faithful, loud, sanity, smoke)
    return configs.parse_arg(arg, {f.__name__: f for f in presets}, config)


def circle(config):
    task("circle", config)


def helix(config):
    task("helix", config)


def relu(config):
    task("relu", config)


def task(name, config):
    config.data.name = name
    config.planting.target = name
    target = targets.make_target(name, len(HIDDEN) + 2)
    inputs, outputs = len(target[0].kernel), len(target[-1].bias)
    own = targets.density(target, (inputs, *HIDDEN, outputs))
    config.algorithm.densities = (0.5, 0.2, 0.1, 0.05, own)


def ticket(config):
    """A ticket that `quickstart.py` found on digits, in twice the width."""
    config.data.name = "digits"
    config.data.standardize = "mean_std"
    config.data.validation_size = 200
    config.data.test_size = 500
    config.planting.target = ""  # --config.planting.target=RUN
    config.model.hidden = (200, 100)
    config.train.steps = 1000
    config.train.eval_every = 100
    config.train.batch_size = 60
    config.algorithm.densities = (0.5, 0.2, 0.1, 0.045)


def faithful(config):
    config.planting.mode = "faithful"


def loud(config):
    config.planting.loudness = 2.0


def sanity(config):
    config.algorithm.checks = ("inverted", "random_labels")
    config.controls.shuffle = 1
    config.controls.reshuffle = 1


def smoke(config):
    """Seconds: for tests."""
    config.data.train_size = 200
    config.data.validation_size = 100
    config.data.test_size = 100
    config.train.steps = 20
    config.train.eval_every = 10
    config.algorithm.methods = ("random", "synflow", "imp")
    config.algorithm.densities = config.algorithm.densities[1:3]
    config.algorithm.iterations = 3
    config.replicates = 2
