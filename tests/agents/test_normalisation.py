"""Statistics of VecNormalize inside a saved model: the same answers, bit for bit, from SB3's own loader."""

import numpy as np
import pytest
import torch
from stable_baselines3 import DDPG, PPO, SAC, TD3
from stable_baselines3.common.torch_layers import FlattenExtractor
from stable_baselines3.common.vec_env import DummyVecEnv, VecNormalize
from tiny_agents import ENV_ID, OPTIONS

from prune_env.agents import EnvFactory, SavedAgent, save_agent
from prune_env.agents.normalisation import NormalizedObservations, normalising, without_normalisation
from prune_env.agents.policies import GroupPolicy

OFF_POLICY = {"buffer_size": 10}
MODELS = {
    "ppo": (PPO, "MlpPolicy", {"n_steps": 8, "batch_size": 8}),
    "ppo, extractors of their own": (
        PPO,
        "MlpPolicy",
        {"n_steps": 8, "batch_size": 8, "policy_kwargs": {"share_features_extractor": False}},
    ),
    "group policy": (PPO, GroupPolicy, {"n_steps": 8, "batch_size": 8, "policy_kwargs": {"hidden": 8}}),
    "sac": (SAC, "MlpPolicy", OFF_POLICY),
    "td3": (TD3, "MlpPolicy", OFF_POLICY),
    "ddpg": (DDPG, "MlpPolicy", {**OFF_POLICY, "policy_kwargs": {"net_arch": [8]}}),
}


@pytest.fixture(scope="module")
def vectorised():
    venv = VecNormalize(DummyVecEnv([EnvFactory(ENV_ID, OPTIONS)]), norm_reward=False, clip_obs=1.5, epsilon=1e-4)
    venv.seed(0)
    venv.reset()
    for _ in range(20):
        venv.step(venv.action_space.sample()[None])
    return venv


@pytest.fixture(scope="module")
def observations(env):
    env.reset(seed=3)
    return np.stack([env.reset()[0] for _ in range(4)])


def answers(model, observations):
    return model.predict(observations, deterministic=True)[0]


@pytest.mark.parametrize("name", MODELS)
def test_sb3s_own_loader_and_ours_act_as_the_model_did(name, tmp_path, env, vectorised, observations):
    algorithm, policy, arguments = MODELS[name]
    model = algorithm(policy, vectorised, seed=0, device="cpu", **arguments)
    normalised = vectorised.normalize_obs(observations)
    expected = answers(model, normalised)
    assert not np.array_equal(expected, answers(model, observations))
    path = save_agent(tmp_path, model)
    loaded = algorithm.load(path, device="cpu")
    np.testing.assert_array_equal(answers(loaded, observations), expected)
    ratios = SavedAgent(path, env).predict(observations)[0]
    np.testing.assert_array_equal(ratios, (expected + 1) / 2 * env.max_ratio)
    # the model itself is as it was, and so is one that goes on training behind a VecNormalize
    np.testing.assert_array_equal(answers(model, normalised), expected)
    without_normalisation(loaded)
    np.testing.assert_array_equal(answers(loaded, normalised), expected)
    for same in (model, loaded):
        assert not any(isinstance(module, NormalizedObservations) for module in same.policy.modules())
        assert same.policy_kwargs.get("features_extractor_class", FlattenExtractor) is FlattenExtractor
    assert loaded.policy.state_dict().keys() == model.policy.state_dict().keys()


def test_it_is_undone_when_saving_fails(vectorised):
    model = SAC("MlpPolicy", vectorised, seed=0, device="cpu", **OFF_POLICY)
    with pytest.raises(OSError, match="disk"), normalising(model, vectorised):
        raise OSError("disk")
    assert not any(isinstance(module, NormalizedObservations) for module in model.policy.modules())
    assert "features_extractor_class" not in model.policy_kwargs


def test_without_normalised_observations_nothing_is_carried(tmp_path, env, vectorised, observations):
    rewards_only = VecNormalize(vectorised.venv, norm_obs=False)
    model = SAC("MlpPolicy", rewards_only, seed=0, device="cpu", **OFF_POLICY)
    path = save_agent(tmp_path, model)
    assert not any(isinstance(module, NormalizedObservations) for module in SAC.load(path).policy.modules())
    expected = (answers(model, observations) + 1) / 2 * env.max_ratio
    np.testing.assert_array_equal(SavedAgent(path, env).predict(observations)[0], expected)


def test_the_normalised_model_trains_on_as_before(vectorised):
    def weights(save):
        torch.manual_seed(0)
        vectorised.seed(0)
        model = PPO("MlpPolicy", vectorised, n_steps=8, batch_size=8, seed=0, device="cpu")
        vectorised.training = False
        if save:
            with normalising(model, vectorised):
                pass
        model.learn(8)
        return torch.cat([p.detach().flatten() for p in model.policy.parameters()])

    assert torch.equal(weights(save=False), weights(save=True))
