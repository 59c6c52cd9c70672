"""Training for a few rounds: what is written, and that an interrupted run resumes from its checkpoint."""

import json
import pickle
import shutil

import numpy as np
import pytest
from stable_baselines3 import PPO, SAC
from stable_baselines3.common.callbacks import ConvertCallback
from stable_baselines3.common.logger import Logger
from tiny_agents import ENV_ID, OPTIONS, SMALL_PPO

from prune_env.agents import EnvFactory
from prune_env.agents.callbacks import PruningScalars
from prune_env.agents.saved import SavedAgent, read_description

SMALL_SAC = {"learning_starts": 4, "batch_size": 4, "buffer_size": 100, "gradient_steps": 1, "learning_rate": 3e-3}


def evaluations(folder):
    with np.load(folder / "evaluations.npz") as saved:
        return {name: saved[name].copy() for name in saved.files}


def scalars(folder):
    """Tag -> values of all TensorBoard logs below a folder."""
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    found = {}
    for logs in sorted({path.parent for path in folder.rglob("events.out.tfevents.*")}):
        accumulator = EventAccumulator(str(logs)).Reload()
        for tag in accumulator.Tags()["scalars"]:
            found.setdefault(tag, []).extend(event.value for event in accumulator.Scalars(tag))
    return found


# ---------------------------------------------------------------------- what is written
def test_model_description_configuration_and_curve_are_written(trained, env):
    written = {"model.zip", "policy.safetensors", "config.json", "evaluations.npz", "tensorboard"}
    assert written == {path.name for path in trained.iterdir()}
    description = read_description(trained / "model.zip")
    assert description["made_by"]["timesteps"] == 16 and description["normalisation"] is None
    assert description["groups"] == 3 and description["columns"] == [column.name for column in env.columns]
    assert json.loads((trained / "config.json").read_text())["env_options"] == OPTIONS
    assert PPO.load(trained / "model.zip", device="cpu").num_timesteps == 16


def test_a_saved_agent_knows_how_it_was_trained(train, trained, tmp_path, env):
    training = SavedAgent(trained / "model.zip", env).training
    assert (training.algorithm, training.env, training.seed, training.cuts) == ("ppo", ENV_ID, 0, 16)
    assert training.hyperparameters["n_steps"] == 8 and training.env_options == OPTIONS
    assert training.evaluated_at == [8, 16] and training.returns == evaluations(trained)["results"].tolist()
    folder = shutil.copytree(trained, tmp_path / "ppo")
    train(folder, timesteps=24)
    resumed = SavedAgent(folder / "model.zip", env).training
    assert resumed.cuts == 24 and resumed.seconds > training.seconds > 0
    (folder / "evaluations.npz").write_bytes(b"damaged")
    assert SavedAgent(folder / "model.zip", env).training.returns == []
    other = SavedAgent(train(tmp_path / "other", seed=1), env).training
    assert other.agent == training.agent != resumed.agent


def test_the_learning_curve_has_a_row_for_each_evaluation(trained):
    curve = evaluations(trained)
    assert curve["timesteps"].tolist() == [8, 16]
    assert curve["results"].shape == (2, 2) and np.isfinite(curve["results"]).all()
    assert (curve["ep_lengths"] == 1).all()


def test_every_evaluation_is_over_the_same_episodes(train, tmp_path):
    train(tmp_path / "ppo", hyperparams={**SMALL_PPO, "learning_rate": 0.0})  # an agent that learns nothing
    first, second = evaluations(tmp_path / "ppo")["results"]
    assert first.tolist() == second.tolist() and first[0] != first[1]


def test_tensorboard_shows_sparsity_retained_score_and_ratios(trained, env):
    logged = scalars(trained / "tensorboard")
    for tag in ("pruning/sparsity", "pruning/retained", "pruning/budget", "pruning/collapsed", "eval/mean_reward"):
        assert np.isfinite(logged[tag]).all()
    assert len(logged["pruning/sparsity"]) == 2  # one for each rollout of 8 rounds
    assert all(0.3 <= value <= 0.75 for value in logged["pruning/sparsity"])
    assert logged["pruning/sparsity"] == pytest.approx(logged["pruning/budget"], abs=0.03)
    for group in env.group_names:
        assert all(0 < value < 1 for value in logged[f"ratios/{group}"])


def test_scalars_are_means_over_rounds_and_environments():
    callback, recorded = PruningScalars(("a", "b")), Logger(None, [])
    callback.model = type("Model", (), {"logger": recorded})()
    for values in ((0.2, 0.4), (0.6, 0.8)):
        callback.locals = {
            "infos": [
                {"reward_terms": {"sparsity": v}, "collapsed": v > 0.5, "executed_ratio": np.array([v, v / 2])}
                for v in values
            ]
        }
        assert callback._on_step()
    assert recorded.name_to_value == pytest.approx(
        {"pruning/sparsity": 0.5, "pruning/collapsed": 0.5, "ratios/a": 0.5, "ratios/b": 0.25}
    )


def test_the_group_policy_was_calibrated_before_training(trained):
    table = PPO.load(trained / "model.zip", device="cpu").policy.mlp_extractor.actor.table
    assert table.shift.abs().max() > 1  # log10 of importance is far from zero
    assert (table.scale[:5] != 1).all() and (table.scale > 0).all()  # importance and weights vary
    assert table.shown[:3].tolist() == [0, 0, 0] and table.shown[3:].all()  # of importance, differences are read


def test_timesteps_are_rounded_up_to_whole_updates_and_it_says_so(train, tmp_path, caplog):
    path = train(tmp_path / "ppo", timesteps=11)
    assert PPO.load(path, device="cpu").num_timesteps == 16
    assert "timesteps=11 is rounded up to 16: with 1 environments ppo is updated every 8 rounds" in caplog.text
    caplog.clear()
    assert train(tmp_path / "ppo", timesteps=16) == path and "rounded" not in caplog.text  # it is done already


def test_further_callbacks_of_sb3(train, tmp_path):
    seen = []
    train(
        tmp_path / "ppo", callbacks=[ConvertCallback(lambda local, _: seen.append(local["self"].num_timesteps) or True)]
    )
    assert seen == list(range(1, 17))


# ---------------------------------------------------------------------- going on
def test_more_timesteps_go_on_from_the_saved_model(train, trained, tmp_path):
    folder = shutil.copytree(trained, tmp_path / "ppo")
    before, earlier = PPO.load(folder / "model.zip", device="cpu"), evaluations(folder)
    path = train(folder, timesteps=24)
    after, curve = PPO.load(path, device="cpu"), evaluations(folder)
    assert before.num_timesteps == 16 and after.num_timesteps == 24
    assert curve["timesteps"].tolist() == [8, 16, 24]
    np.testing.assert_array_equal(curve["results"][:2], earlier["results"])
    steps = [p["step"] for p in after.policy.optimizer.state_dict()["state"].values()]
    assert set(map(int, steps)) == {6}  # two epochs of one batch in each of three rollouts: Adam is resumed, too


def test_a_run_that_is_done_is_left_as_it_is(train, trained, tmp_path):
    folder = shutil.copytree(trained, tmp_path / "ppo")
    before = PPO.load(folder / "model.zip", device="cpu").get_parameters()["policy"]
    after = PPO.load(train(folder), device="cpu").get_parameters()["policy"]
    assert all((before[name] == after[name]).all() for name in before)


def test_a_killed_run_goes_on_from_its_last_checkpoint(train, tmp_path, monkeypatch):
    """Killed in round 14, it was saved in round 8; what was evaluated after that is forgotten and done again."""
    on_step = PruningScalars._on_step

    def killed(self):
        if self.num_timesteps == 14:
            raise KeyboardInterrupt
        return on_step(self)

    folder = tmp_path / "ppo"
    with monkeypatch.context() as patch:
        patch.setattr(PruningScalars, "_on_step", killed)
        with pytest.raises(KeyboardInterrupt):
            train(folder, timesteps=16, eval_every=4)
    assert read_description(folder / "model.zip")["made_by"]["timesteps"] == 8
    assert evaluations(folder)["timesteps"].tolist() == [4, 8, 12]
    train(folder, timesteps=16, eval_every=4)
    assert read_description(folder / "model.zip")["made_by"]["timesteps"] == 16
    assert evaluations(folder)["timesteps"].tolist() == [4, 8, 12, 16]


def test_damaged_files_of_a_run_are_remade_or_named(train, trained, tmp_path, caplog):
    folder = shutil.copytree(trained, tmp_path / "ppo")
    (folder / "evaluations.npz").write_bytes(b"PK\x03\x04cut short")
    config = folder / "config.json"
    good = config.read_bytes()
    config.write_bytes(good.replace(b"ppo", b"ppa", 1))
    train(folder, timesteps=24)
    assert "evaluations.npz is not an evaluations.npz" in caplog.text and "config.json is damaged" in caplog.text
    assert evaluations(folder)["timesteps"].tolist() == [24] and config.read_bytes() == good
    with pytest.raises(ValueError, match="another configuration"):
        train(folder, seed=5)
    config.unlink()
    with pytest.raises(ValueError, match="another configuration"):  # the agent says so
        train(folder, seed=5)
    config.write_text("{}")
    (folder / "model.zip").unlink()
    with pytest.raises(ValueError, match=r"config\.json is damaged .* delete it"):
        train(folder)


def test_a_resumed_run_meets_other_episodes_than_those_before_the_kill(train, trained, tmp_path):
    """With the old seed the environments would start over and repeat what was learned from already."""
    folder = shutil.copytree(trained, tmp_path / "ppo")
    train(folder, timesteps=24)
    budgets = scalars(folder / "tensorboard")["pruning/budget"]
    assert len(set(budgets)) == 3


def test_the_same_seed_trains_the_same_agent(train, trained, tmp_path):
    first = PPO.load(trained / "model.zip", device="cpu").get_parameters()["policy"]
    again = PPO.load(train(tmp_path / "again"), device="cpu").get_parameters()["policy"]
    other = PPO.load(train(tmp_path / "other", seed=1), device="cpu").get_parameters()["policy"]
    assert all((first[name] == again[name]).all() for name in first)
    assert not all((first[name] == other[name]).all() for name in first)


# ---------------------------------------------------------------------- another configuration
@pytest.mark.parametrize(
    "changes", [{"env_options": {**OPTIONS, "rounds": 2}}, {"seed": 1}, {"hyperparams": {**SMALL_PPO, "gamma": 0.5}}]
)
def test_a_folder_of_another_configuration_is_refused_and_kept(train, trained, tmp_path, changes):
    folder = shutil.copytree(trained, tmp_path / "ppo")
    before = {path: path.read_bytes() for path in folder.rglob("*") if path.is_file()}
    with pytest.raises(ValueError, match="holds a run with another configuration"):
        train(folder, **changes)
    assert {path: path.read_bytes() for path in folder.rglob("*") if path.is_file()} == before


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"algo": "reinforce"}, "unknown algorithm 'reinforce'"),
        ({"env_options": {**OPTIONS, "rounds": 0}}, r"rounds must be .* in \[1, "),
        ({"env_options": {**OPTIONS, "colour": "red"}}, "colour"),
        ({"hyperparams": {"learning_rat": 0.1}}, "unknown option 'learning_rat'; did you mean 'learning_rate'"),
        ({"trackers": ["wanda"]}, "unknown tracker 'wanda'; did you mean 'wandb'"),
        ({"hyperparams": {"policy": "CnnPolicy"}}, "unknown policy network 'CnnPolicy'"),
        ({"hyperparams": {"policy": "MlpPolicy", "behaviour_cloning": "l2"}}, "warm-starts a GroupPolicy only"),
    ],
)
def test_a_mistake_raises_and_does_not_claim_the_folder(train, tmp_path, changes, message):
    with pytest.raises(ValueError, match=message):
        train(tmp_path / "run", **changes)
    assert not (tmp_path / "run").exists()


# ---------------------------------------------------------------------- other algorithms, other processes
def test_sac_learns_on_normalised_observations_and_saves_the_statistics(train, env, tmp_path):
    path = train(tmp_path / "sac", algo="sac", timesteps=12, eval_every=6, hyperparams=SMALL_SAC)
    normalisation = read_description(path)["normalisation"]
    assert len(normalisation["mean"]) == 3 * len(env.columns) and normalisation["count"] > 12
    agent, model = SavedAgent(path, env), SAC.load(path, device="cpu")
    assert model.num_timesteps == 12 and model._n_updates > 0
    observation, _ = env.reset(seed=0)
    expected = (model.predict(observation, deterministic=True)[0] + 1) / 2 * env.max_ratio
    extractor = model.policy.actor.features_extractor
    assert extractor.mean.tolist() == normalisation["mean"]
    assert extractor.scale.tolist() == np.sqrt(np.array(normalisation["variance"]) + 1e-8).tolist()
    np.testing.assert_array_equal(agent.predict(observation)[0], expected)
    assert "pruning/sparsity" in scalars(tmp_path / "sac" / "tensorboard")

    train(tmp_path / "sac", algo="sac", timesteps=16, eval_every=6, hyperparams=SMALL_SAC)
    gone_on = read_description(path)
    assert gone_on["made_by"]["timesteps"] == 16
    assert gone_on["normalisation"]["count"] > normalisation["count"]
    assert evaluations(tmp_path / "sac")["timesteps"][:2].tolist() == [6, 12]


def test_the_factory_travels_to_other_processes_and_acts_in_minus_one_to_one():
    env = pickle.loads(pickle.dumps(EnvFactory(ENV_ID, OPTIONS)))()
    assert env.action_space.low.tolist() == [-1] * 3 and env.action_space.high.tolist() == [1] * 3
    env.reset(seed=0, options={"budget": 0.5})
    _, _, _, _, info = env.step(np.array([1, -1, -1], dtype=np.float32))
    # all of the cut falls on the first group, which is asked for max_ratio, and none on the others
    assert info["executed_ratio"][0] > 0.5 and info["executed_ratio"][1:].max() < 0.2
