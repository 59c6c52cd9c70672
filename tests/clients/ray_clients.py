"""RLlib, as docs/how-to/rllib.md shows it."""

import os


def make_pruning(config):
    """The function that RLlib calls in its workers."""
    import sys
    from pathlib import Path

    sys.path.insert(0, str(Path(__file__).parent))
    from small import make

    return make(**config)


def rllib():
    """PPO with one worker."""
    os.environ["RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO"] = "0"
    import ray
    from ray.rllib.algorithms.ppo import PPOConfig
    from ray.tune.registry import register_env

    ray.init(num_cpus=2, include_dashboard=False, log_to_driver=False)
    try:
        register_env("pruning", make_pruning)
        config = (
            PPOConfig()
            .environment("pruning", env_config={"rounds": 2})
            .env_runners(num_env_runners=1, rollout_fragment_length=32)
            .training(train_batch_size=32, minibatch_size=16, num_epochs=2)
        )
        algorithm = config.build_algo()
        for _ in range(2):
            result = algorithm.train()["env_runners"]
        assert result["num_episodes"] > 0 and result["episode_return_mean"] == result["episode_return_mean"]
        algorithm.stop()
    finally:
        ray.shutdown()
    return "PPO with one remote environment runner, 2 iterations of 32 rounds"


CASES = {"RLlib": ("ray", rllib)}
