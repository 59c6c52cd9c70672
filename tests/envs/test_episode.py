"""Episodes: cuts, rounds, budgets, rewards, endings; nothing is left half done."""

import numpy as np
import pytest
import torch

from prune_env.envs import OBJECTIVES, SCHEDULES


def test_channels_are_really_removed(make):
    env = make(rounds=1).unwrapped
    env.reset(seed=0)
    dense = sum(p.numel() for p in env.network.train_state.model.parameters())
    _, _, _, _, info = env.step(np.full(7, 0.5, dtype=np.float32))
    model = env.network.train_state.model
    pruned = sum(p.numel() for p in model.parameters())
    assert info["reward_terms"]["sparsity"] == pytest.approx(1 - pruned / dense)
    assert model.encoder[0].out_features == info["channels"][0] == 25  # of 49


def test_executed_ratio_and_rounds(make):
    env = make(rounds=3, max_ratio=0.9, steps_per_round=10).unwrapped
    env.reset(seed=0)
    before = env.episode.widths.copy()
    for round_ in range(1, 4):
        _, _, terminated, truncated, info = env.step(np.full(7, 0.1, dtype=np.float32))
        assert info["executed_ratio"] == pytest.approx(1 - info["channels"] / before)
        assert (terminated, truncated) == (round_ == 3, False)
        before = info["channels"]


@pytest.mark.parametrize("unit", ["parameters", "macs"])
@pytest.mark.parametrize("budget", [0.3, 0.9])
def test_every_action_ends_at_the_budget(make, budget, unit):
    env = make(rounds=3, budget=budget, budget_unit=unit)
    random = np.random.default_rng(0)
    for episode in range(3):
        env.reset(seed=episode)
        over = False
        while not over:
            action = random.uniform(0, 0.95, 7).astype(np.float32)
            _, _, over, _, info = env.step(action)
            if info["collapsed"]:
                break
        else:
            reached = info["reward_terms"]["budget_sparsity"]
            assert budget <= reached < budget + 0.02


@pytest.mark.parametrize("objective", [*OBJECTIVES, "vector"])
def test_rewards_are_increments_of_the_potential(make, objective):
    env = make(rounds=3, budget=0.5, objective=objective, disable_env_checker=True).unwrapped
    env.reset(seed=0)
    start, total = env._phi, 0.0
    for _ in range(3):
        _, reward, over, _, info = env.step(np.full(7, 0.3, dtype=np.float32))
        total = total + reward
        assert set(info["reward_terms"]) >= {"retained", "sparsity", "sparsity_macs", "budget"}
        if over:
            break
    assert np.allclose(total, env._potential(env.episode.terms) - start)


@pytest.mark.parametrize(
    "action", [np.zeros(3), np.full(7, np.nan), np.full(7, np.inf), np.full(7, -0.5), np.full(7, 0.999)]
)
def test_bad_actions_change_nothing(make, action):
    env = make().unwrapped
    env.reset(seed=0)
    with pytest.raises(ValueError, match=r"shape|finite|ratios"):
        env.step(action)
    assert env.episode.round == 0 and (env.episode.widths == env.network.train_state.surgeon.grouping.widths).all()
    env.step(np.zeros(7))


def test_unreachable_budget_is_an_error_at_reset(make):
    env = make(budget=0.5)
    with pytest.raises(ValueError, match="cannot be reached"):
        env.reset(options={"budget": 0.9999})
    with pytest.raises(ValueError, match="unknown reset option 'netwrok'; did you mean 'network'"):
        env.reset(options={"netwrok": 0})
    with pytest.raises(ValueError, match=r"network must be a whole number in \[0, 1\), got 5"):
        env.reset(options={"network": 5})
    with pytest.raises(ValueError, match="unknown reset option 'pool'"):
        env.reset(options={"pool": 5})


def test_a_diverging_network_is_a_documented_ending(make):
    env = make(rounds=4).unwrapped
    env.reset(seed=0)
    env.network.train_state.optimizers[0].param_groups[0]["lr"] = float("inf")
    observation, reward, terminated, _, info = env.step(np.full(7, 0.2, dtype=np.float32))
    assert terminated and info["collapsed"] and info["reward_terms"]["retained"] == -1.0
    assert np.isfinite(observation).all() and observation in env.observation_space and np.isfinite(reward)
    env.network.train_state.optimizers[0].param_groups[0]["lr"] = 3e-4
    env.reset(seed=0)
    assert not env.step(np.full(7, 0.2, dtype=np.float32))[4]["collapsed"]


def test_protection_takes_groups_out(make):
    env = make(protect=["decoder"], budget=0.2).unwrapped
    assert env.group_names == ("encoder.0", "encoder.3", "encoder.6")  # the latent belongs to the decoder too
    env.reset(seed=0)
    env.step(np.full(3, 0.5))
    assert (
        env.network.train_state.model.decoder[0].out_features
        == env.network.train_state.model.decoder[1].num_features
        == 19
    )
    assert make(protect=["encoder.3"]).unwrapped.group_names.count("encoder.3") == 0
    with pytest.raises(ValueError, match="encoder, decoder"):
        make(protect=["actor"])


def test_a_component_of_weight_two_loses_channels_half_as_fast(make):
    plain, weighted = make(rounds=1).unwrapped, make(rounds=1, component_weights={"encoder": 2.0}).unwrapped
    kept = []
    for env in (plain, weighted):
        env.reset(seed=0)
        kept.append(env.step(np.full(7, 0.64))[4]["channels"])
    assert kept[0][0] == 18 and kept[1][0] == 29  # of 49: 36 % and its root, 60 %
    assert (kept[0][4:] == kept[1][4:]).all() and kept[1][3] == 2  # the latent couples to the encoder
    with pytest.raises(ValueError, match="encoder, decoder"):
        make(component_weights={"actor": 2.0}).reset()


def test_an_episode_may_go_on_below_the_floor(make):
    env = make(rounds=3).unwrapped
    for stop, ends in ((True, True), (False, False)):
        env.reset(seed=0, options={"stop_on_collapse": stop, "steps_per_round": 0, "repair": "none"})
        _, _, over, _, info = env.step(np.full(7, 0.9))
        assert info["collapsed"] and over == ends


@pytest.mark.parametrize("schedule", SCHEDULES)
def test_every_schedule_ends_at_the_budget(make, schedule):
    env = make(rounds=3, budget=0.5, schedule=schedule).unwrapped
    env.reset(seed=0)
    sparsities = [env.step(np.full(7, 0.3))[4]["reward_terms"]["sparsity"] for _ in range(3)]
    assert sparsities == sorted(sparsities) and 0.5 <= sparsities[-1] < 0.53


def test_a_step_that_raises_leaves_network_importance_and_random_state_as_they_were(make, monkeypatch):
    env = make(rounds=2).unwrapped
    env.reset(seed=0)
    env.step(np.full(7, 0.2))
    model, tracker = env.network.train_state.model, env.episode.importance

    def everything():
        tensors = [*model.state_dict().values(), tracker.groups(), tracker.channel("fisher_weight")]
        return [tensor.clone() for tensor in tensors] + [env.episode.generator.get_state()]

    before, terms = everything(), env.episode.terms
    with monkeypatch.context() as patch:
        patch.setattr(env.network.train_state.target, "score", lambda *_: 1 / 0)
        with pytest.raises(ZeroDivisionError):
            env.step(np.full(7, 0.2))
    assert all(torch.equal(x, y) for x, y in zip(before, everything(), strict=True))
    assert env.episode.terms == terms and env.episode.round == 1
    env.step(np.full(7, 0.2))


def test_the_learning_rate_of_fine_tuning(make):
    env = make(rounds=1, learning_rate_factor=0.0).unwrapped
    env.reset(seed=0)
    rates = [group["lr"] for group in env.network.train_state.optimizers[0].param_groups]
    env.step(np.zeros(7))
    weight = env.network.train_state.model.encoder[0].weight.clone()
    env.network.restore()
    assert torch.equal(weight, env.network.train_state.model.encoder[0].weight)
    assert rates == [group["lr"] for group in env.network.train_state.optimizers[0].param_groups]


@pytest.mark.parametrize(("shortfall", "retained"), [(0.5, -0.5), (1.0, -1.0), (7.0, -1.0)])
def test_no_network_retains_less_than_a_collapsed_one(make, monkeypatch, shortfall, retained):
    env = make(rounds=1, steps_per_round=0).unwrapped
    env.reset(seed=0)
    floor, dense = env.network.score_scale("validation")
    monkeypatch.setattr(env.network, "score", lambda split: floor - shortfall * (dense - floor))
    *_, info = env.step(np.full(7, 0.3, dtype=np.float32))
    assert info["reward_terms"]["retained"] == pytest.approx(retained)
