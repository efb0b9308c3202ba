"""LeNet-300-100 on MNIST, iterative magnitude pruning (arXiv:1803.03635).

Presets after a colon: `iclr2019` (the paper, default), `google_code_2018` (its released
code), `openlth_default` (OpenLTH). Behind one of them may stand `one_shot` (every round
prunes the dense network) and `smoke`: `:google_code_2018,one_shot`. `iclr2019` and
`iclr2019,one_shot` end with a table of the paper's claims and their verdicts.

Expect (two replicates of 3,000 steps a round, docs/results/lenet_mnist_3000): dense
97.3 %, ticket 98.1 % at 7 % of the weights and 97.1 % at 1.2 %, reinit 94.2 % there.
That takes 3 minutes on two cores; the full `iclr2019`, 31.5 million lane-steps, hours.

    lottery --config=configs/lenet_mnist.py:iclr2019 --config.data.dir=DATA
"""

from lottery_jax import config as configs


def claim(id, statement, quantity, round, measure, relation, expected, **fields):
    return dict(
        id=id, statement=statement, quantity=quantity, round=round, measure=measure,
        relation=relation, expected=expected, **fields,
    )  # fmt: skip


STEP, BEST, LAST = "early_stop_step", "early_stop_test_accuracy", "test_accuracy"
REINIT_7 = {"versus_lane": "reinit", "versus_round": 7}

# Rounds: 51.3 % is 3, 21.1 % 7, 13.5 % 9, 5.6 % 13, 3.6 % 15, 2.9 % 16, 2.3 % 17. Of
# L1, L4, L5, L7 and L8 the tolerances are those that an independent reproduction had
# registered beforehand. The paper has L5 as "up to 0.35" at no density, L5b as about
# 100 %, L9 as 100 %, L14 without a number. Steps depend on the budget, there 50,000.
CLAIMS = (
    claim("L1", "ticket stops earlier than dense (%)", STEP, 7,
          "percent_earlier", "about", 38.0, tolerance=15.0),
    claim("L2", "at 3.6 % it stops when dense does (% earlier)", STEP, 15,
          "percent_earlier", "about", 0.0, tolerance=15.0),
    claim("L3", "accuracy above dense, more than 0.3 (points)", BEST, 9,
          "points", "at_least", 0.3),
    claim("L4", "accuracy back at dense (points)", BEST, 15,
          "points", "about", 0.0, tolerance=0.3),
    claim("L5", "accuracy above dense at the end (points)", LAST, 9,
          "points", "about", 0.35, tolerance=0.3),
    claim("L5b", "the ticket fits the training data (%)", "train_accuracy", 17,
          "percent", "at_least", 99.5),
    claim("L6", "reinit is below dense (points)", BEST, 7,
          "points", "at_most", 0.0, lane="reinit", versus_round=0),
    claim("L6b", "the ticket falls below dense (points)", BEST, 16,
          "points", "at_most", 0.0),
    claim("L7", "ticket learns faster than reinit (times)", STEP, 7,
          "ratio", "about", 2.51, tolerance=0.9, **REINIT_7),
    claim("L8", "accuracy above reinit (points)", BEST, 7,
          "points", "about", 0.5, tolerance=0.4, **REINIT_7),
    claim("L9", "reinit fits the training data (%)", "train_accuracy", 13,
          "percent", "at_least", 99.5, lane="reinit"),
    claim("L12a", "51.3 % stops before dense (% earlier)", STEP, 3,
          "percent_earlier", "at_least", 0.0),
    claim("L12b", "21.1 % stops before 51.3 % (% earlier)", STEP, 7,
          "percent_earlier", "at_least", 0.0, versus_round=3),
    claim("L12c", "3.6 % stops after 21.1 % (% earlier)", STEP, 15,
          "percent_earlier", "at_most", 0.0, versus_round=7),
    claim("L14", "reinit above random masks (points)", BEST, 13,
          "points", "at_least", 0.0, lane="reinit", versus_lane="random",
          versus_round=13),
)  # fmt: skip

ONE_SHOT_CLAIMS = (
    claim("L10a", "64.1 % (paper: from 67.5 %) stops before dense (% earlier)", STEP, 2,
          "percent_earlier", "at_least", 0.0),
    claim("L10b", "21.1 % (paper: to 17.6 %) stops before dense (% earlier)", STEP, 7,
          "percent_earlier", "at_least", 0.0),
    claim("L11a", "80.0 % (paper: from 95.0 %) is above dense (points)", BEST, 1,
          "points", "at_least", 0.0),
    claim("L11b", "5.6 % (paper: to 5.17 %) is above dense (points)", BEST, 13,
          "points", "at_least", 0.0),
)  # fmt: skip


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
    config.claims = CLAIMS


def google_code_2018(config):
    """The released code: gradient descent on L2-normalised images, 20 trials.

    It has no validation split; here 5,000 of its 60,000 examples are held out, so that
    there is an early-stop step.
    """
    config.claims = ()
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
    config.claims = ()
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
    """Every round prunes the dense network of round 0, straight to its density."""
    config.algorithm.one_shot = True
    config.claims = ONE_SHOT_CLAIMS if config.claims else ()


def smoke(config):
    """Seconds, on digits in place of MNIST: for tests."""
    claims = config.claims
    configs.shrink(config)
    config.claims = tuple(
        claim
        for claim in claims
        if max(claim["round"], claim.get("versus_round", 0)) <= config.algorithm.rounds
    )
