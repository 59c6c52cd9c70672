"""The batched cartpole is DMControl's, step by step, its pictures nearly so, and what is missing is said at once."""

import importlib.util
import os
import pickle
import subprocess
import sys

import numpy as np
import pytest
import torch

from prune_env.targets import make_target
from prune_env.targets.tdmpc.rollout import fixed_starts, roll_out
from prune_env.targets.tdmpc.tasks import TASKS, CartpoleFrames, CartpoleSwingup, mujoco_model

MISSING = [name for name in ("mujoco", "dm_control") if importlib.util.find_spec(name) is None]
REMEDY = r"cartpole-swingup needs mujoco and dm_control .*: pip install 'prune_env\[control\]'"
needs_control = pytest.mark.skipif(bool(MISSING), reason=f"pip install 'prune_env[control]' brings {MISSING}")


@pytest.fixture(scope="module")
def suite():
    if not os.environ.get("DISPLAY"):
        os.environ.setdefault("MUJOCO_GL", "egl")  # DMControl chooses when it is imported
    return pytest.importorskip("dm_control.suite.cartpole", reason="needs prune_env[control]")


@pytest.fixture(scope="module")
def frames():
    try:
        return CartpoleFrames(84, gray=False)
    except ImportError as error:
        pytest.skip(str(error))


def seen(observation):
    return np.concatenate([observation["position"], observation["velocity"]])


def sequences(random, length):
    """Noise, a push to the end of the rail, blows from side to side, and a rhythm: three of four reach an end."""
    blows = random.choice([-1.0, 1.0], size=length)
    rhythm = np.sign(np.sin(np.linspace(0, 25, length)))
    return np.stack([random.uniform(-1.3, 1.3, length), -np.ones(length), blows, rhythm], axis=1).astype(np.float32)


# ---------------------------------------------------------------------- simulation
@needs_control
@pytest.mark.parametrize("repeat", [1, 8])
def test_every_step_is_dmcontrols(suite, repeat):
    task, random = CartpoleSwingup(repeat), np.random.RandomState(3)
    actions = sequences(random, task.episode_length)
    states = task.starts(4, np.random.RandomState(5))
    simulation, furthest = task.begin(states), np.zeros(4)
    stream = np.random.RandomState(5)
    envs = [suite.swingup(random=stream) for _ in states]  # one after the other they draw the same starts
    first = np.stack([seen(env.reset().observation) for env in envs])
    np.testing.assert_allclose(simulation.observe(), first.astype(np.float32), rtol=0, atol=1e-7)
    for action in actions:
        reward = simulation.step(action[:, None])
        for e, env in enumerate(envs):
            steps = [env.step(np.clip(action[e : e + 1], -1, 1)) for _ in range(repeat)]
            assert reward[e] == pytest.approx(sum(step.reward for step in steps), abs=1e-12)
            physics = env.physics.data
            assert np.array_equal(simulation.position[e], physics.qpos)  # the same bits, chaos or not
            assert np.array_equal(simulation.velocity[e], physics.qvel)
            observation = seen(steps[-1].observation).astype(np.float32)
            np.testing.assert_allclose(simulation.observe()[e], observation, rtol=1e-7, atol=1e-7)
        furthest = np.maximum(furthest, abs(simulation.position[:, 0]))
    assert steps[-1].last() and (furthest > 1.8).sum() >= 2


@needs_control
def test_lengths_rewards_and_starts():
    assert [CartpoleSwingup(n).episode_length for n in (1, 4, 8)] == [1000, 250, 125]
    task = CartpoleSwingup(8)
    assert task.rewards == (0.0, 8.0)
    up, down = task.begin(np.array([[0.0, 0, 0, 0], [0, np.pi, 0, 0]])).step(np.zeros((2, 1), dtype=np.float32))
    assert up == pytest.approx(8.0, abs=1e-9) and down == pytest.approx(0.0, abs=1e-9)
    assert np.array_equal(fixed_starts(task, 5, 1), fixed_starts(task, 5, 1))
    assert not np.array_equal(fixed_starts(task, 5, 1), fixed_starts(task, 5, 2))
    with pytest.raises(ValueError, match="action_repeat must divide the 1000 steps"):
        CartpoleSwingup(7)


@needs_control
def test_an_episode_does_not_depend_on_its_neighbours():
    task, random = CartpoleSwingup(8), np.random.default_rng(0)
    states, actions = task.starts(5, random), sequences(random, 125)[:, [0, 1, 2, 3, 0]]
    together, alone = task.begin(states), task.begin(states[3:4])
    for action in actions:
        assert together.step(action[:, None])[3] == alone.step(action[3:4, None])[0]
        assert np.array_equal(together.observe()[3], alone.observe()[0])


@needs_control
def test_an_action_that_is_no_number_costs_its_own_episode_only(capfd, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    task = CartpoleSwingup(8)
    states = fixed_starts(task, 4, 0)
    states[3, 2] = np.inf
    hurt, healthy = task.begin(states), task.begin(states[:1])
    for t in range(6):
        action = np.full((4, 1), 0.5, dtype=np.float32)
        action[1] = [np.nan, np.inf, 0.1, 0.1, 0.1, 0.1][t]
        action[2] = np.inf if t == 3 else 0.5
        reward = hurt.step(action)
        assert reward[0] == healthy.step(action[:1])[0]
        assert list(np.isnan(reward)) == [False, True, t >= 3, True]
        assert list(np.isnan(hurt.observe()).any(axis=1)) == [False, True, t >= 3, True]
    assert not list(tmp_path.iterdir()) and "WARNING" not in capfd.readouterr().err  # MuJoCo was never asked


@needs_control
def test_where_mujoco_gives_up_an_episode_is_lost():
    """Speeds beyond what MuJoCo steps: it warns, and starts anew from its default, which must not be taken for real."""
    task = CartpoleSwingup(8)
    states = fixed_starts(task, 2, 0)
    healthy = task.begin(states[1:])
    states[0, 3] = 1e9
    simulation = task.begin(states)
    for _ in range(3):
        reward = simulation.step(np.zeros((2, 1), dtype=np.float32))
        assert np.isnan(reward[0]) and reward[1] == healthy.step(np.zeros((1, 1), dtype=np.float32))[0]


@needs_control
def test_can_be_sent_to_another_process():
    task = CartpoleSwingup(20)
    there = pickle.loads(pickle.dumps(task))
    states, action = fixed_starts(task, 2, 0), np.full((2, 1), 0.7, dtype=np.float32)
    assert np.array_equal(there.begin(states).step(action), task.begin(states).step(action))
    assert len(pickle.dumps(task)) < 1000


# ---------------------------------------------------------------------- pictures
@needs_control
def test_pictures_are_dmcontrols_without_shadows_and_sky(suite, frames):
    physics = suite.swingup(random=0).physics
    flags = dict.fromkeys(("shadow", "reflection", "skybox"), False)
    positions = np.array([[0.0, 0.0], [0.5, 2.5], [-1.2, -1.0]])
    for position, frame in zip(positions, frames(positions), strict=True):
        with physics.reset_context():
            physics.data.qpos[:] = position
        picture = physics.render(84, 84, camera_id=0, render_flag_overrides=flags).transpose(2, 0, 1)
        difference = np.abs(picture.astype(int) - frame)  # DMControl smooths edges
        assert difference.mean() < 1.5 and np.median(difference) == 0
    physics.free()


def test_pictures_follow_cart_and_pole(frames):
    up, left, down = frames(np.array([[0.0, 0.0], [-1.0, 0.0], [0.0, np.pi]]))
    orange = [(frame[0].astype(int) - frame[2]) > 40 for frame in (up, left, down)]
    rows, columns = (np.array([np.nonzero(picture)[axis].mean() for picture in orange]) for axis in (0, 1))
    highest, lowest = ([f(np.nonzero(picture)[0]) for picture in orange] for f in (np.min, np.max))
    assert highest[0] < 20 and lowest[0] < 46 and highest[2] > 36 and lowest[2] > 60 and rows[2] > rows[0] + 5
    assert columns[0] == pytest.approx(41.5, abs=1) and columns[1] < columns[0] - 15


def test_two_who_draw_in_one_process_do_not_disturb_each_other(frames):
    position = np.array([[0.3, 2.0]])
    before = frames(position)
    assert np.array_equal(CartpoleFrames(84, gray=False)(position), before)
    assert np.array_equal(frames(position), before)


def test_small_pictures_are_averages_of_large_ones(frames):
    position = np.array([[0.3, 2.0]])
    small, large = CartpoleFrames(42, gray=True), frames(position).astype(float)
    expected = large.mean(axis=1).reshape(42, 2, 42, 2).mean(axis=(1, 3))
    assert small(position).shape == (1, 1, 42, 42) and np.abs(small(position)[0, 0] - expected).max() < 0.51
    assert np.array_equal(small(np.array([[np.nan, 1.0]])), small(np.array([[0.0, 1.0]])))


def test_pictures_are_drawn_where_a_pickle_arrives(frames):
    task = CartpoleSwingup(100, frames)
    there = pickle.loads(pickle.dumps(task))
    position = np.array([[0.3, 0.3]])
    assert there.frames is not frames and np.array_equal(there.frames(position), frames(position))
    assert len(pickle.dumps(task)) < 1000


# ---------------------------------------------------------------------- what is missing
@pytest.mark.parametrize("name", ["mujoco", "mujoco.batch", "dm_control", "dm_control.utils.rewards"])
@needs_control
def test_a_missing_package_is_said_when_the_target_is_made(monkeypatch, name):
    monkeypatch.setitem(sys.modules, name, None)
    with pytest.raises(ImportError, match=REMEDY):
        make_target("tdmpc", task="cartpole-swingup")


@needs_control
@pytest.mark.skipif(sys.platform != "linux", reason="elsewhere GLFW needs no screen")
def test_opengl_that_does_not_work_is_said_when_the_target_is_made():
    """In a process of its own: OpenGL is chosen once."""
    program = "from prune_env.targets import make_target\nmake_target('tdmpc', task='cartpole-swingup', obs='pixels')"
    env = {"PATH": "/usr/bin:/bin", "MUJOCO_GL": "glfw", "PYTHONPATH": ":".join(sys.path)}
    done = subprocess.run([sys.executable, "-c", program], env=env, capture_output=True, text=True, timeout=120)
    last = done.stderr.strip().splitlines()[-1]
    assert done.returncode == 1 and last.startswith("ImportError: cartpole-swingup could not use OpenGL"), done.stderr
    assert "MUJOCO_GL=glfw" in last and "MUJOCO_GL=egl" in last and "libosmesa6" in last


def test_a_driver_that_fails_when_mujoco_is_imported_is_no_missing_package(monkeypatch):
    def fail(name):
        raise AttributeError("'NoneType' object has no attribute 'glGetError'")  # what a missing OSMesa does

    monkeypatch.setenv("MUJOCO_GL", "osmesa")
    monkeypatch.setattr(mujoco_model, "import_module", fail)
    with pytest.raises(ImportError, match=r"OpenGL with MUJOCO_GL=osmesa .*glGetError.*libosmesa6"):
        make_target("tdmpc", task="cartpole-swingup")


# ---------------------------------------------------------------------- as a target
SMALL = {"width": 16, "latent_dim": 8, "encoder_width": 16, "batch_size": 8, "starts": 2, "action_repeat": 50}


@needs_control
@pytest.mark.parametrize("observation", ["state", "pixels"])
def test_is_trained_and_scored_the_same_way_twice(observation, request):
    if observation == "pixels":
        request.getfixturevalue("frames")
    target = make_target("tdmpc", task="cartpole-swingup", obs=observation, **SMALL)

    def run():
        generator = torch.Generator().manual_seed(0)
        model = target.build(generator)
        optimizers, batches = target.optimizers(model), target.batches(generator)
        loss = [float(target.training_step(model, optimizers, next(batches), lambda _: None)) for _ in range(3)]
        return loss, target.score(model, "test"), target.floor("test")

    first = run()
    assert first == run() and np.isfinite(first[0]).all() and 0 <= first[1] < 1000
    assert 0 < first[2] < 300


@needs_control
def test_the_papers_sizes_by_name(frames):
    target = make_target("tdmpc", task="cartpole-swingup", obs="pixels", sizes="paper")
    model = target.build(torch.Generator().manual_seed(0))
    assert sum(p.numel() for p in model.parameters()) == 1_548_360
    assert target.task.episode_length == 125 and target.task.observation_shape == (3, 84, 84)
    narrow = make_target("tdmpc", task="cartpole-swingup", obs="pixels", sizes="paper", width=64).recipe
    assert (narrow.width, narrow.latent_dim, narrow.stack) == (64, 50, 3)
    with pytest.raises(ValueError, match="unknown sizes 'large'; known: small, paper"):
        make_target("tdmpc", task="cartpole-swingup", sizes="large")


@needs_control
def test_a_whole_rollout_is_recorded(frames):
    task = CartpoleSwingup(40, frames)
    episodes = roll_out(task, fixed_starts(task, 2, 0), lambda seen: torch.zeros(2, 1), stack=3)
    assert episodes.frames.shape == (2, 25 + 3, 3, 84, 84) and episodes.frames.dtype == torch.uint8
    assert torch.equal(episodes.frames[0, 0], episodes.frames[0, 2])
    assert (episodes.returns < 30).all()  # a pole that hangs earns little


def test_tasks_are_found_by_name():
    assert set(TASKS) == {"pendulum", "cartpole-swingup"}
