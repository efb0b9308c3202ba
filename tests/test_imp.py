"""The algorithm as a whole: ladders, rewinding, controls, certificates, compilation."""

import logging

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from lottery_jax import rng
from lottery_jax.algorithms.imp import imp, layer_fractions
from lottery_jax.analysis.certificates import certify
from lottery_jax.errors import CertificateError, ConfigError
from lottery_jax.stacks import take
from lottery_jax.tickets import CONTROLS, REWINDS, SCORES, masks
from tests import helpers


def run_rounds(config, rounds=None):
    """(infos, states): what every round told, and the state after it."""
    _, algorithm, roots = helpers.tiny_algorithm(config)
    state, infos, states = algorithm.init(roots), [], []
    for _ in range(len(algorithm.ladder) if rounds is None else rounds):
        state, info = algorithm.step(state)
        infos.append(info)
        states.append(state)
    return infos, states


@pytest.mark.parametrize(
    ("changes", "later"),
    [
        ({}, 30),
        ({"rewind": "weights", "rewind_step": 10}, 20),
        ({"rewind": "learning_rate", "rewind_step": 10}, 20),
        ({"rewind": "zero_if_shrunk", "rewind_step": 10}, 30),
        ({"one_shot": True, "retrain": False}, 0),
    ],
)
def test_the_work_of_a_round_is_its_steps(changes, later):
    config = helpers.tiny_config(**{f"algorithm__{k}": v for k, v in changes.items()})
    _, algorithm, _ = helpers.tiny_algorithm(config)
    assert algorithm.work == [30, *[later] * config.algorithm.rounds]


def lanes_of(info, name):
    return [i for i, label in enumerate(info.labels) if label.lane == name]


def test_masks_follow_the_ladder_and_shrink():
    infos, _ = run_rounds(helpers.tiny_config())
    sizes = {"dense_0/kernel": 1024, "output/kernel": 160}
    expected = [sizes]
    for _ in range(3):
        last = expected[-1]
        expected.append({
            "dense_0/kernel": last["dense_0/kernel"]
            - round(last["dense_0/kernel"] * 0.2),
            "output/kernel": last["output/kernel"] - round(last["output/kernel"] * 0.1),
        })  # fmt: skip
    assert [info.num_keep for info in infos] == expected
    for before, info in zip(infos, infos[1:], strict=False):
        for lane in range(len(info.labels)):
            mask = take(info.lanes.mask, lane)
            kept = masks.num_kept(mask, info.prunable)
            assert {name: int(num) for name, num in kept.items()} == info.num_keep
            assert all(
                leaf.all()
                for name, leaf in masks.named_leaves(mask).items()
                if name.endswith("bias")
            )
        for lane in lanes_of(info, "ticket"):
            new, old = take(info.lanes.mask, lane), take(before.lanes.mask, lane)
            assert not any(
                (n & ~o).any()
                for n, o in zip(jax.tree.leaves(new), jax.tree.leaves(old), strict=True)
            )


def test_the_mask_keeps_the_largest_final_weights():
    infos, _ = run_rounds(helpers.tiny_config(), rounds=2)
    for lane in lanes_of(infos[1], "ticket"):
        final = np.abs(infos[0].trained.final["dense_0"]["kernel"][lane])
        mask = np.asarray(infos[1].lanes.mask["dense_0"]["kernel"][lane])
        assert final[mask].min() >= final[~mask].max()


@pytest.mark.parametrize("rewind_step", [0, 20])
@pytest.mark.parametrize("rewind", [n for n in REWINDS if REWINDS[n].survivors])
def test_every_rewind_starts_where_it_says(rewind, rewind_step):
    restart = REWINDS[rewind].restart
    if restart and rewind_step:
        pytest.skip("continue restarts at step 0: the config refuses a rewind step")
    config = helpers.tiny_config(
        algorithm__rewind=rewind,
        algorithm__rewind_step=rewind_step,
        algorithm__rounds=2,
        train__schedule="cosine",
    )
    infos, states = run_rounds(config)
    point = infos[0].trained.snapshots["rewind_point"]
    init = infos[0].lanes.params
    assert helpers.trees_differ(point, init) == (rewind_step > 0)
    for before, info in zip(infos, infos[1:], strict=False):
        expected = point if rewind == "weights" else before.trained.final
        ticket = slice(0, config.replicates)
        helpers.assert_trees_equal(
            take(info.lanes.params, ticket), take(expected, ticket)
        )
        assert info.start == rewind_step
        offset = info.lanes.hypers["schedule_offset"]
        assert (offset == (30 if rewind == "fine_tune" else 0)).all()
        steps = info.trained.history["step"][0]
        assert steps[0] == rewind_step and steps[-1] == 30
    helpers.assert_trees_equal(states[-1].rewind_point, take(point, ticket))


@pytest.mark.parametrize("rewind", ["constant_signed", "reshuffle"])
def test_reinitialised_tickets_do_not_compound(rewind):
    """Every round draws from theta_k anew; scores see what training started from."""
    config = helpers.tiny_config(
        algorithm__rewind=rewind, algorithm__score="large_init", controls__random=0
    )
    infos, states = run_rounds(config)
    dense = infos[0].lanes.params["dense_0"]["kernel"][0]
    init = states[0].init["dense_0"]["kernel"][0]
    np.testing.assert_array_equal(dense, init)
    assert certify(infos[2])["empty_layers"] == []
    for before, info in zip(infos, infos[1:], strict=False):
        start = np.asarray(info.lanes.params["dense_0"]["kernel"][0])
        mask = np.asarray(info.lanes.mask["dense_0"]["kernel"][0])
        old = np.asarray(before.lanes.params["dense_0"]["kernel"][0])
        was = np.asarray(before.lanes.mask["dense_0"]["kernel"][0])
        assert (start[mask] != init[mask]).mean() > 0.9
        assert np.abs(old[mask]).min() >= np.abs(old[was & ~mask]).max()
        if rewind == "reshuffle":
            np.testing.assert_array_equal(np.sort(start[mask]), np.sort(init[mask]))


@pytest.mark.parametrize("pruned", ["final", "zero_if_shrunk"])
def test_pruned_weights_stay_where_they_are_frozen(pruned):
    config = helpers.tiny_config(algorithm__pruned=pruned, controls__random=0)
    infos, _ = run_rounds(config)
    for before, info in zip(infos, infos[1:], strict=False):
        certify(info)
        out = ~np.asarray(info.lanes.mask["dense_0"]["kernel"])
        start, final, w_i, w_f = (
            np.asarray(tree["dense_0"]["kernel"])
            for tree in (info.lanes.params, info.trained.final,
                         before.lanes.params, before.trained.final)
        )  # fmt: skip
        expected = {
            "final": w_f,
            "zero_if_shrunk": np.where(np.abs(w_i) > np.abs(w_f), 0, w_i),
        }[pruned]
        ticket = np.arange(len(out))[:, None, None] < config.replicates
        np.testing.assert_array_equal(start[out & ticket], expected[out & ticket])
        np.testing.assert_array_equal(start[out], final[out])
        assert (start[out] != 0).any()
        moved = info._replace(trained=info.trained._replace(
            final=_set(info.trained.final, "dense_0", 0,
                       tuple(np.argwhere(out[0])[0]), 5.0)
        ))  # fmt: skip
        with pytest.raises(CertificateError, match="not where they were frozen"):
            certify(moved)


def test_variant_2_treats_kept_weights_by_the_same_rule():
    config = helpers.tiny_config(
        algorithm__pruned="zero_if_shrunk", algorithm__rewind="zero_if_shrunk",
        algorithm__rounds=1, controls__random=0,
    )  # fmt: skip
    (dense, ticket), _ = run_rounds(config, rounds=2)
    w_i, w_f, start = (
        np.asarray(tree["dense_0"]["kernel"][0])
        for tree in (dense.lanes.params, dense.trained.final, ticket.lanes.params)
    )
    np.testing.assert_array_equal(start, np.where(np.abs(w_i) > np.abs(w_f), 0, w_i))


def test_one_shot_rounds_prune_the_dense_network_each():
    config = helpers.tiny_config(algorithm__one_shot=True, algorithm__score="movement")
    infos, _ = run_rounds(config)
    w_i, w_f = (
        np.asarray(tree["dense_0"]["kernel"][0])
        for tree in (infos[0].lanes.params, infos[0].trained.final)
    )
    moved = np.abs(w_f - w_i)
    for info in infos[1:]:
        certify(info)
        mask = np.asarray(info.lanes.mask["dense_0"]["kernel"][0])
        assert mask.sum() == info.num_keep["dense_0/kernel"]
        assert moved[mask].min() >= moved[~mask].max()


def test_supermasks_without_training_are_only_evaluated():
    config = helpers.tiny_config(algorithm__one_shot=True, algorithm__retrain=False)
    infos, _ = run_rounds(config)
    task, _, _ = helpers.tiny_algorithm(config)
    for info in infos[1:]:
        certify(info)
        start = masks.apply(info.lanes.params, info.lanes.mask)
        helpers.assert_trees_equal(info.trained.final, start)
        outputs, _ = task.model.apply(
            take(start, 0), {}, task.dataset.test.x, train=False
        )
        accuracy = (outputs.argmax(-1) == task.dataset.test.y).mean()
        np.testing.assert_allclose(info.trained.summary["test_accuracy"][0], accuracy)


def test_a_mask_says_how_much_of_it_is_filled_up():
    """Few weights change their sign: most of such a mask has another."""
    config = helpers.tiny_config(
        algorithm__score="large_final_diff_sign", algorithm__rounds=1
    )
    (dense, ticket), _ = run_rounds(config, rounds=2)
    filled = certify(ticket)["filled_up"]
    assert certify(dense)["filled_up"] != filled
    for replicate in range(2):
        kept_their_sign = sum(
            int((start * final > 0)[mask].sum())
            for start, final, mask in (
                [np.asarray(tree[layer]["kernel"][replicate]) for tree in
                 (dense.lanes.params, dense.trained.final, ticket.lanes.mask)]
                for layer in ("dense_0", "output")
            )
        )  # fmt: skip
        assert filled[replicate] == kept_their_sign > 100


def test_controls_share_all_but_their_one_respect():
    config = helpers.tiny_config(
        controls__reinit=2, controls__shuffle=1, controls__random=1
    )
    infos, _ = run_rounds(config, rounds=2)
    info = infos[1]
    assert [label.lane for label in info.labels[::2]] == [
        "ticket", "random", "reinit", "reinit", "shuffle"
    ]  # fmt: skip
    ticket = take(info.lanes, slice(0, 2))
    for name in ("reinit", "shuffle", "random"):
        own = take(info.lanes, jnp.array(lanes_of(info, name)[:2]))
        same, other = ("mask", "params") if name == "reinit" else ("params", "mask")
        helpers.assert_trees_equal(getattr(own, same), getattr(ticket, same))
        assert helpers.trees_differ(getattr(own, other), getattr(ticket, other))
        helpers.assert_trees_equal(own.hypers, ticket.hypers)
        assert (own.key == ticket.key).all()
    first, second = (
        take(info.lanes.params, jnp.array(lanes_of(info, "reinit")[i : i + 2]))
        for i in (0, 2)
    )
    assert helpers.trees_differ(first, second)
    earlier = take(infos[0].lanes.params, jnp.array(lanes_of(info, "reinit")[:2]))
    assert helpers.trees_differ(first, earlier)  # a fresh draw every round


def test_round_zero_is_dense_for_everyone():
    infos, _ = run_rounds(helpers.tiny_config(), rounds=1)
    info = infos[0]
    assert info.density == 1 and all(m.all() for m in jax.tree.leaves(info.lanes.mask))
    ticket, random = lanes_of(info, "ticket"), lanes_of(info, "random")
    helpers.assert_trees_equal(
        take(info.trained.final, jnp.array(ticket)),
        take(info.trained.final, jnp.array(random)),
    )


def test_one_shot_is_imp_with_one_round():
    """The same counts as three rounds, other weights: it never saw the sparser ones."""
    iterative, _ = run_rounds(helpers.tiny_config())
    config = helpers.tiny_config(
        algorithm__rounds=1,
        algorithm__prune_fraction=1 - 0.8**3,
        algorithm__output_prune_fraction=1 - 0.9**3,
    )
    one_shot, _ = run_rounds(config)
    for group, num in one_shot[-1].num_keep.items():
        assert abs(num - iterative[-1].num_keep[group]) <= 2
    assert helpers.trees_differ(one_shot[-1].lanes.mask, iterative[-1].lanes.mask)
    final = np.abs(iterative[0].trained.final["dense_0"]["kernel"][0])
    num = one_shot[-1].num_keep["dense_0/kernel"]
    best = np.sort(final.ravel())[-num]
    np.testing.assert_array_equal(
        one_shot[-1].lanes.mask["dense_0"]["kernel"][0], final >= best
    )


def test_global_scope_lets_layers_compete():
    config = helpers.tiny_config(
        algorithm__scope="global", algorithm__output_prune_fraction=0.0
    )
    infos, _ = run_rounds(config)
    assert list(infos[1].num_keep) == ["all", "output/kernel"]
    assert infos[1].density == (1024 - 205 + 160) / 1184
    assert infos[1].num_keep["all"] == 1024 - round(0.2 * 1024)
    assert infos[3].lanes.mask["output"]["kernel"].all()
    competing, _ = run_rounds(helpers.tiny_config(algorithm__scope="global"))
    kept = competing[3].lanes.mask["output"]["kernel"].sum((1, 2))[:2]
    assert competing[3].num_keep["all"] == 1184 - 237 - 189 - 152
    assert (kept != 82).any()  # not the layerwise share


def test_layer_fractions():
    names = ["conv_0/kernel", "dense_0/kernel", "output/kernel"]

    def fractions(scope="layerwise", default=0.2, conv=None, output=None):
        found = layer_fractions(
            names, default=default, conv=conv, output=output, scope=scope
        )
        return list(found.values())

    assert fractions() == [0.2, 0.2, 0.1]
    assert fractions(conv=0.15, output=0.3) == [0.15, 0.2, 0.3]
    assert fractions("global") == [0.2, 0.2, 0.2]
    assert fractions("global", output=0.0) == [0.2, 0.2, 0.0]
    with pytest.raises(ConfigError, match="conv_prune_fraction"):
        fractions("global", conv=0.1)


def test_replicates_and_controls_move_nobody_else(optimized):
    """Replicate 0 of 2 equals replicate 0 of 3; controls change no ticket."""
    few = {"controls__random": 0}  # the slowest to compile
    small, _ = run_rounds(helpers.tiny_config(**few), rounds=2)
    large, _ = run_rounds(
        helpers.tiny_config(**few, replicates=3, controls__shuffle=1), rounds=2
    )
    for few, many in zip(small, large, strict=True):
        for name in ("ticket", "reinit"):
            helpers.assert_trees_equal(
                take((few.lanes.mask, few.trained.final), lanes_of(few, name)[1]),
                take((many.lanes.mask, many.trained.final), lanes_of(many, name)[1]),
            )


def test_another_control_in_the_dict_moves_nobody_else(monkeypatch):
    before, _ = run_rounds(helpers.tiny_config(), rounds=1)
    monkeypatch.setitem(CONTROLS, "a_first_one", CONTROLS["reinit"])
    after, _ = run_rounds(helpers.tiny_config(), rounds=1)
    helpers.assert_trees_equal(before[0].lanes.params, after[0].lanes.params)


def test_scores_and_rewinds_draw_with_keys_of_their_own(monkeypatch):
    """Random scores: another mask for every replicate and round."""

    def random_score(context):
        leaves, structure = jax.tree.flatten(context.final)
        keys = jax.random.split(context.key, len(leaves))
        drawn = [jax.random.uniform(keys[i], x.shape) for i, x in enumerate(leaves)]
        return jax.tree.unflatten(structure, drawn)

    monkeypatch.setitem(SCORES, "random", random_score)
    infos, _ = run_rounds(helpers.tiny_config(algorithm__score="random"), rounds=3)
    kept = [np.asarray(info.lanes.mask["dense_0"]["kernel"]) for info in infos]
    assert (kept[1][0] != kept[1][1]).any()
    for number in (1, 2):
        key = rng.stream(rng.roots(0), "score", replicate=0, round=number)
        keys = jax.random.split(key, 4)  # biases before kernels: dense_0 has 0 and 1
        scores = np.asarray(jax.random.uniform(keys[1], (64, 16)))
        before, after = kept[number - 1][0], kept[number][0]
        assert scores[before & ~after].max() < scores[after].min()


def test_a_network_without_prunable_leaves_is_refused():
    task = helpers.random_task()
    none = task.model._replace(prunable=lambda p: jax.tree.map(lambda leaf: False, p))
    bare = task._replace(model=none)
    with pytest.raises(ConfigError, match="no leaf that is pruned"):
        imp(bare, None, None, learning_rate=0.1, replicates=1, controls={}, rounds=1,
            prune_fraction=0.2)  # fmt: skip


def test_streams_can_be_seeded_apart():
    base, _ = run_rounds(helpers.tiny_config(), rounds=1)
    config = helpers.tiny_config()
    config.seed.order = 7
    with_order = _run_with_seeds(config)
    helpers.assert_trees_equal(base[0].lanes.params, with_order.lanes.params)
    assert helpers.trees_differ(base[0].trained.final, with_order.trained.final)
    config = helpers.tiny_config()
    config.seed.init = 7
    with_init = _run_with_seeds(config)
    ticket = slice(0, 2)
    assert helpers.trees_differ(
        take(base[0].lanes.params, ticket), take(with_init.lanes.params, ticket)
    )
    assert (base[0].lanes.key == with_init.lanes.key).all()


def _run_with_seeds(config):
    _, algorithm, _ = helpers.tiny_algorithm(config)
    seeds = config.seed.to_dict()
    roots = rng.roots(seeds.pop("root"), **seeds)
    return algorithm.step(algorithm.init(roots))[1]


@pytest.mark.parametrize("rewind_step", [0, 20])
def test_one_program_serves_all_rounds(rewind_step, caplog):
    config = helpers.tiny_config(algorithm__rewind_step=rewind_step)
    _, algorithm, roots = helpers.tiny_algorithm(config)
    compiled = []
    with jax.log_compiles(), caplog.at_level(logging.WARNING):
        state = algorithm.init(roots)
        for _ in range(4):
            caplog.clear()
            state, info = algorithm.step(state)
            certify(info)
            compiled.append(
                [r.message.split()[1] for r in caplog.records
                 if r.message.startswith("Compiling")]
            )  # fmt: skip
    assert compiled[0].count("jit(share)") == 1 and "jit(prepare)" in compiled[0]
    assert compiled[1:] == [[], [], []]


def test_a_certificate_holds_and_says_what():
    infos, _ = run_rounds(helpers.tiny_config(controls__shuffle=1), rounds=2)
    found = certify(infos[1])
    assert found["kept"] == {"dense_0/kernel": [819] * 2, "output/kernel": [144] * 2}
    respects = {"random": "mask", "reinit": "params", "shuffle": "mask"}
    assert found["controls_differ_in"] == {
        f"{name}/0/{replicate}": [respects[name]]
        for name in respects
        for replicate in (0, 1)
    }
    assert found["empty_layers"] == []
    assert found["diverged"] == [] and len(found["holds"]) == 5


def _set(tree, leaf, lane, index, value):
    changed = tree[leaf]["kernel"].at[(lane, *index)].set(value)
    return {**tree, leaf: {**tree[leaf], "kernel": changed}}


def _pruned_entry(info, lane):
    return tuple(
        np.argwhere(~np.asarray(info.lanes.mask["dense_0"]["kernel"][lane]))[0]
    )


def _spoil_pruned(info):
    final = _set(info.trained.final, "dense_0", 3, _pruned_entry(info, 3), 1e-30)
    return info._replace(trained=info.trained._replace(final=final))


def _spoil_pruned_at_early_stop(info):
    best = _set(info.trained.best, "dense_0", 3, _pruned_entry(info, 3), 1e-30)
    return info._replace(trained=info.trained._replace(best=best))


def _spoil_count(info):
    mask = _set(info.lanes.mask, "dense_0", 1, _pruned_entry(info, 1), True)
    mask = _set(mask, "dense_0", 3, _pruned_entry(info, 3), True)
    return info._replace(lanes=info.lanes._replace(mask=mask))


def _spoil_start(info):
    kept = tuple(np.argwhere(np.asarray(info.lanes.mask["output"]["kernel"][0]))[0])
    value = np.nextafter(info.rewound["output"]["kernel"][(0, *kept)], 9)
    params = _set(info.lanes.params, "output", jnp.arange(0, 6, 2), kept, value)
    return info._replace(lanes=info.lanes._replace(params=params))


def _spoil_shrinking(info):
    kept = np.asarray(info.lanes.mask["dense_0"]["kernel"][0])
    old = _set(info.old_mask, "dense_0", 0, tuple(np.argwhere(kept)[0]), False)
    return info._replace(old_mask=old)


def _spoil_random(info):
    """One that does nothing, as in a published codebase."""
    return helpers.with_idle(info, "random")


def _spoil_one_random(info):
    return helpers.with_idle(info, "random", replicate=1)


def _spoil_reinit(info):
    return helpers.with_idle(info, "reinit")


def _spoil_second_respect(info):
    key = info.lanes.key.at[3].set(jax.random.key(5))
    return info._replace(lanes=info.lanes._replace(key=key))


@pytest.mark.parametrize(
    ("spoil", "message"),
    [
        (
            _spoil_pruned,
            "pruned weights that are not zero in lane random 0, replicate 1",
        ),
        (_spoil_pruned_at_early_stop, "pruned weights that are not zero in lane"),
        (_spoil_count, "dense_0/kernel keeps 819 weights"),
        (
            _spoil_start,
            "survivors off their rewind point in lane ticket 0, replicate 0",
        ),
        (_spoil_shrinking, "weights revived by the new mask in lane ticket 0"),
        (
            _spoil_random,
            "control that does nothing (bits against chance) in lane random",
        ),
        (
            _spoil_one_random,
            "nothing (bits against chance) in lane random 0, replicate 1",
        ),
        (
            _spoil_reinit,
            "control that does nothing (bits against chance) in lane reinit",
        ),
        (_spoil_second_respect, "its ticket in lane random 0, replicate 1: 2"),
    ],
)
def test_a_violation_stops_with_what_and_where(spoil, message):
    infos, _ = run_rounds(helpers.tiny_config(), rounds=2)
    certify(infos[1])
    with pytest.raises(CertificateError) as error:
        certify(spoil(infos[1]))
    assert message in str(error.value)


def test_survivors_that_are_not_reset_are_caught(monkeypatch):
    """The most common fault of public code: `weights` that keeps theta_T."""
    broken = REWINDS["weights"]._replace(params=REWINDS["fine_tune"].params)
    monkeypatch.setitem(REWINDS, "weights", broken)
    infos, _ = run_rounds(helpers.tiny_config(), rounds=2)
    certify(infos[0])
    with pytest.raises(CertificateError, match="off their rewind point"):
        certify(infos[1])


def test_a_random_mask_may_be_the_tickets_own_in_a_tiny_network():
    """Two hidden units, one replicate: it happens, and it is no fault."""
    idle = []
    for seed in range(6):
        config = helpers.tiny_config(
            data__name="xor", model__hidden=(2,), replicates=1, seed__root=seed,
            algorithm__rounds=1, controls__shuffle=1,
        )  # fmt: skip
        dense, *others = [certify(info) for info in run_rounds(config)[0]]
        assert dense["idle_controls"] == []
        idle += [certificate["idle_controls"] for certificate in others]
    assert [] in idle and (["random"] in idle or ["shuffle"] in idle)


def test_weights_alone_in_their_layer_have_no_other_order():
    """However many replicates there are; three weights a layer have, if enough do."""
    config = helpers.tiny_config(
        data__name="xor", model__hidden=(3,), replicates=12,
        algorithm__prune_fraction=0.5, algorithm__output_prune_fraction=0.5,
        algorithm__rounds=2,
    )  # fmt: skip
    config.controls = {"reshuffle": 1}
    infos, _ = run_rounds(config)
    kept = [set(info.num_keep.values()) for info in infos]
    assert kept == [{6}, {3}, {1}]
    found = [certify(info) for info in infos]
    assert [own["idle_controls"] for own in found] == [[], [], ["reshuffle"]]
    some = infos[1]
    # 36 bits, but there are 2^12 ways to take some of twelve.
    for replicate in range(7):
        some = helpers.with_idle(some, "reshuffle", replicate)
        assert certify(some)["idle_controls"] == []
    for replicate in range(7, 10):
        some = helpers.with_idle(some, "reshuffle", replicate)
    with pytest.raises(CertificateError, match="nothing .* in lane reshuffle"):
        certify(some)
    every = helpers.with_idle(infos[1], "reshuffle")
    # One replicate says nothing; five bits of each of the others do.
    alike = jax.tree.map(
        lambda leaf: leaf.at[jnp.array([0, 12])].set(1), every.lanes.params
    )
    for info in (every, every._replace(lanes=every.lanes._replace(params=alike))):
        with pytest.raises(CertificateError, match="nothing .* in lane reshuffle"):
            certify(info)


def test_the_same_size_everywhere_has_no_other_order_until_it_was_trained():
    """Rewound to a later step, so that sizes are a control from round 1 on."""
    config = helpers.tiny_config(
        model__initializer="signed_constant", algorithm__rewind_step=10
    )
    config.controls = {"permute": 1, "permute_signed": 1}
    infos, _ = run_rounds(config, rounds=2)
    idle = [certify(info)["idle_controls"] for info in infos]
    assert idle == [["permute_signed"], []]
    for info, name in zip(infos, ("permute", "permute_signed"), strict=True):
        with pytest.raises(CertificateError, match=f"nothing .* in lane {name} 0"):
            certify(helpers.with_idle(info, name))


def test_a_layer_that_vanishes_is_noted(monkeypatch):
    """Scores that put the output layer last empty it in the first global round."""

    def output_last(context):
        return {
            layer: jax.tree.map(
                lambda x, layer=layer: x * 0 + (layer != "output"), leaf
            )
            for layer, leaf in context.final.items()
        }

    monkeypatch.setitem(SCORES, "output_last", output_last)
    config = helpers.tiny_config(
        algorithm__scope="global", algorithm__score="output_last"
    )
    infos, _ = run_rounds(config, rounds=2)
    assert certify(infos[0])["empty_layers"] == []
    assert certify(infos[1])["empty_layers"] == ["output/kernel"]


def test_a_control_like_a_diverged_ticket_is_told():
    infos, _ = run_rounds(helpers.tiny_config(), rounds=2)
    idle = helpers.with_idle(infos[1], "random")
    summary = {name: values * jnp.nan for name, values in idle.trained.summary.items()}
    diverged = idle._replace(trained=idle.trained._replace(summary=summary))
    assert certify(diverged)["idle_controls"] == ["random"]


def test_a_diverged_ticket_is_noted_and_pruning_goes_on():
    config = helpers.tiny_config(
        train__learning_rate=1e30, train__optimizer="sgd", algorithm__rewind="continue"
    )
    infos, _ = run_rounds(config)
    assert np.isnan(infos[0].trained.final["output"]["kernel"]).all()
    for info in infos:
        assert len(certify(info)["diverged"]) == len(info.labels)
