"""The policy network over groups: equivariant to permutations of the groups, with standardised columns."""

import numpy as np
import pytest
import torch
from gymnasium.spaces import Box

from prune_env.agents.group_networks import GroupTable
from prune_env.agents.policies import GroupPolicy
from prune_env.envs import Column
from prune_env.envs.observation import PRESENT

G, F, H = 5, 4, 8


def make_policy(groups=G, hidden=H, **changes):
    """A policy whose weights are far from the small ones it starts with, so that groups differ in their actions."""
    torch.manual_seed(0)
    policy = GroupPolicy(
        Box(-np.inf, np.inf, (groups * F,), dtype=np.float32),
        Box(-1, 1, (groups,), dtype=np.float32),
        lambda _: 1e-3,
        hidden=hidden,
        **changes,
    )
    with torch.no_grad():
        for parameter in policy.parameters():
            parameter.copy_(torch.randn(parameter.shape))
    return policy


def observations(count=6, groups=G):
    return np.random.default_rng(1).normal(size=(count, groups, F)).astype(np.float32)


def outputs(policy, table):
    """Mean actions [B, G] and values [B] for a table [B, G, F]."""
    batch = torch.from_numpy(table.reshape(len(table), -1))
    with torch.no_grad():
        return policy.get_distribution(batch).distribution.mean.numpy(), policy.predict_values(batch).numpy()[:, 0]


@pytest.mark.parametrize("order", [[4, 3, 2, 1, 0], [1, 2, 3, 4, 0], [0, 2, 1, 4, 3]])
def test_permuted_groups_get_permuted_actions_and_the_same_value(order):
    policy, table = make_policy(), observations()
    actions, values = outputs(policy, table)
    permuted_actions, permuted_values = outputs(policy, table[:, order])
    np.testing.assert_allclose(permuted_actions, actions[:, order], rtol=1e-4, atol=1e-5)
    np.testing.assert_allclose(permuted_values, values, rtol=1e-4, atol=1e-5)
    assert actions.std(axis=1).min() > 0.1 and values.std() > 0.1  # it tells groups and networks apart


def test_predict_is_equivariant_too():
    policy, table, order = make_policy(), observations(), [2, 0, 1, 4, 3]
    actions, _ = policy.predict(table.reshape(6, -1), deterministic=True)
    permuted, _ = policy.predict(table[:, order].reshape(6, -1), deterministic=True)
    assert actions.shape == (6, G) and np.abs(actions).max() <= 1
    np.testing.assert_allclose(permuted, actions[:, order], rtol=1e-4, atol=1e-5)


def test_a_group_sees_the_others():
    policy, table = make_policy(), observations()
    changed = table.copy()
    changed[:, 4] += 1.0
    actions, changed_actions = outputs(policy, table)[0], outputs(policy, changed)[0]
    assert (np.abs(changed_actions - actions)[:, :4] > 1e-4).all()


def test_a_position_embedding_tells_equal_groups_apart():
    policy, table = make_policy(position_embedding=True), np.zeros((1, G, F), dtype=np.float32)
    assert outputs(policy, table)[0].std() > 0.1  # groups that look alike are told apart
    assert outputs(make_policy(), table)[0].std() < 1e-6
    torch.manual_seed(0)
    fresh = GroupPolicy(Box(-5, 5, (G * F,)), Box(-1, 1, (G,)), lambda _: 1e-3, hidden=H, position_embedding=True)
    assert outputs(fresh, table)[0].std() < 1e-6  # only once it has learnt to
    assert fresh._get_constructor_parameters()["position_embedding"] is True


def test_weights_are_shared_over_groups():
    def sizes(groups):
        return {name: tuple(p.shape) for name, p in make_policy(groups).named_parameters()}

    few, many = sizes(2), sizes(20)
    assert {name for name in few if few[name] != many[name]} == {"log_std"}
    assert few["log_std"] == (2,) and many["log_std"] == (20,)


def test_the_optimizer_trains_exactly_the_parameters_that_there_are():
    policy = make_policy()
    trained = [p for settings in policy.optimizer.param_groups for p in settings["params"]]
    assert {id(p) for p in trained} == {id(p) for p in policy.parameters()}


def test_a_fresh_policy_asks_for_nearly_equal_ratios():
    torch.manual_seed(0)
    policy = GroupPolicy(Box(-5, 5, (G * F,)), Box(-1, 1, (G,)), lambda _: 1e-3, hidden=H, log_std_init=-0.5)
    actions, _ = outputs(policy, observations())
    assert np.abs(actions).max() < 0.1
    np.testing.assert_allclose(policy.log_std.detach().numpy(), np.full(G, -0.5))


def test_calibration_standardises_every_column():
    policy = make_policy()
    table = observations(200) * [1.0, 10.0, 0.1, 100.0] + [0.0, 5.0, -3.0, 1000.0]
    batch = torch.from_numpy(table.astype(np.float32).reshape(200, -1))
    policy.calibrate(batch)
    for encoder in (policy.mlp_extractor.actor, policy.mlp_extractor.critic):
        read = encoder.table(batch)[0][..., :F]
        assert read.shape == (200, G, F)
        np.testing.assert_allclose(read.mean(dim=(0, 1)), np.zeros(F), atol=1e-3)
        np.testing.assert_allclose(read.reshape(-1, F).std(0), np.ones(F), rtol=1e-3)


def test_a_column_that_never_changed_stays_finite():
    policy, table = make_policy(), observations()
    table[:, :, 2] = 7.0
    policy.calibrate(torch.from_numpy(table.reshape(6, -1)))
    assert all(np.isfinite(part).all() for part in outputs(policy, table))


def test_saved_and_loaded_it_answers_bit_for_bit_alike(tmp_path):
    policy, table = make_policy(), observations()
    policy.calibrate(torch.from_numpy(table.reshape(6, -1)))
    policy.save(tmp_path / "policy.pt")
    loaded = GroupPolicy.load(tmp_path / "policy.pt")
    for mine, theirs in zip(outputs(policy, table), outputs(loaded, table), strict=True):
        np.testing.assert_array_equal(mine, theirs)


def test_what_is_constant_at_reset_is_not_blown_up_later():
    table = GroupTable(columns=2)
    table.calibrate(torch.tensor([[1.0, 5.0, 2.0, 5.0], [3.0, 5.0, 4.0, 5.0]]))  # the second column is always 5
    assert table.scale[1] == 1.0 and table.shift[1] == 5.0
    assert table.scale[0] == torch.tensor([1.0, 2.0, 3.0, 4.0]).std()


def test_the_scale_of_the_loss_changes_no_action():
    policy, table = make_policy(), observations()
    columns = [
        Column(name, -20, 20, "", relative=name == "gradient") for name in ("gradient", "size", "kept", "sparsity")
    ]
    batch = torch.from_numpy(table.reshape(6, -1))
    policy.calibrate(batch, columns)
    scaled, other = table.copy(), table.copy()
    scaled[..., 0] += 1.5  # log10 of the importance of a loss that is multiplied by a number
    other[..., 1] += 1.5
    actions, values = outputs(policy, table)
    same_actions, same_values = outputs(policy, scaled)
    np.testing.assert_allclose(same_actions, actions, rtol=1e-4, atol=1e-4)
    np.testing.assert_allclose(same_values, values, rtol=1e-4, atol=1e-4)
    assert np.abs(outputs(policy, other)[0] - actions).max() > 0.01


PADDED = [Column(name, -20, 20, "") for name in ("gradient", "size", "kept")] + [PRESENT]


def padded(table, extra, filling=0.0):
    """Observations [B, (G + extra) * F] whose last column says which groups are there."""
    rows = table.copy()
    rows[..., -1] = 1.0
    padding = np.full((len(rows), extra, F), filling, dtype=np.float32)
    padding[..., -1] = 0.0
    return np.concatenate([rows, padding], axis=1)


@pytest.mark.parametrize("filling", [0.0, 7.0])
def test_padding_changes_nothing_and_gets_no_action(filling):
    plain, wide, table = make_policy(G), make_policy(G + 3), observations()
    wide.load_state_dict({**plain.state_dict(), "log_std": wide.log_std})  # whose random numbers came in another order
    for policy, extra in ((plain, 0), (wide, 3)):
        policy.calibrate(torch.from_numpy(padded(table, extra).reshape(6, -1)), PADDED)
    actions, values = outputs(plain, padded(table, 0))
    wide_actions, wide_values = outputs(wide, padded(table, 3, filling))
    np.testing.assert_allclose(wide_actions[:, :G], actions, rtol=1e-4, atol=1e-5)
    np.testing.assert_allclose(wide_values, values, rtol=1e-4, atol=1e-5)
    assert not wide_actions[:, G:].any()


def test_what_padding_does_teaches_nothing():
    """Its log-probability is the same whatever the policy learns, and no gradient flows through it."""
    policy, table = make_policy(G + 3), observations()
    batch = torch.from_numpy(padded(table, 3).reshape(6, -1))
    policy.calibrate(batch, PADDED)
    noise = torch.randn(6, G + 3)
    quiet = noise.clone()
    quiet[:, G:] = 0.0
    _, with_noise, _ = policy.evaluate_actions(batch, noise)
    _, without, _ = policy.evaluate_actions(batch, quiet)
    difference = with_noise - without
    np.testing.assert_allclose(difference.detach(), -0.5 * noise[:, G:].square().sum(1), rtol=1e-3)
    difference.sum().backward()
    assert all(p.grad is None or p.grad.abs().max() < 1e-3 for p in policy.parameters())
