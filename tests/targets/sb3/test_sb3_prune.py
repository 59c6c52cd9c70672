"""From a zip to a smaller zip and to ONNX by one call."""

import numpy as np
import pytest
import torch
from stable_baselines3 import PPO

import prune_env
from prune_env.targets import SB3Agent
from prune_env.targets.sb3.target import SHIPPED


@pytest.fixture(scope="module")
def result():
    return prune_env.prune(
        SHIPPED, env="CartPole-v1", trust=True, budget=0.7, policy="fisher", steps=20, options={"episodes": 4},
        progress=False,
    )  # fmt: skip


def test_the_zip_that_is_written_is_loaded_by_sb3(result, tmp_path):
    folder = result.save(tmp_path)
    loaded = PPO.load(folder / "agent.zip", device="cpu")
    made = result.target
    assert result.report.scores["test"].after > 0.9
    observations = np.stack([made.simulator.first_observation()] * 2)
    ours = made.actor(result.model)(made.simulator.read(observations)).numpy()
    assert np.array_equal(ours, loaded.predict(observations, deterministic=True)[0])
    assert loaded.policy_kwargs["net_arch"]["vf"] == [64, 64]
    assert sum(loaded.policy_kwargs["net_arch"]["pi"]) < 90


def test_what_is_saved_is_loaded_into_a_dense_instance(result, tmp_path):
    result.save(tmp_path)
    dense = SB3Agent(SHIPPED, "CartPole-v1", trust=True).build()
    loaded = prune_env.load_pruned(tmp_path, model=dense)
    assert all(torch.equal(t, loaded.state_dict()[key]) for key, t in result.model.state_dict().items())


def test_the_exported_agent_has_the_same_return(result, tmp_path):
    pytest.importorskip("onnxruntime")
    files = result.export_onnx(tmp_path / "agent.onnx")
    assert files.scores["float"] == result.target.score(result.model, "test")
    assert files.fixed_batch == ()


def test_an_agent_that_is_passed_itself_needs_no_trust():
    own = PPO.load(SHIPPED, device="cpu")
    kept = prune_env.prune(own, env="CartPole-v1", budget=0.4, policy="l2", steps=2, options={"episodes": 2})
    pruned = kept.target.agent(kept.model)
    assert isinstance(pruned, PPO) and sum(pruned.policy_kwargs["net_arch"]["pi"]) < 128
    assert own.policy.mlp_extractor.policy_net[0].out_features == 64


def test_a_zip_needs_it():
    with pytest.raises(ValueError, match="--trust"):
        prune_env.prune(SHIPPED, env="CartPole-v1", budget=0.5)
