"""What is exported acts as SB3's predict does: pre-processing, squashing, clipping and normalisation included."""

import gymnasium as gym
import numpy as np
import pytest
import torch
from sb3_agents import AGENTS, agent, cut_state, observations, target
from stable_baselines3 import PPO
from stable_baselines3.common.vec_env import DummyVecEnv, VecNormalize

from prune_env.targets import SB3Agent


@pytest.mark.parametrize("name", AGENTS)
def test_the_entry_point_takes_observations_of_the_environment(name):
    made = target(name)
    net, point = made.build(), made.entry_points(None)["act"]
    seen = observations(made)
    assert point.example[0].shape == (1, *seen.shape[1:])
    ours = point.call(net, torch.from_numpy(seen)).detach().numpy()
    assert np.allclose(ours, agent(name).predict(seen, deterministic=True)[0], atol=1e-6)


@pytest.mark.parametrize("name", ["ppo-cnn", "td3", "a2c-gsde"])
def test_onnxruntime_has_the_same_return(name, tmp_path):
    pytest.importorskip("onnxruntime")
    from prune_env.export.onnx import OnnxModule, export_onnx

    state = cut_state(name)
    made = state.target
    files = export_onnx(state.model, made.entry_points(state.model), tmp_path / "agent.onnx")
    wanted = made.score(state.model, "test")
    assert made.score_exported(OnnxModule(files.paths), "test") == pytest.approx(wanted, rel=1e-5)


def test_statistics_of_vecnormalize_are_exported(tmp_path):
    venv = VecNormalize(DummyVecEnv([lambda: gym.make("Pendulum-v1")]))
    model = PPO("MlpPolicy", venv, n_steps=64, batch_size=32, seed=0, device="cpu").learn(128)
    venv.save(tmp_path / "vecnormalize.pkl")
    made = SB3Agent(model, "Pendulum-v1", vec_normalize=tmp_path / "vecnormalize.pkl", episodes=2)
    seen = observations(made)
    ours = made.entry_points(None)["act"].call(made.build(), torch.from_numpy(seen)).detach().numpy()
    assert np.allclose(ours, model.predict(venv.normalize_obs(seen), deterministic=True)[0], atol=1e-5)
    assert made.files(made.build())["vecnormalize.pkl"] == (tmp_path / "vecnormalize.pkl").read_bytes()
