"""Stable-Baselines3, sb3-contrib and rl-zoo3; each agent then competes by the path of its zip."""

import sys
import tempfile
from contextlib import redirect_stdout
from copy import deepcopy
from importlib import import_module
from importlib.resources import files
from pathlib import Path

import numpy as np
from small import ENV_ID, NETWORK, OPTIONS, make

from prune_env.agents import save_agent
from prune_env.benchmark import compare

NET = {"policy_kwargs": {"net_arch": [16, 16]}}
OFF_POLICY = {**NET, "learning_starts": 16, "batch_size": 8, "buffer_size": 200}


def competes(path, folder):
    """A benchmark with one held-out network takes the agent."""
    options = {name: value for name, value in OPTIONS.items() if name not in ("pool", "budget")}
    arguments = {"env_options": options, "networks": 1, "budgets": (0.5,), "jobs": 1}
    run = compare(["uniform", str(path)], env=ENV_ID, out=Path(folder) / "duel", **arguments)
    assert len(run.records.results) == 2 and not run.records.failures, run.records.failures


def trained(algorithm, policy="MlpPolicy", rounds=64, **arguments):
    """Train in ten lines, save with SB3 alone, compete."""
    with tempfile.TemporaryDirectory() as folder:
        model = algorithm(policy, make(), seed=0, device="cpu", **deepcopy(arguments)).learn(rounds)  # SB3 changes them
        model.save(f"{folder}/mine")
        loaded = algorithm.load(f"{folder}/mine", device="cpu")
        observation, _ = make().reset(seed=0)
        np.testing.assert_array_equal(loaded.predict(observation)[0].shape, make().action_space.shape)
        competes(f"{folder}/mine.zip", folder)
    return f"{rounds} rounds, saved, loaded, in a benchmark by its path"


def sb3():
    """Checker, PPO in parallel environments, SAC behind VecNormalize saved for SB3's loader."""
    from stable_baselines3 import A2C, DDPG, PPO, SAC, TD3
    from stable_baselines3.common.env_checker import check_env
    from stable_baselines3.common.env_util import make_vec_env
    from stable_baselines3.common.vec_env import SubprocVecEnv, VecNormalize

    check_env(make())
    trained(PPO, n_steps=32, batch_size=16, **NET)
    trained(A2C, n_steps=8, **NET)
    for algorithm in (SAC, TD3, DDPG):
        trained(algorithm, rounds=32, **OFF_POLICY)
    venv = make_vec_env(make, n_envs=2, vec_env_cls=SubprocVecEnv, vec_env_kwargs={"start_method": "forkserver"})
    venv = VecNormalize(venv)
    model = SAC("MlpPolicy", venv, seed=0, device="cpu", **deepcopy(OFF_POLICY)).learn(32)
    observation, _ = make().reset(seed=0)
    with tempfile.TemporaryDirectory() as folder:
        path = save_agent(Path(folder), model)
        raw = SAC.load(path, device="cpu").predict(observation, deterministic=True)[0]
        expected = model.predict(venv.normalize_obs(observation), deterministic=True)[0]
        np.testing.assert_array_equal(raw, expected)
        competes(path, folder)
    venv.close()
    return "check_env; PPO, A2C, SAC, TD3, DDPG in a benchmark by their paths; VecNormalize in the zip, SubprocVecEnv"


def contrib(name, policy="MlpPolicy", **arguments):
    """A case for an algorithm of sb3-contrib."""

    def case():
        import sb3_contrib

        return trained(getattr(sb3_contrib, name), policy, **arguments)

    return case


def zoo():
    """Train, enjoy and tune with the hyperparameter files of the package."""
    done = []
    for name in sorted(
        path.name.removesuffix(".yml") for path in (files("prune_env.agents") / "hyperparams").iterdir()
    ):
        with tempfile.TemporaryDirectory() as folder:
            zoo_train(name, folder)
            done.append(name)
    with tempfile.TemporaryDirectory() as folder:
        tuned = ["-optimize", "--n-trials", "2", "--n-jobs", "1", "--sampler", "random", "--pruner", "none"]
        tuned += ["-n", "64", "--eval-episodes", "2", "--n-evaluations", "1"]
        tuned += ["-params", "n_envs:1", "learning_starts:16"]
        zoo_run("train", "sac", folder, tuned)
    return f"train and enjoy with our YAML files of {', '.join(done)}; Optuna, 2 trials of sac"


def zoo_train(name, folder):
    """Train with rl-zoo3, watch with its enjoy, and take part in a benchmark."""
    timesteps = 256 if name in ("ppo", "a2c", "trpo") else 32
    small = ["-n", str(timesteps), "--eval-freq", "-1", "-params", "n_envs:1"]
    small += ["learning_starts:16", "batch_size:8"] if timesteps == 32 else []
    zoo_run("train", name, folder, small)
    zoo_run("enjoy", name, folder, ["-n", "4", "--no-render", "--exp-id", "1"])
    saved = Path(folder) / name / f"{ENV_ID.replace('/', '-')}_1"
    normalised = (saved / ENV_ID.replace("/", "-") / "vecnormalize.pkl").is_file()
    if not normalised:
        competes(next(saved.glob("*.zip")), folder)


def zoo_run(command, name, folder, arguments):
    """A command of rl-zoo3 as a user types it, in this process: importing it takes longer than the rest."""
    config = files("prune_env.agents") / "hyperparams" / f"{name}.yml"
    options = [f"{key}:{value!r}" for key, value in {"pool": 1, "rounds": 1, "steps_per_round": 2, **NETWORK}.items()]
    given = ["--algo", name, "--env", ENV_ID, "-f", folder, "--gym-packages", "prune_env", "--device", "cpu"]
    given += ["--conf-file", str(config)] if command == "train" else []
    before, sys.argv = sys.argv, [command, *given, "--env-kwargs", *options, *arguments]
    try:
        with redirect_stdout(sys.stderr):
            getattr(import_module(f"rl_zoo3.{command}"), command)()
    finally:
        sys.argv = before


CASES = {
    "stable-baselines3": ("stable-baselines3", sb3),
    "sb3-contrib ARS": ("sb3-contrib", contrib("ARS", "LinearPolicy", n_delta=2, n_eval_episodes=2)),
    "sb3-contrib TQC": ("sb3-contrib", contrib("TQC", rounds=32, **OFF_POLICY)),
    "sb3-contrib TRPO": ("sb3-contrib", contrib("TRPO", n_steps=32, batch_size=16, **NET)),
    "sb3-contrib CrossQ": ("sb3-contrib", contrib("CrossQ", rounds=32, **OFF_POLICY)),
    "sb3-contrib RecurrentPPO": (
        "sb3-contrib",
        contrib("RecurrentPPO", "MlpLstmPolicy", n_steps=32, batch_size=16, policy_kwargs={"lstm_hidden_size": 8}),
    ),
    "rl-zoo3": ("rl-zoo3", zoo),
}
