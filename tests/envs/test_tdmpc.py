"""TD-MPC controllers in the environment, from the checkpoints that come with the package."""

import json

import gymnasium as gym
import numpy as np
import pytest
import torch

import prune_env
from prune_env.envs import CheckpointSpec, export_checkpoint, is_cached, load_checkpoint
from prune_env.envs.checkpoints import SHIPPED
from prune_env.envs.network import Pool
from prune_env.groups import count_cost

PENDULUM = "PruneEnv/TDMPCPendulum-v0"
TASKS = {
    PENDULUM: ("pendulum", "state"),
    "PruneEnv/TDMPCPendulumPixels-v0": ("pendulum", "pixels"),
    "PruneEnv/TDMPCCartpole-v0": ("cartpole-swingup", "state"),
    "PruneEnv/TDMPCCartpolePixels-v0": ("cartpole-swingup", "pixels"),
}


@pytest.fixture(scope="module")
def env():
    return gym.make(PENDULUM, rounds=2, budget=0.6, starts=6, controller="policy", steps_per_round=3).unwrapped


# ---------------------------------------------------------------------- what comes with the package
def test_shipped_checkpoints_are_small_and_say_where_they_are_from():
    files = list(SHIPPED.iterdir())
    assert sum(path.stat().st_size for path in files) <= 12e6
    descriptions = [json.loads(path.read_text()) for path in files if path.suffix == ".json"]
    assert len(descriptions) == len([path for path in files if path.suffix == ".safetensors"]) > 12
    for said in descriptions:
        assert said["command"].startswith("prune-env pretrain") and said["looks"]
        assert {"seed", "steps", "seconds", "test_planner_return", "test_policy_return"} <= said["result"].keys()


@pytest.mark.parametrize("task", TASKS.values(), ids=lambda task: "-".join(task))
def test_the_default_controllers_are_there(task):
    if task[0] != "pendulum":
        pytest.importorskip("dm_control", reason="cartpole needs the extra 'control'")
    try:
        assert is_cached(CheckpointSpec("tdmpc", {"task": task[0], "observation": task[1]}))
    except ImportError as error:
        pytest.skip(str(error))


def test_the_held_out_pool_is_there():
    specs = Pool("tdmpc", {}, 12, "held_out").specs()
    assert len({label for _, label in specs}) == 3
    assert all(is_cached(spec) for spec, _ in specs)
    trained = {spec.options["width"] for spec, _ in Pool("tdmpc", {}, 12, "train").specs()}
    assert not trained & {spec.options["width"] for spec, _ in specs}


def test_a_shipped_controller_keeps_its_pendulum_up_as_its_file_says(tmp_path):
    spec = CheckpointSpec("tdmpc", {"starts": 50})
    path = export_checkpoint(spec, tmp_path)
    said = json.loads((SHIPPED / path.with_suffix(".json").name).read_text())["result"]
    learner = load_checkpoint(spec)
    assert learner.target.metrics(learner.model, "test") == pytest.approx(
        {name: said[f"test_{name}"] for name in ("planner_return", "policy_return")}, abs=3.0
    )  # another processor adds up in another order
    assert said["test_planner_return"] >= -160


def test_damage_that_only_the_planner_feels():
    """Four fifths of dynamics, reward or a value function cut away: the reason why the planner is scored by default.

    The reward's part is small: most of a plan's worth is the value of its end.
    """
    learner = load_checkpoint(CheckpointSpec("tdmpc"))
    target, surgeon = learner.target, learner.surgeon
    dense = surgeon.snapshot()
    place = torch.cat([torch.arange(group.channels) for group in surgeon.grouping])
    returns = {}
    for component in ("none", "dynamics", "reward", "q1", "pi"):
        hit = torch.tensor([group.components == (component,) for group in surgeon.grouping])[surgeon.group_of]
        surgeon.cut(~hit | (place % 5 == 0))
        returns[component] = [target.mean_return(learner.model, "test", who, 20) for who in ("policy", "planner")]
        surgeon.restore(dense)
    print("\n" + "\n".join(f"{name:10} policy {a:8.1f}  planner {b:8.1f}" for name, (a, b) in returns.items()))
    for component, least in (("dynamics", 50), ("q1", 50), ("reward", 2)):
        assert returns[component][0] == returns["none"][0]
        assert returns[component][1] < returns["none"][1] - least
    assert returns["pi"][0] < returns["none"][0] - 200


# ---------------------------------------------------------------------- episodes
@pytest.mark.parametrize("env_id", TASKS)
def test_ids_make_the_controllers_that_they_name(env_id):
    task, observation = TASKS[env_id]
    assert prune_env.envs.ENVIRONMENTS[env_id]["fixed_options"] == {"task": task, "observation": observation}


def test_slow_copies_are_cut_by_the_same_indices(env):
    env.reset(seed=0)
    env.step(np.full(env.action_space.shape, 0.5))
    learner = env.network.learner
    twins = learner.target.twins(learner.model)
    assert twins
    for prefix, twin in twins:
        part = learner.model.get_submodule(prefix)
        assert [p.shape for p in part.parameters()] == [p.shape for p in twin.parameters()]


@pytest.mark.parametrize("controller", ["planner", "policy"])
def test_an_episode_ends_at_the_budget_and_repeats_itself(controller):
    trails = []
    for _ in range(2):
        env = gym.make(PENDULUM, rounds=2, budget=0.6, starts=3, controller=controller, steps_per_round=3).unwrapped
        observation, _ = env.reset(seed=3)
        trail = [observation]
        for _ in range(2):
            observation, reward, over, _, info = env.step(np.full(env.action_space.shape, 0.4))
            trail += [observation, reward]
            if over:
                break
        trails.append(trail)
    assert all(np.array_equal(a, b) for a, b in zip(*trails, strict=True))
    assert info["collapsed"] or info["reward_terms"]["sparsity"] >= 0.6


def test_the_controller_goes_on_with_new_episodes_of_the_pruned_networks(env):
    env.reset(seed=0)
    replay = next(env.episode._batches)
    lived, sizes = [], []
    for _ in range(2):
        env.step(np.full(env.action_space.shape, 0.4))
        lived.append(replay.lived)
        sizes.append(replay.parameters)
        assert replay.parameters == sum(p.numel() for p in env.network.learner.model.parameters())
    recipe = env.network.learner.target.recipe
    assert lived[0] == recipe.first_episodes + recipe.episodes_per_epoch  # the dense network's, then its own
    assert lived[1] == lived[0] + recipe.episodes_per_epoch and sizes[1] < sizes[0]


def test_a_checkpoint_brings_its_slow_copies_back(env):
    fresh = gym.make(PENDULUM, rounds=2, budget=0.6, starts=6, controller="policy", steps_per_round=3).unwrapped
    env.reset(seed=0)
    both = [e.network.learner.surgeon.twins for e in (env, fresh)]
    for (_, one), (_, other) in zip(*both, strict=True):
        assert all(torch.equal(a, b) for a, b in zip(one.parameters(), other.parameters(), strict=True))


def test_both_optimizers_feed_the_tracker(env):
    env.reset(seed=0)
    gradient = env.network.learner.tracker.groups()[0]
    names = env.group_names
    assert gradient.shape == (len(names),) and (gradient > 0).all()  # the policy's groups too
    assert any(name.startswith("pi.") for name in names)


# ---------------------------------------------------------------------- cost of a deployment
def test_cost_is_what_a_deployment_needs(env):
    planner = gym.make(PENDULUM, starts=1).unwrapped
    model = planner.network.learner.model

    def size(*components):
        return sum(p.numel() for name in components for p in model.get_submodule(name).parameters())

    assert planner.network.cost.dense.parameters == size(*planner.network.learner.target.components)
    assert env.network.cost.dense.parameters == size("encoder", "pi")
    assert env.network.cost.dense.macs == sum(
        p.numel() for name in ("encoder", "pi") for p in model.get_submodule(name).parameters() if p.dim() == 2
    )


def test_predicted_deployment_cost_is_counted_cost(env):
    env.reset(seed=1)
    env.step(np.linspace(0.1, 0.9, len(env.group_names)))
    learner = env.network.learner
    counted = count_cost(learner.model, learner.target.deploy, learner.target.idle)
    assert env.network.cost(env.episode.widths) == counted
