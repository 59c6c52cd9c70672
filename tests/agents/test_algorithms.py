"""Every algorithm that is registered trains, resumes, is saved, and acts when it is loaded again."""

import numpy as np
import pytest
from tiny_agents import ENV_ID

from prune_env.agents import ALGORITHMS, load_hyperparams
from prune_env.agents.hyperparameters import known_hyperparams
from prune_env.agents.saved import SavedAgent, read_description
from prune_env.agents.settings import algorithm
from prune_env.testing import check_policy

SMALL = {"n_steps": 4, "batch_size": 4, "n_epochs": 1, "learning_starts": 4, "buffer_size": 50, "gradient_steps": 1}
SMALL["learning_rate"] = 0.001  # a schedule that falls to zero would learn nothing in the last update


def small(name):
    settings = load_hyperparams(name, ENV_ID) | SMALL
    if "train_freq" in settings:
        del settings["n_steps"]  # of an off-policy algorithm: n-step returns
    return {key: value for key, value in settings.items() if key in known_hyperparams(name)}


@pytest.mark.parametrize("name", ALGORITHMS)
def test_an_algorithm_trains_resumes_and_acts(name, train, env, tmp_path):
    settings = small(name)
    path = train(tmp_path / name, algo=name, timesteps=8, hyperparams=settings)
    before = algorithm(name).load(path, device="cpu")
    assert before.num_timesteps == 8 and before._n_updates > 0
    made_by = read_description(path)["made_by"]
    assert made_by["algorithm"] == name
    assert SavedAgent(path, env).training.hyperparameters["gamma"] == settings["gamma"] == 1.0
    check_policy(str(path), env)
    train(tmp_path / name, algo=name, timesteps=12, hyperparams=settings)
    after = algorithm(name).load(path, device="cpu")
    assert after.num_timesteps == 12 and after._n_updates > before._n_updates
    parameters = [model.policy.state_dict() for model in (before, after)]
    assert any(not np.array_equal(parameters[0][key], parameters[1][key]) for key in parameters[0])


def test_action_noise_reaches_the_algorithm(train, tmp_path):
    settings = {**small("td3"), "noise_type": "normal", "noise_std": 0.2}
    path = train(tmp_path / "td3", algo="td3", timesteps=8, hyperparams=settings)
    assert read_description(path)["made_by"]["hyperparams"]["noise_std"] == 0.2
    train(tmp_path / "td3", algo="td3", timesteps=12, hyperparams=settings)
