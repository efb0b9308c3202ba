"""Tickets in files: what is written is what is read, and damage is found out."""

import json

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import scipy.sparse
from safetensors.numpy import load_file, save_file

import lottery_jax
from lottery_jax import experiment
from lottery_jax.errors import TicketError
from lottery_jax.models import MODELS
from lottery_jax.reporting import formats
from lottery_jax.tickets import masks
from lottery_jax.types import Origin, Ticket
from tests import helpers
from tests.test_config import load


def some_ticket(name="mlp", shape=(5,), **options):
    """(model, ticket) with a third of the prunable weights; biases are not zero."""
    model = MODELS[name](shape, 3, **options)
    params, _ = model.init(jax.random.key(1))
    params = jax.tree.map(lambda leaf: leaf + 0.25, params)

    def some(leaf, may):
        kept = jax.random.bernoulli(jax.random.key(2), 0.3, leaf.shape)
        return kept if may else jnp.ones(leaf.shape, bool)

    mask = jax.tree.map(some, params, model.prunable(params))
    return model, Ticket(masks.apply(params, mask), mask)


def same(one, other):
    jax.tree.map(np.testing.assert_array_equal, one[:2], other[:2])


def alike(drawn, ticket):
    """The same mask; weights to the rounding of the program that drew them."""
    jax.tree.map(np.testing.assert_array_equal, drawn.mask, ticket.mask)
    jax.tree.map(
        lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-5),
        drawn.params,
        ticket.params,
    )


@pytest.fixture(scope="module")
def mlp():
    return some_ticket(hidden=(7, 4))


@pytest.fixture(scope="module")
def conv():
    return some_ticket("lenet_5", (28, 28, 1))


def test_a_ticket_with_its_weights(mlp, tmp_path):
    _, ticket = mlp
    path = lottery_jax.save_ticket(tmp_path / "new" / "ticket.safetensors", ticket)
    same(lottery_jax.load_ticket(path), ticket)
    assert not list(path.parent.glob(".writing*"))
    stored = load_file(path)
    kept = int(ticket.mask["dense_0"]["kernel"].sum())
    assert stored["kept/dense_0/kernel"].shape == (kept,)
    like = jax.eval_shape(lambda: ticket.params)
    loaded = lottery_jax.load_ticket(path, like=like)
    assert jax.tree.structure(loaded.params) == jax.tree.structure(ticket.params)


def test_lists_come_back_as_they_were(tmp_path):
    params = [(jnp.ones((2, 3)), jnp.zeros(3)), {"w": jnp.full((3,), 2.0)}]
    ticket = Ticket(params, masks.full(params))
    path = lottery_jax.save_ticket(tmp_path / "t", ticket)
    same(lottery_jax.load_ticket(path, like=params), ticket)
    assert set(lottery_jax.load_ticket(path).params) == {"0", "1"}


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    folder = tmp_path_factory.mktemp("runs") / "imp"
    return folder, experiment.run(helpers.tiny_config(), folder)


def test_a_ticket_of_a_run_is_bits_and_a_key(run, tmp_path):
    folder, found = run
    last = len(found.ladder) - 1
    ticket = lottery_jax.ticket_of(folder, last, replicate=1)
    stored = lottery_jax.load_masks(folder, last)
    for name, leaf in stored.items():
        np.testing.assert_array_equal(masks.named_leaves(ticket.mask)[name], leaf[1])
    other = lottery_jax.ticket_of(folder, last, replicate=0)
    assert helpers.trees_differ(ticket.params, other.params)
    path = lottery_jax.save_ticket(tmp_path / "t", ticket)
    assert all(name.startswith("mask/") for name in load_file(path))
    loaded = lottery_jax.load_ticket(path)
    alike(loaded, ticket)
    assert loaded.origin.model["name"] == found.config["model"]["name"]
    same(lottery_jax.ticket_of(folder, replicate=1), ticket)  # the last round


def test_weights_that_have_changed_are_stored(run, tmp_path):
    """Though the ticket says that they are those of a key."""
    ticket = lottery_jax.ticket_of(run[0])
    trained = ticket._replace(params=jax.tree.map(lambda x: 2 * x, ticket.params))
    path = lottery_jax.save_ticket(tmp_path / "t", trained)
    loaded = lottery_jax.load_ticket(path)
    same(loaded, trained)
    assert loaded.origin is None


def test_a_rewound_ticket_has_weights_of_its_own(tmp_path):
    config = helpers.tiny_config()
    config.algorithm.rewind_step = 5
    found = experiment.run(config, tmp_path / "run")
    ticket = lottery_jax.ticket_of(tmp_path / "run")
    assert ticket.origin is None
    last = len(found.ladder) - 1
    config.algorithm.rewind_step = 0
    experiment.run(config, tmp_path / "other")
    at_init = lottery_jax.ticket_of(tmp_path / "other", last)
    assert helpers.trees_differ(ticket.params, at_init.params)
    path = lottery_jax.save_ticket(tmp_path / "t", ticket)
    same(lottery_jax.load_ticket(path), ticket)


def test_lenet_is_small_enough_to_mail(tmp_path):
    model = {"name": "lenet_300_100", "initializer": "glorot_normal"}
    network = MODELS["lenet_300_100"]((28, 28, 1), 10, initializer="glorot_normal")
    key = jax.random.key(3)
    params, _ = network.init(key)
    mask = jax.tree.map(lambda leaf: jnp.abs(leaf) > 0.1, params)
    numbers = tuple(jax.random.key_data(key).tolist())
    origin = Origin(model, (28, 28, 1), 10, numbers, "")
    ticket = Ticket(masks.apply(params, mask), mask, origin)
    path = lottery_jax.save_ticket(tmp_path / "lenet", ticket)
    assert path.stat().st_size < 36_000
    alike(lottery_jax.load_ticket(path), ticket)


def rewritten(path, change):
    """The file with other metadata."""
    data = path.read_bytes()
    size = int.from_bytes(data[:8], "little")
    header = json.loads(data[8 : 8 + size])
    change(header["__metadata__"])
    text = json.dumps(header).encode()
    path.write_bytes(len(text).to_bytes(8, "little") + text + data[8 + size :])


def test_damage_is_found_out(mlp, tmp_path):
    model, ticket = mlp
    path = tmp_path / "t"

    def refused(message, **options):
        with pytest.raises(TicketError, match=message):
            lottery_jax.load_ticket(path, **options)

    refused("no ticket file")
    whole = lottery_jax.save_ticket(path, ticket).read_bytes()
    for cut in (4, 100, len(whole) - 1):
        path.write_bytes(whole[:cut])
        refused("damaged")
    flipped = bytearray(whole)
    flipped[-3] ^= 1
    path.write_bytes(flipped)
    refused("damaged")
    save_file({"a": np.zeros(3)}, path)
    refused("no ticket of this version")
    lottery_jax.save_ticket(path, ticket)
    refused(
        r"another network.*dense_0/kernel \(5, 2\) and \(5, 7\); tail",
        like={
            **ticket.params,
            "dense_0": {**ticket.params["dense_0"], "kernel": jnp.zeros((5, 2))},
            "tail": jnp.zeros(1),
        },
    )
    drawn = model.init(jax.random.key(7))[0]
    origin = Origin({"name": "mlp", "hidden": [7, 4]}, (5,), 3, (0, 7), "")
    lottery_jax.save_ticket(
        path, Ticket(masks.apply(drawn, ticket.mask), ticket.mask, origin)
    )
    assert lottery_jax.load_ticket(path).origin == origin
    other = origin._replace(key=(0, 8))._asdict()
    rewritten(path, lambda about: about.update(origin=json.dumps(other)))
    refused("cannot be drawn again")
    rewritten(path, lambda about: about.pop("shapes"))
    refused("damaged|no ticket")
    with pytest.raises(TicketError, match="params and mask differ: tail"):
        lottery_jax.save_ticket(path, ticket._replace(params={"tail": jnp.zeros(1)}))


def test_runs_without_such_tickets_say_so(run, tmp_path):
    folder, _ = run
    with pytest.raises(TicketError, match="no replicate 9"):
        lottery_jax.ticket_of(folder, replicate=9)
    config = helpers.tiny_config()
    config.algorithm.rewind = "fine_tune"
    config.algorithm.rounds = 1
    experiment.run(config, tmp_path / "tuned")
    with pytest.raises(TicketError, match="fine_tune"):
        lottery_jax.ticket_of(tmp_path / "tuned")
    path = tmp_path / "tuned" / "config.json"
    stored = json.loads(path.read_text())
    stored["algorithm"] |= {"rewind": "weights", "pruned": "init"}
    path.write_text(json.dumps(stored))
    with pytest.raises(TicketError, match="frozen at init"):
        lottery_jax.ticket_of(tmp_path / "tuned")


def test_dense_and_csr(mlp, tmp_path):
    _, ticket = mlp
    formats.to_dense(tmp_path / "t.npz", ticket)
    with np.load(tmp_path / "t.npz") as stored:
        for name, leaf in masks.named_leaves(ticket.params).items():
            np.testing.assert_array_equal(stored[name], leaf)
    formats.to_csr(tmp_path / "csr", ticket)
    for layer, own in ticket.params.items():
        matrix = scipy.sparse.load_npz(tmp_path / "csr" / f"{layer}.kernel.npz")
        np.testing.assert_array_equal(matrix.toarray(), own["kernel"])
        assert matrix.nnz == ticket.mask[layer]["kernel"].sum()
    with np.load(tmp_path / "csr" / "rest.npz") as rest:
        np.testing.assert_array_equal(rest["output/bias"], own["bias"])


def test_torch_names_and_axes(conv, tmp_path):
    _, ticket = conv
    formats.to_torch(tmp_path / "t", ticket)
    stored = load_file(tmp_path / "t")
    kernel = ticket.params["conv_0"]["kernel"]  # [5, 5, 1, 6]
    assert stored["conv_0.weight_orig"].shape == (6, 1, 5, 5)
    assert stored["conv_0.weight_orig"][4, 0, 1, 2] == kernel[1, 2, 0, 4]
    weight = stored["output.weight_orig"] * stored["output.weight_mask"]
    np.testing.assert_array_equal(weight.T, ticket.params["output"]["kernel"])
    assert "output.bias" in stored and "output.weight" not in stored
    same(formats.from_torch(tmp_path / "t"), ticket)
    whole = Ticket(ticket.params, masks.full(ticket.params))
    formats.to_torch(tmp_path / "whole", whole)
    assert "output.weight" in load_file(tmp_path / "whole")
    same(formats.from_torch(tmp_path / "whole"), whole)


def test_any_leaf_may_be_pruned(tmp_path):
    params = {"a": {"bias": jnp.array([1.0, 0.0])}, "w": jnp.array([[0.0, 2.0]])}
    mask = jax.tree.map(lambda leaf: leaf != 0, params)
    formats.to_torch(tmp_path / "t", Ticket(params, mask))
    names = {"a.bias_orig", "a.bias_mask", "w_orig", "w_mask"}
    assert set(load_file(tmp_path / "t")) == names
    same(formats.from_torch(tmp_path / "t"), Ticket(params, mask))


def test_torch_files_that_are_wrong(conv, tmp_path):
    path = tmp_path / "t"

    def refused(message):
        with pytest.raises(TicketError, match=message):
            formats.from_torch(path)

    path.write_bytes(b"\x80\x02}q\x00.")  # a pickle
    refused("no safetensors.*safetensors.torch.save_file")
    weight = np.ones((3, 2), np.float32)
    save_file({"a.weight_orig": weight}, path)
    refused("a.weight_mask is missing")
    save_file({"a.weight_mask": weight}, path)
    refused("without a.weight_orig")
    save_file({"a.weight_orig": weight, "a.weight_mask": weight[:2]}, path)
    refused(r"\(2, 2\), its weights are \(3, 2\)")
    save_file({"a.weight_orig": weight, "a.weight_mask": weight / 2}, path)
    refused("other values than 0 and 1")


def test_folders_of_npy(tmp_path):
    rng = np.random.default_rng(0)
    kernels = [rng.normal(size=size) for size in ((6, 4), (4, 3), (3, 2))]
    kept = [(rng.random(kernel.shape) < 0.5).astype(np.float32) for kernel in kernels]
    for part, arrays in (("initial", kernels), ("final", kernels), ("masks", kept)):
        (tmp_path / part).mkdir()
        for i, array in enumerate(arrays):
            np.save(tmp_path / part / f"layer{i}.npy", array)
    ticket = formats.from_npy(tmp_path)
    assert [*ticket.params] == ["dense_0", "dense_1", "output"]
    for layer, kernel, mask in zip(ticket.params, kernels, kept, strict=True):
        expected = (kernel * mask).astype(np.float32)
        np.testing.assert_array_equal(ticket.params[layer]["kernel"], expected)
        np.testing.assert_array_equal(ticket.mask[layer]["kernel"], mask)
    model = MODELS["mlp"]((6,), 2, hidden=(4, 3))
    outputs, _ = model.apply(ticket.params, {}, jnp.ones((1, 6)), train=False)
    assert outputs.shape == (1, 2)
    np.save(tmp_path / "masks" / "layer1.npy", kept[0])
    with pytest.raises(TicketError, match="layer1"):
        formats.from_npy(tmp_path)
    (tmp_path / "masks" / "layer1.npy").write_bytes(b"no array")
    with pytest.raises(TicketError, match="damaged"):
        formats.from_npy(tmp_path)
    with pytest.raises(TicketError, match="no layer0.npy"):
        formats.from_npy(tmp_path / "masks")


def test_a_compiled_function_has_the_ticket_in_it(mlp, tmp_path):
    model, ticket = mlp

    def apply(params, x):
        return model.apply(params, {}, x, train=False)[0]

    formats.to_compiled(tmp_path / "f", ticket, apply, (5,))
    call = formats.from_compiled(tmp_path / "f")
    for batch in (1, 4):
        x = jax.random.normal(jax.random.key(batch), (batch, 5))
        np.testing.assert_allclose(call(x), apply(ticket.params, x), rtol=1e-5)
    (tmp_path / "f").write_bytes(b"none")
    with pytest.raises(TicketError, match="no compiled function"):
        formats.from_compiled(tmp_path / "f")


def test_the_page_runs(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    experiment.run(load("quickstart.py:smoke"), "runs/quickstart")
    names = {}
    for code in helpers.code_of("tickets.md"):
        exec(compile(code.replace("round=10", "round=2"), "tickets.md", "exec"), names)
    assert names["outputs"].shape == (3, 10)
