"""Pruning while training against lottery tickets, LeNet-5 on MNIST (Theys96).

The experiment of Havinga & Sawhney (Theys96/lottery-ticket-hypothesis, 2020): a network
whose two hidden dense layers are pruned within one training (lane `gradual`), the
ticket of the mask it ends with, a fresh draw under that mask (`reinit`), and the dense
network (round 0).

Presets after a colon: `fair` (the default): standardised inputs, as many steps for
everyone, accuracy at the lowest validation loss. `published`: inputs of 0 to 255 at a
rate of 0.01; dense networks and tickets stopped by patience, each on another quantity,
the pruned network never (columns `reported_*`). Behind one of them `short` (seven
minutes on two cores) or `smoke` (seconds, on digits).

Densities, in the claims too, are those of the two layers; tables count all kernels. The
claims are about the densities of the preset: with others, or without reinits, set
`--config.claims=()`.

Expect 98.5 to 99 % down to 5 % of the weights of those layers and little between the
arms: the published medians of ticket and reinit differ by 0.1 points at 10 %. In full,
20 replicates of 500 epochs, it is for an accelerator.

    lottery --config=configs/theys.py:published --config.data.dir=DATA
"""

from lottery_jax import config as configs

# Published medians at a density: statement, lane, the one it is compared with, points.
# Dense is the published mean (98.587 %); tolerances are ours, a published box is 0.17
# points on average.
CLAIMS = (
    (0.5, "pruned while trained against dense", "gradual", "dense", 0.33),
    (0.5, "pruned while trained against its ticket", "gradual", "ticket", 0.3),
    (0.1, "ticket against dense", "ticket", "dense", 0.31),
    (0.1, "ticket against reinit", "ticket", "reinit", 0.125),
    (0.05, "ticket against reinit", "ticket", "reinit", 0.065),
    (0.02, "ticket against reinit", "ticket", "reinit", 0.11),
    (0.01, "ticket against reinit", "ticket", "reinit", -0.015),
    (0.01, "pruned while trained against dense", "gradual", "dense", -0.77),
)
TOLERANCE = {"dense": 0.15, "ticket": 0.15, "reinit": 0.1}  # points


def claims(densities, quantity):
    """Those about densities that the config has; round 0 is dense."""
    return tuple(
        dict(
            id=f"T{number}", statement=f"{density:.0%}: {statement} (points)",
            quantity=quantity, lane=lane, round=1 + densities.index(density),
            versus_lane="ticket" if versus == "dense" else versus,
            versus_round=0 if versus == "dense" else 1 + densities.index(density),
            measure="points", relation="about", expected=points,
            tolerance=TOLERANCE[versus],
        )
        for number, (density, statement, lane, versus, points) in enumerate(CLAIMS, 1)
        if density in densities
    )  # fmt: skip


def get_config(arg=None):
    config = configs.default("gradual")
    config.data.name = "mnist"
    config.data.validation_size = 5000
    config.model.name = "lenet_5"
    config.model.initializer = "glorot_uniform"
    config.lanes.plan = "map"
    config.train.optimizer = "adam"
    config.train.batch_size = 550  # 100 steps are an epoch
    config.train.steps = 50_000
    config.train.eval_every = 100
    config.algorithm.densities = (0.5, 0.33, 0.2, 0.1, 0.05, 0.02, 0.01)
    config.algorithm.whole = ("conv", "output")
    config.controls.reinit = 1
    config.replicates = 20
    fair(config)
    presets = (fair, published, short, smoke)
    configs.parse_arg(arg, {f.__name__: f for f in presets}, config)
    reported = "reported" if config.algorithm.patience else "early_stop"
    if config.data.name == "mnist":
        config.claims = claims(config.algorithm.densities, f"{reported}_test_accuracy")
    return config


def fair(config):
    """Equal budgets, and the validation split decides."""
    config.data.standardize = "mean_std"
    config.train.learning_rate = 1.2e-3
    config.train.test_curve = False
    config.algorithm.patience = None


def published(config):
    """As in the report: patience of 20 epochs."""
    config.data.standardize = "none"
    config.train.learning_rate = 0.01
    config.train.test_curve = True
    config.algorithm.patience = 20


def short(config):
    """Seven minutes on two cores: less than two epochs in smaller batches."""
    config.train.batch_size = 60
    config.train.steps = 1500
    config.train.eval_every = 250
    config.algorithm.densities = (0.5, 0.1, 0.02)
    config.replicates = 5
    if config.algorithm.patience:
        config.algorithm.patience = 2


def smoke(config):
    """Seconds, on digits in place of MNIST: for tests."""
    configs.shrink(config)
    config.model.name = "mlp"
    config.model.hidden = (32, 16)
    config.train.steps = 50
    config.algorithm.densities = (0.5, 0.1)
    config.algorithm.whole = ("output",)
    if config.algorithm.patience:
        config.algorithm.patience = 2
