"""TD-MPC controllers in the environment, from the checkpoints that come with the package."""

import json

import gymnasium as gym
import numpy as np
import pytest
import torch

import prune_env
from prune_env.dense import CheckpointSpec, export_checkpoint, is_cached, load_checkpoint
from prune_env.dense.checkpoints import SHIPPED
from prune_env.dense.pool import Pool
from prune_env.groups import count_cost
from prune_env.studies.importance_shift import paper_size_run
from prune_env.studies.importance_shift.ranks import curves
from prune_env.targets.tdmpc.rollout import fixed_starts, planning_actor, roll_out

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
    assert sum(path.stat().st_size for path in files) <= 16e6
    descriptions = [json.loads(path.read_text()) for path in files if path.suffix == ".json"]
    assert len(descriptions) == len([path for path in files if path.suffix == ".safetensors"]) > 12
    for said in descriptions:
        assert said["command"].startswith("prune-env pretrain") and said["evaluations"]
        assert {"seed", "steps", "seconds", "test_planner_return", "test_policy_return"} <= said["result"].keys()


@pytest.mark.parametrize("task", TASKS.values(), ids=lambda task: "-".join(task))
def test_the_default_controllers_are_there(task):
    if task[0] != "pendulum":
        pytest.importorskip("dm_control", reason="cartpole needs the extra 'control'")
    try:
        assert is_cached(CheckpointSpec("tdmpc", {"task": task[0], "obs": task[1]}))
    except ImportError as error:
        pytest.skip(str(error))


def test_the_controller_of_the_papers_size_is_there_in_half_precision():
    pytest.importorskip("dm_control", reason="cartpole needs the extra 'control'")
    spec = CheckpointSpec("tdmpc", {"task": "cartpole-swingup", "obs": "pixels", "sizes": "paper"})
    (path,) = (path for path in SHIPPED.glob("*.json") if "precision" in json.loads(path.read_text()))
    assert path.with_suffix(".safetensors").stat().st_size <= 7e6
    try:
        train_state = load_checkpoint(spec)
    except ImportError as error:
        pytest.skip(str(error))
    model = train_state.model
    assert sum(p.numel() for p in model.parameters()) == 1_548_360
    assert {p.dtype for p in model.parameters()} == {torch.float32} and int(model.updates) == 10_500
    assert all(p.half().float().equal(p) for p in model.parameters())
    for name, network in train_state.surgeon.target_networks:
        followed = model.get_submodule(name).state_dict()
        assert all(followed[key].equal(tensor) for key, tensor in network.state_dict().items())
    assert not any(optimizer.state for optimizer in train_state.optimizers)
    # Importance is that of training: the posterior has seen every update.
    recorded = curves(paper_size_run.recorded(), "gradient")[2][10_500 // 125 - 1]
    assert train_state.tracker.groups(("gradient",))[0].tolist() == pytest.approx(recorded.tolist(), rel=1e-4)
    assert float(train_state.tracker.state_dict()["bayes.alpha"]) == 1 + 0.25 * 10_500


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
    train_state = load_checkpoint(spec)
    assert train_state.target.metrics(train_state.model, "test") == pytest.approx(
        {name: said[f"test_{name}"] for name in ("planner_return", "policy_return")}, abs=3.0
    )  # another processor adds up in another order
    assert said["test_planner_return"] >= -160


def planner_returns(train_state, starts, seeds):
    """Mean return over the same starts under every seed of the planner."""
    target = train_state.target
    states = fixed_starts(target.task, starts, 7_003)
    actors = [planning_actor(train_state.model, target.planner, torch.Generator().manual_seed(seed)) for seed in seeds]
    return np.array([float(roll_out(target.task, states, actor).returns.mean()) for actor in actors])


def cut_four_fifths(surgeon, component, seed):
    """Of the channels of every group that is the component's alone, drawn."""
    generator = torch.Generator().manual_seed(seed)
    order = [torch.randperm(group.channels, generator=generator) for group in surgeon.grouping]
    hit = [group.components == (component,) for group in surgeon.grouping]
    surgeon.cut(torch.cat([~h | (x < len(x) // 5) for h, x in zip(torch.tensor(hit), order, strict=True)]))


def losses_of_the_planner(component, starts, seeds):
    """What the planner loses by the cut, for each seed of planner and channels; the policy must not lose anything."""
    train_state = load_checkpoint(CheckpointSpec("tdmpc"))
    target, surgeon = train_state.target, train_state.surgeon
    dense, losses = surgeon.snapshot(), []
    before = planner_returns(train_state, starts, range(seeds))
    policy = target.mean_return(train_state.model, "test", "policy", starts)
    for seed in range(seeds):
        cut_four_fifths(surgeon, component, seed)
        losses.append(before[seed] - planner_returns(train_state, starts, [seed])[0])
        assert target.mean_return(train_state.model, "test", "policy", starts) == policy
        surgeon.restore(dense)
    losses = np.array(losses)
    print(f"{component}: {losses.mean():.1f} +- {standard_error(losses):.1f}")
    return losses


def standard_error(values):
    return values.std(ddof=1) / np.sqrt(len(values))


# The reward's part is small: most of a plan's worth is the value of its end.
@pytest.mark.parametrize(
    ("component", "starts", "seeds"),
    [
        pytest.param("dynamics", 5, 3, id="dynamics"),
        *(pytest.param(name, 40, 10, id=name, marks=pytest.mark.slow) for name in ("reward", "q1")),
    ],
)
def test_damage_that_only_the_planner_feels(component, starts, seeds):
    """Four fifths of dynamics, reward or a value function cut away: the reason why the planner is scored by default."""
    losses = losses_of_the_planner(component, starts, seeds)
    assert losses.mean() > 2 * standard_error(losses)


def test_the_policy_feels_damage_to_itself():
    train_state = load_checkpoint(CheckpointSpec("tdmpc"))
    target = train_state.target
    before = target.mean_return(train_state.model, "test", "policy", 20)
    cut_four_fifths(train_state.surgeon, "pi", 0)
    assert target.mean_return(train_state.model, "test", "policy", 20) < before - 200


# ---------------------------------------------------------------------- episodes
@pytest.mark.parametrize("env_id", TASKS)
def test_ids_make_the_controllers_that_they_name(env_id):
    task, observation = TASKS[env_id]
    assert prune_env.envs.ENVIRONMENTS[env_id] == {"target": "tdmpc", "task": task, "obs": observation}


@pytest.mark.parametrize("env_id", TASKS)
def test_an_episode_of_every_controller(env_id):
    options = {"rounds": 1, "budget": 0.1, "starts": 1, "steps_per_round": 1}
    options["planner"] = {"samples": 16, "elites": 4, "iterations": 1}
    try:
        env = gym.make(env_id, disable_env_checker=True, **options).unwrapped
    except ImportError as error:
        pytest.skip(str(error))  # mujoco or an OpenGL driver
    assert is_cached(env.pool.specs()[0][0])
    trails = []
    for _ in range(2):
        first, _ = env.reset(seed=5)
        last, reward, over, _, info = env.step(np.full(env.action_space.shape, 0.2, dtype=np.float32))
        assert env.observation_space.contains(first) and env.observation_space.contains(last)
        assert np.isfinite([reward, *info["reward_terms"].values()]).all()
        assert over and info["reward_terms"]["sparsity"] >= 0.1
        trails.append([first, last, info["channels"], reward, *info["reward_terms"].values()])
    assert all(np.array_equal(a, b) for a, b in zip(*trails, strict=True))


def test_target_networks_are_cut_by_the_same_indices(env):
    env.reset(seed=0)
    env.step(np.full(env.action_space.shape, 0.5))
    train_state = env.network.train_state
    target_networks = train_state.target.target_networks(train_state.model)
    assert target_networks
    for prefix, network in target_networks:
        part = train_state.model.get_submodule(prefix)
        assert [p.shape for p in part.parameters()] == [p.shape for p in network.parameters()]


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
    added, sizes = [], []
    for _ in range(2):
        env.step(np.full(env.action_space.shape, 0.4))
        added.append(replay.episodes_added)
        sizes.append(replay.parameters)
        assert replay.parameters == sum(p.numel() for p in env.network.train_state.model.parameters())
    recipe = env.network.train_state.target.recipe
    assert added[0] == recipe.first_episodes + recipe.episodes_per_epoch  # the dense network's, then its own
    assert added[1] == added[0] + recipe.episodes_per_epoch and sizes[1] < sizes[0]


def test_a_checkpoint_restores_its_target_networks(env):
    fresh = gym.make(PENDULUM, rounds=2, budget=0.6, starts=6, controller="policy", steps_per_round=3).unwrapped
    env.reset(seed=0)
    both = [e.network.train_state.surgeon.target_networks for e in (env, fresh)]
    for (_, one), (_, other) in zip(*both, strict=True):
        assert all(torch.equal(a, b) for a, b in zip(one.parameters(), other.parameters(), strict=True))


def test_both_optimizers_feed_the_tracker(env):
    env.reset(seed=0)
    gradient = env.network.train_state.tracker.groups()[0]
    names = env.group_names
    assert gradient.shape == (len(names),) and (gradient > 0).all()  # the policy's groups too
    assert any(name.startswith("pi.") for name in names)


# ---------------------------------------------------------------------- cost of a deployment
def test_cost_is_what_a_deployment_needs(env):
    planner = gym.make(PENDULUM, starts=1).unwrapped
    model = planner.network.train_state.model

    def size(*components):
        return sum(p.numel() for name in components for p in model.get_submodule(name).parameters())

    assert planner.network.cost.dense.parameters == size(*planner.network.train_state.target.components)
    assert env.network.cost.dense.parameters == size("encoder", "pi")
    assert env.network.cost.dense.macs == sum(
        p.numel() for name in ("encoder", "pi") for p in model.get_submodule(name).parameters() if p.dim() == 2
    )


def test_predicted_deployment_cost_is_counted_cost(env):
    env.reset(seed=1)
    env.step(np.linspace(0.1, 0.9, len(env.group_names)))
    train_state = env.network.train_state
    counted = count_cost(train_state.model, train_state.target.deploy, env.network.idle)
    assert env.network.cost(env.episode.widths) == counted
