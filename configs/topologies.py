"""Sparse topologies at equal parameters: an MLP of cascades on digits.

Both hidden layers are cascades of six sparse linear stages over 64 = 2^6 nodes
(NeuroFabric, Isakov & Kinsy, arXiv:2002.08339), from weights drawn for the mask and for
dense stages. Presets after a colon: `few` (three stages) and `many` (twelve), which at
twice and at half of the degree have as many weights; `parallel`, sums of butterflies.
`smoke`: seconds.

An open comparison, not a reproduction: the paper's text and code are not public. Expect
93 to 96 %, dense 97 %: regular topologies alike at one degree, a random mask four
points worse at degree 2 and no worse from 4 on, three stages better than six and these
better than twelve; from weights drawn for dense stages 7 to 91 %. Measured in
docs/results/topologies. Takes a minute on two cores.

    lottery --config=configs/topologies.py
"""

from lottery_jax import config as configs


def get_config(arg=None):
    config = configs.default("topologies")
    config.data.test_size = 400
    config.model.name = "cascade"
    config.model.stages = 6
    config.lanes.plan = "map"
    config.algorithm.topologies = (
        "butterfly",
        "de_bruijn",
        "hypercube",
        "kautz",
        "random",
        "random_regular",
        "torus",
    )
    config.algorithm.degrees = (2, 4, 5, 8)  # 768 to 3072 weights a cascade
    presets = (few, many, parallel, smoke)
    return configs.parse_arg(arg, {f.__name__: f for f in presets}, config)


def few(config):
    config.model.stages = 3
    config.algorithm.degrees = (4, 5, 8, 16)
    config.algorithm.dense_init = False


def many(config):
    config.model.stages = 12
    without(config, "hypercube")
    config.algorithm.degrees = (2, 4, 5)
    config.algorithm.dense_init = False


def without(config, name):
    others = [other for other in config.algorithm.topologies if other != name]
    config.algorithm.topologies = tuple(others)


def parallel(config):
    config.model.branches = 2
    config.algorithm.topologies = ("butterfly", "parallel_butterfly")
    config.algorithm.degrees = (4,)
    config.algorithm.dense_init = False


def smoke(config):
    """Seconds: for tests."""
    configs.shrink(config)
    config.model.stages = 2
    config.algorithm.topologies = ("random_regular", "torus")
    config.algorithm.degrees = (5,)
