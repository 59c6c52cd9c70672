"""The environment: its contract with Gymnasium and SB3, determinism, endings, and bad input."""

import pickle
import warnings
from dataclasses import replace

import gymnasium as gym
import numpy as np
import pytest
import torch
from gymnasium.utils.env_checker import check_env
from stable_baselines3.common.env_checker import check_env as sb3_check_env
from stable_baselines3.common.vec_env import SubprocVecEnv

from prune_env.envs import ENVIRONMENTS, FORMS, OBJECTIVES, SCHEDULES, PruningConfig, PruningEnv
from prune_env.envs.config import FIELDS
from prune_env.targets import Target
from prune_env.targets.data import DataError

QUICK = {"dense_steps": 120, "learning_rate": 0.005, "steps_per_round": 2, "latent_dim": 4, "batch_size": 32}
# Controllers are not trained here: their checkpoints come with the package.
QUICK_CONTROLLER = {"steps_per_round": 1, "starts": 2, "planner": {"samples": 8, "elites": 2, "iterations": 1}}

_SHIPPED_POOLS = {"PruneEnv/TDMPCPendulum-v0": {"pool": 2, "split": "held_out"}}


def make_or_skip(env_id, **options):
    controller = "TDMPC" in env_id
    try:
        return gym.make(env_id, **((QUICK_CONTROLLER if controller else QUICK) | options))
    except DataError as error:
        pytest.skip(f"the data of {env_id} is not here: {error}")
    except ImportError as error:
        pytest.skip(str(error))


def rollout(env, seed, steps=12):
    """Observations, rewards and infos of `steps` rounds under fixed actions, episodes included."""
    random = np.random.default_rng(1)
    observation, info = env.reset(seed=seed)
    trail = [(observation, 0.0, info)]
    for _ in range(steps):
        action = random.uniform(0, env.action_space.high[0], env.action_space.shape).astype(np.float32)
        observation, reward, terminated, truncated, info = env.step(action)
        trail.append((observation, reward, info))
        if terminated or truncated:
            observation, info = env.reset()
            trail.append((observation, 0.0, info))
    return trail


def same(one, other):
    """Equality of nests of arrays and numbers, bit for bit."""
    if isinstance(one, dict):
        return one.keys() == other.keys() and all(same(one[k], other[k]) for k in one)
    if isinstance(one, (tuple, list)):
        return len(one) == len(other) and all(same(a, b) for a, b in zip(one, other, strict=True))
    return np.array_equal(one, other)


@pytest.mark.parametrize("env_id", ENVIRONMENTS)
def test_gymnasium_and_sb3_checkers_pass_without_a_warning(env_id):
    env = make_or_skip(env_id, rounds=2)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        check_env(env.unwrapped)
        sb3_check_env(gym.wrappers.RescaleAction(env, np.float32(-1), np.float32(1)))


@pytest.mark.parametrize("env_id", ENVIRONMENTS)
@pytest.mark.parametrize(
    "options", [{"budget": (0.3, 0.8), "pool": 2}, {"criterion": "random"}], ids=["pool", "random"]
)
def test_same_seed_same_trajectory_bit_for_bit(env_id, options):
    if "pool" in options:
        options = options | (_SHIPPED_POOLS.get(env_id, {"pool": 1}) if "TDMPC" in env_id else {"latent_dim": 5})
    steps = 3 if "MNIST" in env_id or "TDMPC" in env_id else 8
    first = rollout(make_or_skip(env_id, **options), 3, steps)
    assert same(first, rollout(make_or_skip(env_id, **options), 3, steps))
    assert not same(first, rollout(make_or_skip(env_id, **options), 4, steps))


def test_a_pickled_environment_goes_the_same_way(make):
    env = make(rounds=2).unwrapped
    assert same(rollout(env, 5, 4), rollout(pickle.loads(pickle.dumps(env)), 5, 4))


def test_reset_restores_the_dense_network_bit_for_bit(make):
    env = make(rounds=2).unwrapped
    env.reset(seed=0)
    train_state = env.network.train_state

    def everything():
        states = [v for o in train_state.optimizers for s in o.state.values() for v in s.values()]
        return [
            t.clone()
            for t in (*train_state.model.state_dict().values(), *states, *train_state.tracker.state_dict().values())
        ]

    before = everything()
    env.step(np.full(7, 0.6, dtype=np.float32))
    assert any(a.shape != b.shape for a, b in zip(before, everything(), strict=True))
    env.reset()
    assert all(torch.equal(a, b) for a, b in zip(before, everything(), strict=True))


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


@pytest.mark.parametrize("form", FORMS)
def test_observation_has_the_named_columns(make, form):
    env = make(observation=form, rounds=2, budget=0.5)
    observation, info = env.reset(seed=0)
    table = observation.reshape(len(info["groups"]), len(info["columns"]))
    train_state = env.unwrapped.network.train_state
    assert np.allclose(table[:, :3], np.log10(train_state.tracker.groups().numpy()).T, atol=1e-4)
    if form == "importance":
        assert observation.shape == (3 * 7,)
        return
    column = dict(zip(info["columns"], table.T, strict=True))
    root = train_state.model.encoder[0]
    weights = torch.cat([root.weight.flatten(), root.bias]).detach()
    assert column["weight_mean"][0] == pytest.approx(np.log10(weights.abs().mean().item()), abs=1e-4)
    assert column["weight_rms"][0] == pytest.approx(np.log10(weights.square().mean().sqrt().item()), abs=1e-4)
    assert column["size"][0] == pytest.approx(np.log10(64 * 49 + 49), abs=1e-5)
    assert column["channels"][3] == pytest.approx(np.log10(4), abs=1e-5)
    assert column["coupling"].tolist() == [0, 0, 0, 1, 0, 0, 0]
    assert column["kept"].tolist() == [1] * 7
    assert set(column["budget_left"]) == {np.float32(0.5)} and set(column["retained"]) == {1}


def test_observation_is_a_fresh_array(make):
    env = make()
    first, _ = env.reset(seed=0)
    kept = first.copy()
    env.step(np.full(7, 0.5, dtype=np.float32))
    assert np.array_equal(first, kept)


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


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"budget": 1.2}, "budget is a sparsity"),
        ({"budget": 0.0}, "budget is a sparsity"),
        ({"budget": float("nan")}, "budget is a sparsity"),
        ({"budget": (0.8, 0.3)}, "from low to high"),
        ({"objective": "speed"}, "area, budget"),
        ({"objective": "budget"}, "needs a budget"),
        ({"observation": "pixels"}, "importance, full"),
        ({"observation": ("gradient", "hue")}, "column 'hue'"),
        ({"criterion": "beauty"}, "l1, l2"),
        ({"repair": "glue"}, "batchnorm"),
        ({"budget_unit": "watts"}, "parameters, macs"),
        ({"split": "test"}, "'train' or 'held_out'"),
        ({"schedule": "sudden"}, "geometric, linear, cubic, one-shot"),
        ({"learning_rate_factor": -1.0}, "learning_rate_factor"),
        ({"objective": "weighted", "objective_options": {"latency": 1.0}}, "reward term 'latency'"),
        ({"component_weights": {"encoder": 0}}, "component_weights"),
        ({"protect": "encoder"}, "protect must be a sequence"),
        ({"rounds": 0}, "rounds"),
        ({"steps_per_round": -1}, "steps_per_round"),
        ({"max_ratio": 1.0}, "max_ratio"),
        ({"data": "cifar"}, "digits, mnist"),
        ({"colour": "red"}, "colour"),
    ],
)
def test_bad_arguments_are_named(options, words):
    with pytest.raises(ValueError, match=words):
        PruningEnv("autoencoder", **(QUICK | options))


def test_unknown_target_lists_the_known_ones():
    with pytest.raises(ValueError, match="autoencoder"):
        gym.make("PruneEnv/Pruning-v0", target="transformer")


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


def test_stepping_after_the_end_is_an_error(make):
    env = make(rounds=1).unwrapped
    with pytest.raises(RuntimeError, match="reset"):
        PruningEnv("autoencoder", **QUICK).step(np.zeros(7))
    env.reset(seed=0)
    env.step(np.zeros(7))
    with pytest.raises(RuntimeError, match="reset"):
        env.step(np.zeros(7))


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


def test_a_pool_differs_in_seeds_and_latent_sizes_and_holds_out_both():
    options = {"dense_steps": 100, "learning_rate": 0.005, "steps_per_round": 1}
    train = PruningEnv("autoencoder", pool=8, **options).labels
    held_out = PruningEnv("autoencoder", pool=8, split="held_out", **options).labels
    assert {s for _, s in train} == {f"latent_dim={n}" for n in (4, 8, 16, 32)}
    assert {s for _, s in held_out} == {f"latent_dim={n}" for n in (6, 12, 24)}
    assert len({label for label, _ in train + held_out}) == 16
    fixed = PruningEnv("autoencoder", pool=3, split="held_out", latent_dim=5, **options)
    assert {s for _, s in fixed.labels} == {"autoencoder"}


@pytest.mark.parametrize("mode", ["ansi", "rgb_array", "human"])
def test_renders(make, mode):
    env = make(rounds=2, render_mode=mode)
    env.reset(seed=0)
    env.step(np.full(7, 0.4, dtype=np.float32))
    picture = env.render()
    if mode == "ansi":
        assert "encoder.0" in picture and "retained score" in picture and "coupling" in picture
    elif mode == "rgb_array":
        assert picture.dtype == np.uint8 and picture.ndim == 3 and picture.std() > 10
    else:
        assert picture is None


def test_vectorised():
    envs = gym.make_vec("PruneEnv/Autoencoder-v0", num_envs=2, vectorization_mode="sync", **QUICK)
    observations, _ = envs.reset(seed=0)
    assert observations.shape == (2, 7 * 14)
    envs.step(envs.action_space.sample())
    envs.close()


def _make_quick():
    return gym.make("PruneEnv/Autoencoder-v0", **QUICK)


def test_sb3_subprocesses_agree_with_this_process():
    vec = SubprocVecEnv([_make_quick] * 2, start_method="spawn")
    try:
        vec.seed(7)
        observations = vec.reset()
        stepped, rewards, _, _ = vec.step(np.full((2, 7), 0.3, dtype=np.float32))
    finally:
        vec.close()
    env = _make_quick()
    assert np.array_equal(observations[0], env.reset(seed=7)[0])
    observation, reward, *_ = env.step(np.full(7, 0.3, dtype=np.float32))
    assert np.array_equal(stepped[0], observation) and rewards[0] == reward


def test_trials_of_a_view_leave_no_trace(make):
    env = make(rounds=2, budget=0.5).unwrapped
    env.reset(seed=0)
    first = rollout(env, 2, 2)
    env.reset(seed=2)
    values = [env.view.evaluate(np.full(7, 0.3)) for _ in range(2)]
    assert env.episode.trial_cuts == 2 and values[0] == values[1]
    random = np.random.default_rng(1)
    observation, *_ = env.step(random.uniform(0, 0.95, 7).astype(np.float32))
    assert np.array_equal(observation, first[1][0])


def test_nothing_in_view_scores_without_being_counted(make):
    env = make(rounds=1, budget=0.5).unwrapped
    env.reset(seed=0)
    view, target = env.view, env.network.train_state.target
    shown = {name: getattr(view, name) for name in dir(view) if not name.startswith("_")}
    assert not [name for name, value in shown.items() if isinstance(value, Target) or hasattr(value, "score")]
    model = view.copy_model().eval()
    assert torch.equal(view.trace(model), target.trace(model))
    assert view.count_cost(model) == env.network.cost.dense


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


def test_class_docstring_has_the_standard_headings():
    headings = [line.strip() for line in PruningEnv.__doc__.splitlines() if line.strip().startswith("## ")]
    assert headings == [
        f"## {h}"
        for h in (
            "Description",
            "Action Space",
            "Observation Space",
            "Rewards",
            "Starting State",
            "Episode End",
            "Arguments",
            "Version History",
        )
    ]


def test_options_of_the_wrong_kind_are_named():
    for name in ("rounds", "steps_per_round", "max_ratio", "pool"):
        with pytest.raises(ValueError, match=name):
            PruningEnv("autoencoder", **(QUICK | {name: "two"}))


def test_an_unknown_keyword_is_a_type_error_that_knows_better():
    with pytest.raises(TypeError, match="unknown option 'round'; did you mean 'rounds'"):
        PruningEnv("autoencoder", round=2)
    with pytest.raises(TypeError, match="'latent_dims'; did you mean 'latent_dim'"):
        PruningEnv("autoencoder", latent_dims=2)
    with pytest.raises(TypeError, match="'widht'; did you mean 'width'"):
        PruningEnv("tdmpc", widht=2)


def test_a_configuration_and_its_fields_as_keywords_are_the_same(make):
    options = {name: value for name, value in QUICK.items() if name not in FIELDS}
    config = PruningConfig(target="autoencoder", target_options=options, rounds=2, steps_per_round=2)
    first, second = PruningEnv(config), PruningEnv("autoencoder", rounds=2, steps_per_round=2, **options)
    assert first.config == second.config
    changed = PruningEnv(config, rounds=3).config
    assert changed == replace(config, rounds=3)


@pytest.mark.parametrize("context", [torch.no_grad, torch.inference_mode])
def test_it_works_where_gradients_are_switched_off(make, context):
    def reward(around):
        with around():
            env = make(rounds=1)
            env.reset(seed=0)
            return env.step(np.full(7, 0.3, dtype=np.float32))[1]

    assert reward(context) == reward(torch.enable_grad)


def test_it_works_under_another_default_dtype(make):
    def reward():
        env = make(rounds=1)
        env.reset(seed=0)
        return env.step(np.full(7, 0.3, dtype=np.float32))[1]

    usual = reward()
    torch.set_default_dtype(torch.float64)
    try:
        assert reward() == usual
        assert torch.get_default_dtype() == torch.float64
    finally:
        torch.set_default_dtype(torch.float32)


def test_fields_of_the_configuration_hold_for_one_episode(make):
    env = make(rounds=3, budget=0.4).unwrapped
    _, info = env.reset(seed=0, options={"rounds": 1, "budget": None, "criterion": "l2", "steps_per_round": 0})
    assert info["reward_terms"]["budget"] == 0
    assert env.step(np.full(7, 0.3))[2]
    env.reset(seed=0)
    assert env.episode.budget == 0.4 and not env.step(np.full(7, 0.3))[2]
    for budget in ((0.2, 0.3), [0.25, 0.3, 0.35]):
        env.reset(seed=0, options={"budget": budget})
        assert min(budget) <= env.episode.budget <= max(budget)


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


def test_the_docstring_names_every_objective_and_column():
    text = PruningEnv.__doc__
    assert all(f"| {name}" in text for name in OBJECTIVES)
    assert all(column in text for column in FORMS["full"])
    documented = PruningConfig.__doc__
    assert all(f"{name}: " in documented for name in FIELDS)


@pytest.mark.parametrize("options", [{"network": 0.7}, {"network": None}, {"budget": {}}, {"budget": "much"}, 1])
def test_reset_options_of_the_wrong_kind_are_refused(make, options):
    with pytest.raises(ValueError, match=r"must be|a budget is"):
        make().reset(options=options)


def test_before_the_first_reset_there_is_nothing_to_see(make):
    env = make(render_mode="ansi").unwrapped
    for look in (lambda: env.view, env.render):
        with pytest.raises(RuntimeError, match=r"call reset\(\) first"):
            look()
