"""Experiment trackers: Weights & Biases by its own callback, here with a stand-in for its package."""

import sys
from types import ModuleType, SimpleNamespace

import pytest
from stable_baselines3.common.callbacks import BaseCallback
from tiny_agents import OPTIONS

from prune_env.agents import TRACKERS
from prune_env.agents.trackers import tracking


class Counting(BaseCallback):
    """SB3's callback that counts the rounds it sees."""

    rounds = 0

    def _on_step(self):
        type(self).rounds += 1
        return True


@pytest.fixture
def wandb(monkeypatch):
    """The calls that a stand-in for wandb gets."""
    calls = []

    def init(project=None, entity=None, config=None, sync_tensorboard=False, id=None, resume=None, dir=None):
        calls.append(("init", {"project": project, "config": config, "tensorboard": sync_tensorboard, "id": id}))
        return SimpleNamespace(finish=lambda exit_code=0: calls.append(("finish", exit_code)))

    modules = {name: ModuleType(name) for name in ("wandb", "wandb.integration", "wandb.integration.sb3")}
    modules["wandb"].init, modules["wandb.integration.sb3"].WandbCallback = init, Counting
    for name, module in modules.items():
        monkeypatch.setitem(sys.modules, name, module)
    monkeypatch.setattr(Counting, "rounds", 0)
    return calls


def test_a_training_is_logged_from_its_start_to_its_end(wandb, train, tmp_path):
    train(tmp_path / "ppo", trackers=["wandb:project=mine"])
    (_, begun), end = wandb
    assert begun["project"] == "mine" and begun["tensorboard"] and begun["config"]["env_options"] == OPTIONS
    assert Counting.rounds == 16 and end == ("finish", 0)
    train(tmp_path / "ppo", trackers=["wandb:project=mine"], timesteps=24)
    assert wandb[2][1]["id"] == begun["id"]  # it goes on in the same run


def test_an_interrupted_training_is_said_to_have_failed(wandb, train, tmp_path, monkeypatch):
    def interrupted(self):
        raise KeyboardInterrupt

    monkeypatch.setattr(Counting, "_on_step", interrupted)
    with pytest.raises(KeyboardInterrupt):
        train(tmp_path / "ppo", trackers=["wandb"])
    assert wandb[-1] == ("finish", 1)


def test_a_missing_package_is_named_before_anything_is_written(train, tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "wandb", None)
    with pytest.raises(ImportError, match=r"the tracker wandb needs its package .*pip install 'prune_env\[wandb\]'"):
        train(tmp_path / "ppo", trackers=["wandb"])
    assert not (tmp_path / "ppo").exists()


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("wandbb", "unknown tracker 'wandbb'; did you mean 'wandb'?"),
        ("wandb:projekt=x", "tracker wandb: unknown option 'projekt'; did you mean 'project'?"),
        ("wandb:project", "options are written NAME:KEY=VALUE"),
    ],
)
def test_a_wrong_name_or_option_is_named(wandb, tmp_path, text, said):
    with pytest.raises(ValueError, match=said):
        tracking(text, {}, tmp_path)


def test_users_add_trackers(monkeypatch, train, tmp_path):
    from contextlib import nullcontext

    monkeypatch.setattr(Counting, "rounds", 0)
    monkeypatch.setitem(TRACKERS, "counting", lambda config, folder: nullcontext(Counting()))
    train(tmp_path / "ppo", trackers=["counting"])
    assert Counting.rounds == 16
