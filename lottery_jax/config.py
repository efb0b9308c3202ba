"""The config: every field with its meaning and unit.

A file in `configs/` starts from `default()`, changes what its experiment needs and
returns it; `validation.py` says what the fields may be.
"""

from ml_collections import ConfigDict, config_dict

from lottery_jax.errors import LotteryError, nearest
from lottery_jax.tickets import (
    CONTROLS,
)


def default(algorithm: str = "imp") -> ConfigDict:
    """A complete config: LeNet-like MLP on digits.

    Args:
      algorithm: name in `ALGORITHMS`, which decides the fields of `config.algorithm`.
    """
    config = ConfigDict()

    config.data = ConfigDict()
    config.data.name = "digits"
    config.data.dir = ""  # folder with mnist/ etc.; empty: LOTTERY_DATA_DIR
    config.data.standardize = "mean_std"  # with the numbers of the training split
    config.data.validation_size = 200  # examples held out for early stopping
    config.data.test_size = config_dict.placeholder(
        int
    )  # examples; None: all there are
    config.data.train_size = config_dict.placeholder(int)  # examples; None: the rest
    config.data.classes = config_dict.placeholder(int)  # the first so many; None: all

    config.model = ConfigDict()
    config.model.name = "mlp"
    # Widths (mlp, cascade, committee).
    config.model.hidden = config_dict.placeholder(tuple)
    # Linear stages of a hidden layer, and parallel chains of them (cascade only).
    config.model.stages = config_dict.placeholder(int)
    config.model.branches = config_dict.placeholder(int)
    config.model.initializer = "glorot_normal"  # of kernels
    # Of biases: zeros, uniform, or none, no biases at all; None: zeros (mlp, lenet_*,
    # conv_*).
    config.model.biases = config_dict.placeholder(str)
    config.model.activation = config_dict.placeholder(str)  # None: relu (mlp only)
    config.model.prune_biases = False  # as kernels are

    # A known ticket in the weights at initialisation (an mlp with biases of its own).
    config.planting = ConfigDict()
    # Hand-made for the data circle, helix or relu, or the directory of a run, whose
    # last ticket it is; None: nothing is planted.
    config.planting.target = config_dict.placeholder(str)
    config.planting.replicate = 0  # whose ticket, of a run
    config.planting.mode = "matched"  # how: tickets/planting.py
    config.planting.loudness = 1.0  # its weights, in sizes of the others (matched)

    config.train = ConfigDict()
    # None: cross_entropy, for regression squared_error; logistic and brier: one output
    # for two classes.
    config.train.loss = config_dict.placeholder(str)
    config.train.update(_optimization())
    config.train.steps = 1000  # optimizer steps per round
    config.train.eval_every = 50  # steps between evaluations
    config.train.test_curve = False  # evaluate the test split every time as well
    # dense: masks simulate sparsity; sparse: kept weights alone are computed with, in
    # dense layers and on CPUs; auto: the faster in a trial at the density of the round
    config.train.execution = "auto"

    config.algorithm = FIELDS[algorithm]()

    # Lanes beside the ticket, number per replicate. `random` and `shuffle` have another
    # mask with the same counts, `dense` the whole one, `order` other batches, and all
    # others other weights (tickets/reinitialization.py).
    config.controls = ConfigDict(dict.fromkeys(sorted(CONTROLS), 0))
    if algorithm in ("gradual", "imp"):
        config.controls.reinit = 1
    if algorithm == "imp":
        config.controls.random = 1
    if algorithm == "nets":
        config.controls.update(random=1, reinit=1, shuffle=1)

    config.lanes = ConfigDict()
    config.lanes.plan = "auto"  # vmap, map in chunks, or auto: the faster in a trial
    config.lanes.chunk = 1  # lanes in a chunk of `map`
    # GiB of a device that `auto` may fill; None: most of what is free
    config.lanes.memory_gb = config_dict.placeholder(float)

    config.seed = ConfigDict()
    config.seed.root = 0  # of all random streams ...
    config.seed.init = config_dict.placeholder(int)  # ... but those seeded apart:
    config.seed.order = config_dict.placeholder(int)  # order of the data
    config.seed.split = config_dict.placeholder(int)  # split of the data
    config.seed.control = config_dict.placeholder(int)  # draws of the controls

    # The paper's statements to judge, dicts as in analysis/claims.py; they may change
    # when a run is there already.
    config.claims = ()
    # Measure the error on the line from each ticket to the network that its mask was
    # made from: 30 evaluations of the test split for every ticket.
    config.level_barrier = False
    config.replicates = 5  # independent repetitions of the whole experiment
    # Keep compiled programs in the user's cache directory, for the next start.
    config.compilation_cache = True
    config.tensorboard = False  # event files of every lane, for TensorBoard
    return config


def _optimization() -> ConfigDict:
    """What a training and a search have alike."""
    fields = ConfigDict()
    fields.optimizer = "adam"
    fields.learning_rate = 1.2e-3
    fields.schedule = "constant"  # of the learning rate
    fields.milestones = ()  # steps at which `piecewise` multiplies by gamma
    fields.gamma = 0.1  # factor of `piecewise`
    fields.warmup_steps = 0  # steps of linear warm-up
    fields.momentum = 0.9  # of `momentum`
    fields.weight_decay = 0.0  # per step; not with `adam`
    fields.batch_size = 60  # examples per step
    return fields


def _imp() -> ConfigDict:
    fields = ConfigDict()
    fields.name = "imp"
    fields.rounds = 10  # rounds of pruning after the dense round 0
    # Per round: of the weights left (ladder geometric), of all there were (linear).
    fields.prune_fraction = 0.2
    fields.conv_prune_fraction = config_dict.placeholder(float)  # None: same
    # None: half of prune_fraction layerwise, the same globally; 0: never pruned.
    fields.output_prune_fraction = config_dict.placeholder(float)
    fields.scope = "layerwise"  # who competes: layerwise, global
    # How a geometric ladder of all weights is divided among the layers: by their shapes
    # alone, or as the last tickets of a run (its directory) have it; None: every layer
    # by its own fraction.
    fields.allocation = config_dict.placeholder(str)
    fields.score = "magnitude"  # what to keep
    fields.rewind = "weights"  # what survivors are reset to
    fields.rewind_step = 0  # optimizer step k of the rewind point; 0: init
    fields.pruned = "zero"  # what pruned weights are frozen at
    fields.ladder = "geometric"  # how many weights to keep
    fields.one_shot = False  # every round prunes the network of round 0
    fields.pretrain = True  # False: prune at initialisation, score theta_0
    fields.iterations = 1  # prunings of a round, with new scores after each
    fields.path = "exponential"  # how many each keeps: exponential, linear
    fields.score_examples = 100  # that snip, grasp and grad look at
    fields.retrain = True  # False (one_shot only): evaluate, do not train
    fields.jitter = 0.1  # of `jitter`, in standard deviations of the init
    return fields


def _compare() -> ConfigDict:
    fields = ConfigDict()
    fields.name = "compare"
    fields.methods = ("random", "magnitude", "snip", "synflow", "imp")
    fields.checks = ()  # what changes in how masks are found: algorithms/methods.py
    fields.densities = (0.5, 0.2, 0.1)  # kept of all prunable weights, one per round
    fields.iterations = 100  # prunings of a round, of methods that iterate
    fields.path = "exponential"  # how many each keeps: exponential, linear
    fields.score_examples = 100  # that snip, grasp and grad look at
    fields.jitter = 0.1  # of the control `jitter`, in standard deviations
    # How methods learn scores, those of `RULES` in algorithms/methods.py; weight decay
    # is of scores, in every one of them.
    fields.search = _optimization()
    fields.search.optimizer = "momentum"
    fields.search.learning_rate = 0.1
    fields.search.schedule = "cosine"
    # Of gem_miner, whose scores are 1 where those of edge_popup are 1 / sqrt(fan_in);
    # None: the same.
    fields.search.gem_miner_learning_rate = config_dict.placeholder(float)
    fields.search.steps = 3000  # optimizer steps of a search
    # Steps of an interval: after each gem_miner freezes, but for the last,
    # edge_popup_annealed changes its density, and all evaluate.
    fields.search.update_every = 100
    # lambda of gem_miner's penalty, the sum of p^2: one per density, or one for all
    fields.search.regularization = (0.0,)
    return fields


def _gradual() -> ConfigDict:
    fields = ConfigDict()
    fields.name = "gradual"
    fields.densities = (0.5, 0.2, 0.1)  # kept of every pruned layer, one per round
    fields.whole = ()  # kinds of layers that are not pruned: "conv", "output"
    fields.begin = 0.2  # part of the training at which pruning begins ...
    fields.end = 0.6  # ... and ends
    fields.updates = 20  # of the mask in between
    fields.power = 3  # of the polynomial schedule
    # Evaluations without improvement after which the published comparison stops, for
    # the columns `reported_*`; None: no such columns.
    fields.patience = config_dict.placeholder(int)
    fields.jitter = 0.1  # of the control `jitter`, in standard deviations
    return fields


def _nets() -> ConfigDict:
    fields = ConfigDict()
    fields.name = "nets"
    # The search.
    fields.population = 5  # candidates of a generation
    fields.elites = 2  # of the best, that go on as they are
    fields.generations = 25  # number of the last generation, the first being 0
    fields.patience = config_dict.placeholder(int)  # generations without a better one
    fields.target_fitness = config_dict.placeholder(float)  # at which it ends
    fields.forget_last = False  # the best of the last generation does not count
    # Fitness: a term of loss, plus a penalty on the density.
    fields.term = "validation_loss"  # of a candidate after its training
    fields.trains = True  # False: candidates are measured as they are
    fields.search = _optimization()  # how a candidate is trained
    fields.search.steps = 200  # optimizer steps of a candidate
    fields.density = "global"  # of all weights, or layer_mean: mean over layers
    fields.penalty = "quadratic"  # quadratic, one_sided (not below the target), none
    fields.penalty_weight = 1.0  # factor on the penalty, in nats at density 1
    fields.target_density = 0.2  # kept fraction at which the penalty is 0
    # Generation 0.
    fields.weights = "model"  # as model.initializer, or flat_kaiming: one small bound
    fields.initial_density = 1.0  # probability that a weight is kept
    fields.shared_mask = False  # one mask for all candidates
    # Parents and children.
    fields.select = "roulette"  # how parents are chosen: tickets/genetics.py
    fields.tournament = 2  # candidates of a tournament, or that a truncation leaves
    fields.pairs = "random"  # second parents: random, or ring: the next first one
    fields.crossover = 0.5  # probability of an entry of the first parent
    fields.coupled = True  # weight and mask bit of a place come from one parent
    # Probability that an entry of a child changes, in this order.
    fields.noise = 0.1  # a weight gets noise ...
    fields.noise_std = 0.1  # ... of this standard deviation
    fields.resample = 0.1  # a weight is drawn anew ...
    # ... from N(0, this ** 2); None: as in generation 0
    fields.resample_std = config_dict.placeholder(float)
    fields.disable = 0.2  # a weight is pruned
    fields.enable = 0.0  # a pruned weight comes back
    fields.flip = 0.0  # a kept weight is pruned, or a pruned one comes back
    fields.swap = 0  # kept weights of a child that change places with pruned ones
    fields.migrants = 0  # new candidates in place of children, per generation
    # What the ticket is compared with.
    fields.imp_rounds = 7  # levels of iterative pruning, down to the ticket's density
    fields.jitter = 0.1  # of the control `jitter`, in standard deviations
    return fields


def _sample_complexity() -> ConfigDict:
    fields = ConfigDict()
    fields.name = "sample_complexity"
    # Weights of each hidden unit that the mask keeps, one number per round.
    fields.kept_per_unit = (5, 10, 20, 40)
    fields.support = 3  # of them in the teacher, lanes `over_wide`
    fields.samples = (50, 100, 200, 400)  # that a lane trains on, one lane each
    fields.distance = 0.3  # of the start from the teacher, in lengths of the teacher
    fields.tolerance = 1e-3  # distance of a success, the same
    return fields


def _strong_tickets() -> ConfigDict:
    fields = ConfigDict()
    fields.name = "strong_tickets"
    fields.population = 100  # candidates
    fields.objective = "accuracy"  # or cross_entropy, of the training split
    fields.max_generations = 300  # after which a search stops
    fields.min_generations = 100  # before which it does not stop for stagnation
    fields.patience = 50  # generations with the same best fitness until it stops
    fields.target_accuracy = 1.0  # of the training split, at which it stops
    fields.generations_per_round = 50
    fields.recombination_rate = 0.3  # of the population mate
    fields.mutation_rate = 0.1  # of population and children have a mutant
    fields.mutation_bits = 1  # most that are flipped in a mutant
    fields.migration_rate = 0.1  # new random candidates, in populations
    fields.parent_rate = 0.3  # of the population, the best, are mated with
    fields.gated = False  # rates are probabilities, as published; slower
    fields.distinct = False  # no two candidates are as fit and as small
    fields.initial_density = 0.5  # of random candidates
    # Accuracy on the training split that every new candidate must have: none, static,
    # adaptive (algorithms/bounds.py).
    fields.bound = "none"
    fields.bound_start = 0.7  # that accuracy at first
    fields.bound_floor = 0.51  # adaptive: below which it is not softened
    fields.bound_patience = 16  # adaptive: tries, more than which soften it
    fields.tries = 20  # at most, for a candidate that reaches the bound
    # At most, for one with a path from an input to an output; 0: it needs none.
    fields.path_tries = 0
    fields.sizes = 128  # of which the most accurate candidate is remembered
    fields.max_density = config_dict.placeholder(float)  # of the ticket; None: any
    fields.prune = True  # bits of the ticket one by one, at the end
    fields.prune_on = "validation"  # whose accuracy decides; both: training's too
    fields.prune_tolerance = 0.0  # accuracy that may be lost by that
    # Report beside it what choosing and pruning on the test split would: columns
    # test_selected_*.
    fields.test_selected = False
    fields.chunk = 1  # candidates evaluated at once; accelerators want 64 or more
    fields.jitter = 0.1  # of the control `jitter`, in standard deviations
    return fields


def _supermask() -> ConfigDict:
    fields = ConfigDict()
    fields.name = "supermask"
    fields.initial_logits = (0.0,)  # of all weights at first, one per round
    fields.rescale = False  # kernels by size over number kept (DWR)
    fields.samples = 10  # masks over which an accuracy is averaged
    fields.jitter = 0.1  # of the control `jitter`, in standard deviations
    return fields


def _topologies() -> ConfigDict:
    fields = ConfigDict()
    fields.name = "topologies"
    fields.topologies = ("butterfly", "random_regular", "random")  # side by side
    fields.degrees = (2, 4, 8)  # weights of a node in every stage, one per round
    fields.law = "sparse_xavier"  # of initial weights: sparse_xavier, sparse_he
    # Beside every topology a lane that starts from model.initializer's dense stages.
    fields.dense_init = True
    return fields


FIELDS = {
    "compare": _compare,
    "gradual": _gradual,
    "imp": _imp,
    "nets": _nets,
    "sample_complexity": _sample_complexity,
    "strong_tickets": _strong_tickets,
    "supermask": _supermask,
    "topologies": _topologies,
}
"""Name of an algorithm -> its fields."""


def parse_arg(arg: str | None, presets: dict, config: ConfigDict) -> ConfigDict:
    """Applies the presets named after the colon of `--config=file.py:one,two`.

    Args:
      arg: comma-separated names, or None.
      presets: name -> function that changes a config.
      config: changed in place and returned.

    Raises:
      LotteryError: a name that is no preset.
    """
    for name in arg.split(",") if arg else ():
        if name not in presets:
            raise LotteryError(
                f"--config: no preset {name!r}; {nearest(name, presets)}"
            )
        presets[name](config)
    return config


def shrink(config: ConfigDict) -> None:
    """Digits and 20 steps in place of data and budgets: for `smoke` presets."""
    config.data.name = "digits"
    config.data.validation_size = 100
    config.data.test_size = 100
    config.train.batch_size = 60
    config.train.steps = 20
    config.train.eval_every = 10
    config.lanes.plan = "map"  # no trial
    config.replicates = 2
    if "search" in config.algorithm:
        config.algorithm.search.batch_size = 60
        config.algorithm.search.steps = 20
        if "update_every" in config.algorithm.search:
            config.algorithm.search.update_every = 5
    if "samples" in config.algorithm:
        config.algorithm.samples = 2
    if "rounds" in config.algorithm:
        config.algorithm.rounds = 2
    config.claims = ()
