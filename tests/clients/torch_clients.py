"""Libraries on torch: torchrl, skrl, tianshou, and a rollout loop as CleanRL writes it."""

import logging

import gymnasium as gym
import numpy as np
import torch
from small import ENV_ID, OPTIONS, make
from torch import nn


def torchrl():
    """Its checker, a collector that acts without gradients, and one PPO update on what it collected."""
    from tensordict.nn import NormalParamExtractor, TensorDictModule
    from torchrl.collectors import Collector
    from torchrl.envs import GymEnv, GymWrapper
    from torchrl.envs.utils import check_env_specs
    from torchrl.modules import ProbabilisticActor, TanhNormal, ValueOperator
    from torchrl.objectives import ClipPPOLoss
    from torchrl.objectives.value import GAE

    check_env_specs(GymEnv(ENV_ID, **OPTIONS))
    numbers, groups = make().observation_space.shape[0], make().action_space.shape[0]
    network = nn.Sequential(nn.Linear(numbers, 16), nn.Tanh(), nn.Linear(16, 2 * groups), NormalParamExtractor())
    actor = ProbabilisticActor(
        TensorDictModule(network, in_keys=["observation"], out_keys=["loc", "scale"]),
        in_keys=["loc", "scale"],
        distribution_class=TanhNormal,
        return_log_prob=True,
    )
    critic = ValueOperator(nn.Linear(numbers, 1), in_keys=["observation"])
    loss = ClipPPOLoss(actor, critic)
    optimizer = torch.optim.Adam(loss.parameters(), 1e-3)
    advantages = GAE(gamma=1.0, lmbda=0.95, value_network=critic)
    collector = Collector(lambda: GymWrapper(make()), actor, frames_per_batch=32, total_frames=64)
    frames = 0
    for batch in collector:
        advantages(batch)
        values = loss(batch.reshape(-1))
        sum(value for name, value in values.items() if name.startswith("loss_")).backward()
        optimizer.step()
        optimizer.zero_grad()
        frames += batch.numel()
    collector.shutdown()
    return f"check_env_specs(GymEnv); Collector and ClipPPOLoss, {frames} rounds"


def skrl():
    """Its sequential trainer, which steps under no_grad."""
    from skrl.agents.torch.ppo import PPO
    from skrl.envs.wrappers.torch import wrap_env
    from skrl.memories.torch import RandomMemory
    from skrl.models.torch import DeterministicMixin, GaussianMixin, Model
    from skrl.trainers.torch import SequentialTrainer

    class Policy(GaussianMixin, Model):
        def __init__(self, **spaces):
            Model.__init__(self, **spaces)
            GaussianMixin.__init__(self)
            self.net = nn.Linear(self.num_observations, self.num_actions)
            self.log_std = nn.Parameter(torch.zeros(self.num_actions))

        def compute(self, inputs, role):
            return torch.tanh(self.net(inputs["observations"])), {"log_std": self.log_std}

    class Value(DeterministicMixin, Model):
        def __init__(self, **spaces):
            Model.__init__(self, **spaces)
            DeterministicMixin.__init__(self)
            self.net = nn.Linear(self.num_observations, 1)

        def compute(self, inputs, role):
            return self.net(inputs["observations"]), {}

    env = wrap_env(gym.wrappers.ClipAction(make()))
    spaces = {
        "observation_space": env.observation_space,
        "state_space": env.state_space,
        "action_space": env.action_space,
        "device": env.device,
    }
    cfg = {"rollouts": 16, "learning_epochs": 2, "mini_batches": 2}
    cfg["experiment"] = {"write_interval": 0, "checkpoint_interval": 0}
    memory = RandomMemory(memory_size=16, num_envs=env.num_envs, device=env.device)
    agent = PPO(models={"policy": Policy(**spaces), "value": Value(**spaces)}, memory=memory, cfg=cfg, **spaces)
    trainer = SequentialTrainer(cfg={"timesteps": 48, "headless": True}, env=env, agents=agent)
    trainer.train()
    trainer.eval()
    return "SequentialTrainer with PPO, trained and evaluated for 48 rounds"


def tianshou():
    """Its high-level interface, with vector environments and collectors."""
    from tianshou.highlevel.config import OffPolicyTrainingConfig
    from tianshou.highlevel.env import EnvFactoryRegistered, VectorEnvType
    from tianshou.highlevel.experiment import ExperimentConfig, SACExperimentBuilder
    from tianshou.highlevel.params.algorithm_params import SACParams

    logging.disable(logging.INFO)
    factory = EnvFactoryRegistered(task=ENV_ID, venv_type=VectorEnvType.DUMMY, **OPTIONS)
    training = OffPolicyTrainingConfig(
        max_epochs=1,
        epoch_num_steps=32,
        num_training_envs=2,
        num_test_envs=1,
        test_step_num_episodes=1,
        start_timesteps=16,
        collection_step_num_env_steps=4,
        update_step_num_gradient_steps_per_sample=0.25,
        batch_size=8,
        buffer_size=100,
    )
    config = ExperimentConfig(persistence_enabled=False, watch=False)
    SACExperimentBuilder(factory, config, training).with_sac_params(SACParams()).build().run()
    return "SAC by the high-level interface, 32 rounds in 2 environments"


def cleanrl():
    """The rollout loop of ppo_continuous_action.py: vector environment, wrappers, no_grad, one update."""

    def thunk():
        env = gym.wrappers.RecordEpisodeStatistics(gym.wrappers.FlattenObservation(make()))
        env = gym.wrappers.NormalizeObservation(gym.wrappers.ClipAction(env))
        env = gym.wrappers.TransformObservation(env, lambda obs: np.clip(obs, -10, 10), env.observation_space)
        return gym.wrappers.TransformReward(gym.wrappers.NormalizeReward(env, gamma=1.0), lambda r: np.clip(r, -10, 10))

    envs = gym.vector.SyncVectorEnv([thunk] * 2)
    actor = nn.Linear(envs.single_observation_space.shape[0], envs.single_action_space.shape[0])
    optimizer = torch.optim.Adam(actor.parameters(), 1e-3)
    observations, _ = envs.reset(seed=0)
    log_probs, rewards = [], []
    returns = 0
    for _ in range(24):
        with torch.no_grad():
            seen = torch.as_tensor(observations, dtype=torch.float32)
            action = torch.distributions.Normal(actor(seen), 0.5).sample()
            observations, reward, _, _, infos = envs.step(action.numpy())
        log_probs.append(torch.distributions.Normal(actor(seen), 0.5).log_prob(action).sum(1))
        rewards.append(torch.as_tensor(reward))
        returns += int(infos["_episode"].sum()) if "episode" in infos else 0
    (-(torch.stack(log_probs) * torch.stack(rewards)).mean()).backward()
    optimizer.step()
    envs.close()
    assert returns > 0
    return f"the wrappers and the loop of ppo_continuous_action.py, {returns} episodes"


CASES = {
    "torchrl": ("torchrl", torchrl),
    "skrl": ("skrl", skrl),
    "tianshou": ("tianshou", tianshou),
    "CleanRL's loop (gymnasium)": ("gymnasium", cleanrl),
}
