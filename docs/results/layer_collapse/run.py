"""Conservation laws and layer collapse before training: all tables and figures.

    cd docs/results/layer_collapse
    PYTHONPATH=../../.. python run.py

writes them beside this file. Nothing is trained, and no data are needed but
scikit-learn's digits, which `snip`, `grasp` and `grad` look at.
"""

from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import pandas as pd

from lottery_jax import data
from lottery_jax.analysis import collapse, conservation
from lottery_jax.analysis.collapse import Method
from lottery_jax.models import MODELS
from lottery_jax.reporting import law_figures
from lottery_jax.tickets import SCORES, masks
from lottery_jax.training import losses
from lottery_jax.types import Context, Dataset, Split, Task

REPLICATES = 5
EXPONENTS = np.arange(0, 4.5, 0.25)
SALIENCIES = ("grad", "grasp", "snip", "synflow")
METHODS = (
    *(Method(score) for score in collapse.BEFORE_TRAINING),
    *(Method(score, 100, path) for path in ("exponential", "linear")
      for score in SALIENCIES),
)  # fmt: skip

HIDDEN = {
    "64-300-100-10": (64, (300, 100)),
    "LeNet-300-100": (784, (300, 100)),
    "fc (6 x 100)": (784, (100,) * 5),
}
"""Network -> inputs, hidden layers; ten outputs."""
ITERATIONS = (1, 10, 20, 50, 100)


COUNTED = (
    ("synflow", 100, 4), ("snip", 100, 4), ("grasp", 100, 4), ("synflow", 1, 2),
    ("snip", 1, 3), ("magnitude", 1, 3.5), ("random", 1, 4),
)  # fmt: skip
"""(score, iterations, log10 of the compression) whose layers are counted."""


def network(inputs: int, hidden: tuple[int, ...], initializer="kaiming_normal"):
    return MODELS["mlp"]((inputs,), 10, hidden=hidden, initializer=initializer)


def digits(hidden: tuple[int, ...], initializer="kaiming_normal") -> Task:
    dataset = data.load("digits", "", key=jax.random.key(0), validation_size=100,
                        test_size=100)  # fmt: skip
    train = dataset.train._replace(x=dataset.train.x.reshape(-1, 64))
    model = network(64, hidden, initializer)
    return losses.make_task(dataset._replace(train=train), model)


def without_data(inputs: int, hidden: tuple[int, ...]) -> Task:
    """For SynFlow, which asks for the shape of an input alone."""
    nothing = Split(np.zeros((1, inputs), np.float32), np.zeros(1, np.int32))
    dataset = Dataset(nothing, nothing, nothing, 10, "none")
    return losses.make_task(dataset, network(inputs, hidden))


def markdown(table: pd.DataFrame) -> str:
    rows = [table.columns, ["---"] * len(table.columns), *table.astype(str).to_numpy()]
    return "".join(f"| {' | '.join(map(str, row))} |\n" for row in rows)


# --- the laws


def laws(save):
    """Float64, as the laws are exact: figures, and the diagnosis of each activation."""
    task = digits((300, 100))
    layers = ["dense_0", "dense_1", "output"]
    params, _ = task.model.init(jax.random.key(0))
    keys = iter(jax.random.split(jax.random.key(1), 3))
    params = {
        layer: {
            "kernel": np.float64(leaves["kernel"]),
            "bias": 0.1
            * np.float64(jax.random.normal(next(keys), leaves["bias"].shape)),
        }
        for layer, leaves in params.items()
    }
    x, y = np.float64(task.dataset.train.x[:100]), task.dataset.train.y[:100]
    activations = (jax.nn.relu, jax.nn.leaky_relu, jnp.tanh, jax.nn.gelu)
    scores, words = {}, []
    for activation in activations:
        apply = conservation.chain(activation, layers)

        def loss(params, apply=apply):
            return losses.cross_entropy(apply(params, x), y)

        name = activation.__name__
        scores[name] = conservation.saliency(loss, params)
        words.append(conservation.diagnose(loss, params, layers, activation).words)
    shown = {name: scores[name] for name in ("relu", "tanh")}
    save("unit_flows", law_figures.unit_flows(shown, layers))
    totals = pd.DataFrame(
        [
            {"activation": name, "sum": what}
            | {layer: f"{value:.8f}" for layer, value in sums(each, layers).items()}
            for name, each in scores.items()
            for what, sums in (
                ("kernel", conservation.layer_totals),
                ("kernel and biases from there on", conservation.cut_totals),
            )
        ]
    )
    return "".join(f"- {line}\n" for line in words) + "\n" + markdown(totals)


def sizes_and_scores(save):
    """Mean scores of a network whose layers are of many sizes."""
    task = digits((400, 200, 100, 50))
    params, _ = task.model.init(jax.random.key(0))
    whole, train = masks.full(params), task.dataset.train
    context = Context(
        key=jax.random.key(1), model=task.model, prunable=task.model.prunable(params),
        init=params, rewind_point=params, start=params, final=params, old_mask=whole,
        mask=whole, jitter=0.0, batch=Split(train.x[:100], train.y[:100]),
        loss=task.loss,
    )  # fmt: skip
    sizes = collapse.layer_sizes(task.model)

    def loss(params):
        outputs, _ = task.model.apply(params, {}, context.batch.x, train=False)
        return task.loss(outputs, context.batch.y)

    scores = {name: SCORES[name](context) for name in ("synflow", "snip", "magnitude")}
    scores["snip with its sign"] = conservation.saliency(loss, params)
    totals = {
        name: {layer: masks.named_leaves(tree)[layer].sum() for layer in sizes}
        for name, tree in scores.items()
    }
    save("layer_means", law_figures.layer_means(totals, sizes))
    return markdown(
        pd.DataFrame(
            [
                {"score": name} | {k: f"{v:.5g}" for k, v in by_layer.items()}
                for name, by_layer in totals.items()
            ]
        )
    )


# --- collapse


def collapses(save, here: Path):
    task = digits((300, 100))
    sizes = collapse.layer_sizes(task.model)
    keys = jax.random.split(jax.random.key(0), REPLICATES)
    prune = collapse.make_prune(task, keys)
    table = collapse.curves(prune, METHODS, EXPONENTS, sizes, REPLICATES)
    table.to_csv(here / "curves.csv", index=False, float_format="%.5g")
    maximum = collapse.maximal_compression(sizes)
    shown = {("synflow", 1, "exponential"), ("snip", 1, "exponential"),
             ("grasp", 1, "exponential"), ("magnitude", 1, "exponential"),
             ("synflow", 100, "exponential"), ("snip", 100, "exponential"),
             ("grasp", 100, "exponential"), ("synflow", 100, "linear")}  # fmt: skip
    drawn = [row in shown for row in zip(table.score, table.iterations, table.path,
                                         strict=True)]  # fmt: skip
    figure = law_figures.collapse_curves(table[drawn], list(sizes), maximum)
    save("collapse", figure)
    critical = pd.DataFrame(
        [
            method._asdict()
            | dict(zip(("least", "median", "largest"),
                       (f"{x:.4g}" for x in np.quantile(found, [0, 0.5, 1])),
                       strict=True))
            | {"log10 of the median": f"{np.log10(np.median(found)):.2f}"}
            for method in METHODS
            for found in [collapse.critical_compression(prune, method, sizes,
                                                        REPLICATES)]
        ]
    )  # fmt: skip
    return f"Maximal compression {maximum:.0f}.\n\n" + markdown(critical)


def kept() -> str:
    """What is left of the layers, for two ways to draw the weights."""
    rows = []
    for initializer in ("kaiming_normal", "glorot_normal"):
        task = digits((300, 100), initializer)
        keys = jax.random.split(jax.random.key(0), REPLICATES)
        prune = collapse.make_prune(task, keys)
        total = sum(collapse.layer_sizes(task.model).values())
        for score, iterations, exponent in COUNTED:
            num_keep = round(total / 10**exponent)
            pruned = prune(Method(score, iterations), [num_keep] * REPLICATES)
            layers = zip(*pruned.kept.values(), strict=True)
            counts = [f"({', '.join(map(str, each))})" for each in layers]
            rows.append(
                {
                    "initializer": initializer,
                    "score": score,
                    "iterations": iterations,
                    "compression": f"10^{exponent:g}",
                    "kept per layer, by replicate": " ".join(counts),
                }
            )
    return markdown(pd.DataFrame(rows))


def flow_ratios(save):
    tables = {}
    methods = [
        Method("synflow", number, path)
        for path in ("exponential", "linear")
        for number in ITERATIONS
    ]
    for name, (inputs, hidden) in HIDDEN.items():
        task = without_data(inputs, hidden)
        keys = jax.random.split(jax.random.key(0), REPLICATES)
        prune = collapse.make_prune(task, keys, examples=1)
        sizes = collapse.layer_sizes(task.model)
        tables[name] = collapse.curves(
            prune, methods, [1.0, 2.0, 3.0], sizes, REPLICATES
        )
    save("flow_ratio", law_figures.flow_ratios(tables))
    table = pd.concat([each.assign(network=name) for name, each in tables.items()])
    table["empties"] = table["empty"] > 0
    means = table.groupby(["network", "path", "exponent", "iterations"], sort=False)
    cells = means.agg({"flow_ratio": "mean", "empties": "any"})
    cells = cells.apply(
        lambda row: f"{row.flow_ratio:.3f}" + " (collapse)" * bool(row.empties), axis=1
    )
    return markdown(cells.unstack("iterations").reset_index())


def main():
    here = Path(__file__).parent

    def save(name, figure):
        figure.savefig(here / f"{name}.png")
        print(name, flush=True)

    with jax.enable_x64(True):
        exact = laws(save)
    sections = {
        "The laws, in float64": exact,
        "Sum of the scores of each layer, 64-400-200-100-50-10": sizes_and_scores(save),
        "Critical compression of 64-300-100-10": collapses(save, here),
        "Weights kept in each layer of 64-300-100-10": kept(),
        "Largest flow ratio of an iteration, SynFlow, by iterations": flow_ratios(save),
    }
    text = "".join(f"## {name}\n\n{text}\n" for name, text in sections.items())
    (here / "tables.md").write_text("# Tables of run.py\n\n" + text.rstrip() + "\n")


if __name__ == "__main__":
    main()
