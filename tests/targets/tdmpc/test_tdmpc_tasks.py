"""The batched pendulum is Gymnasium's, its pictures too, and episodes are recorded as they were lived."""

import os
import pickle
import subprocess
import sys

import gymnasium as gym
import numpy as np
import pytest
import torch

from prune_env.targets.tdmpc import Episodes, Replay
from prune_env.targets.tdmpc.rollout import fixed_starts, roll_out
from prune_env.targets.tdmpc.tasks import Pendulum, PendulumFrames
from prune_env.targets.tdmpc.tasks.pendulum_frames import ANGLES


def gymnasium_episode(state, torques, render_mode=None):
    """Observations [T + 1, 3], rewards [T] and angles [T + 1] of one episode."""
    env = gym.make("Pendulum-v1").unwrapped
    env.reset(seed=0)
    env.state = np.array(state)
    seen, rewards, angles = [env._get_obs()], [], [env.state[0]]
    for torque in torques:
        observation, reward, *_ = env.step(torque)
        seen.append(observation)
        rewards.append(reward)
        angles.append(env.state[0])
    return np.array(seen), np.array(rewards), np.array(angles)


def test_dynamics_and_rewards_are_gymnasiums():
    task, random = Pendulum(action_repeat=4), np.random.default_rng(0)
    states = np.concatenate([task.starts(6, random), [[3.0, 7.9], [-40.0, -8.0]]])  # also fast ones, many turns away
    actions = random.uniform(-1.3, 1.3, size=(task.episode_length, len(states), 1)).astype(np.float32)
    simulation = task.begin(states)
    seen, rewards = [simulation.observe()], []
    for action in actions:
        rewards.append(simulation.step(action))
        seen.append(simulation.observe())
    for e, state in enumerate(states):
        torques = np.repeat(2 * actions[:, e], 4, axis=0)
        expected, reward, _ = gymnasium_episode(state, torques)
        np.testing.assert_allclose(np.array(seen)[:, e], expected[::4], rtol=0, atol=1e-6)
        np.testing.assert_allclose(np.array(rewards)[:, e], reward.reshape(-1, 4).sum(1), rtol=0, atol=1e-6)
    assert np.array(seen).dtype == np.float32


def test_the_whole_episode_is_200_steps_of_the_simulator():
    assert gym.spec("Pendulum-v1").max_episode_steps == 200
    assert [Pendulum(action_repeat=n).episode_length for n in (1, 2, 4, 8)] == [200, 100, 50, 25]


def test_rewards_stay_within_their_bounds():
    task = Pendulum()
    low, high = task.rewards
    assert low == pytest.approx(-4 * 16.2736, abs=1e-3) and high == 0.0
    simulation = task.begin(np.array([[np.pi, 8.0], [0.0, 0.0]]))
    worst, best = simulation.step(np.array([[1.0], [0.0]], dtype=np.float32))
    assert low <= worst < 0.4 * low and best == 0.0


def test_fixed_starts_are_fixed_and_differ_by_seed():
    task = Pendulum()
    assert np.array_equal(fixed_starts(task, 5, 1), fixed_starts(task, 5, 1))
    assert not np.array_equal(fixed_starts(task, 5, 1), fixed_starts(task, 5, 2))


# ---------------------------------------------------------------------- frames
@pytest.fixture(scope="module")
def frames():
    return PendulumFrames(32, gray=True)


def test_the_table_shows_what_gymnasium_renders(frames):
    """A frame after steps with torque, against a picture rendered anew of the same angle, without the arrow."""
    torques = np.random.default_rng(0).uniform(-2, 2, size=(20, 1)).astype(np.float32)
    _, _, angles = gymnasium_episode([2.0, 1.0], torques)
    env = gym.make("Pendulum-v1", render_mode="rgb_array").unwrapped
    env.reset(seed=0)
    looked_up = frames(angles)
    assert looked_up.shape == (21, 1, 32, 32) and looked_up.dtype == np.uint8
    for angle, frame in zip(angles, looked_up, strict=True):
        env.state, env.last_u = np.array([angle, 0.0]), None
        rendered = 255 - env.render().astype(float).mean(2)  # 500 px; blocks of 15.6 px make one
        edges = np.linspace(0, 500, 33)
        rows, columns = np.floor(edges[:-1]).astype(int), np.ceil(edges[1:]).astype(int)
        small = [[rendered[a:b, c:d].mean() for c, d in zip(rows, columns, strict=True)] for a, b in zip(rows, columns)]  # noqa: B905
        assert np.abs(frame[0] - np.array(small)).max() <= 12  # half a step of the table moves an edge a little


def test_a_frame_of_the_table_is_the_drawn_one(frames):
    for i in (0, 511, 2047):
        angle = 2 * np.pi * i / ANGLES
        assert np.array_equal(frames(np.array([angle]))[0], frames.draw(angle))
        assert np.array_equal(frames(np.array([angle - 4 * np.pi]))[0], frames.draw(angle))


def test_the_background_is_black_and_upright_points_up(frames):
    (upright,) = frames(np.array([0.0]))[0]
    assert upright[:, :8].max() == 0 and upright[:13].max() > 80 and upright[20:].max() == 0


def test_colour_has_three_channels():
    frame = PendulumFrames(24, gray=False)(np.array([1.0, 2.0]))
    assert frame.shape == (2, 3, 24, 24) and not np.array_equal(frame[0, 0], frame[0, 1])


def test_frames_are_drawn_anew_where_a_pickle_arrives(frames):
    there = pickle.loads(pickle.dumps(frames))
    assert len(pickle.dumps(frames)) < 1000
    assert np.array_equal(there(np.array([0.3])), frames(np.array([0.3])))


@pytest.mark.skipif(sys.platform != "linux", reason="elsewhere there is always a screen to look for")
def test_drawing_without_a_screen_says_nothing_and_draws_the_same(frames):
    script = (
        "import sys, numpy as np; from prune_env.targets.tdmpc.tasks import PendulumFrames\n"
        "sys.stdout.buffer.write(PendulumFrames(32, gray=True)(np.array([0.3, 2.0])).tobytes())"
    )
    screens = ("SDL_VIDEODRIVER", "DISPLAY", "WAYLAND_DISPLAY", "XDG_RUNTIME_DIR")
    environment = {name: value for name, value in os.environ.items() if name not in screens}
    run = subprocess.run(
        [sys.executable, "-W", "ignore", "-c", script],
        env=environment | {"PYGAME_HIDE_SUPPORT_PROMPT": "1"},
        capture_output=True,
        check=True,
    )
    assert run.stderr == b"" and run.stdout == frames(np.array([0.3, 2.0])).tobytes()


def test_a_missing_package_is_said_at_once(monkeypatch):
    monkeypatch.setitem(sys.modules, "pygame", None)
    with pytest.raises(ImportError, match=r"pip install 'gymnasium\[classic-control\]'"):
        PendulumFrames(32, gray=True)


# ---------------------------------------------------------------------- episodes and replay
def test_an_episode_is_recorded_as_it_was_lived(frames):
    task = Pendulum(action_repeat=8, frames=frames)
    states = fixed_starts(task, 3, 0)
    seen = []

    def act(observation):
        seen.append(observation)
        return torch.full((3, 1), 0.5)

    episodes = roll_out(task, states, act, stack=3)
    assert episodes.frames.shape == (3, 25 + 3, 1, 32, 32) and episodes.actions.shape == (3, 25, 1)
    first = torch.from_numpy(frames(states[:, 0]))
    assert all(torch.equal(episodes.frames[:, i], first) for i in range(3))
    assert torch.equal(seen[0], torch.cat([first] * 3, dim=1)) and len(seen) == 25
    assert torch.equal(seen[2][:, 2:], episodes.frames[:, 4])
    simulation = task.begin(states)
    rewards = np.stack([simulation.step(np.full((3, 1), 0.5, dtype=np.float32)) for _ in range(25)], axis=1)
    torch.testing.assert_close(episodes.rewards.double(), torch.from_numpy(rewards), rtol=1e-6, atol=0)
    torch.testing.assert_close(episodes.returns, episodes.rewards.sum(1))


def numbered(episode, length=6, stack=1):
    """An episode whose every number says where it is from: observation 100 e + t, action the same, reward too."""
    times = torch.arange(length + stack) - (stack - 1)
    seen = (100 * episode + times.clamp(min=0)).float().view(1, -1, 1)
    done = (100 * episode + torch.arange(length)).float()
    return Episodes(seen, done.view(1, -1, 1), done.view(1, -1))


@pytest.mark.parametrize("stack", [1, 3])
def test_stretches_are_consecutive_and_of_one_episode(stack):
    replay = Replay(4, horizon=3, stack=stack, rewards=(0.0, 1.0), generator=torch.Generator().manual_seed(0))
    for e in range(1, 4):
        replay.add(numbered(e, stack=stack))
    batch = replay.sample(500)
    begin = batch.first[:, -1]
    for h in range(3):
        assert torch.equal(batch.action[h, :, 0], begin + h) and torch.equal(batch.reward[h, :, 0], begin + h)
        assert torch.equal(batch.following[h, :, -1], begin + h + 1)
    assert set(begin.tolist()) == {100.0 * e + t for e in (1, 2, 3) for t in range(4)}
    if stack == 3:
        assert torch.equal(batch.following[2, :, 0], begin + 1)


def test_the_oldest_episode_makes_room():
    replay = Replay(2, horizon=1, stack=1, rewards=(0.0, 1.0), generator=torch.Generator().manual_seed(0))
    for e in range(1, 4):
        replay.add(numbered(e))
    assert len(replay) == 2 and replay.episodes_added == 3
    assert {int(x) // 100 for x in replay.sample(200).first.flatten()} == {2, 3}


def test_rewards_are_learnt_between_zero_and_one():
    replay = Replay(2, horizon=1, stack=1, rewards=(-10.0, 30.0), generator=torch.Generator().manual_seed(0))
    replay.add(Episodes(torch.zeros(1, 3, 1), torch.zeros(1, 2, 1), torch.tensor([[-10.0, 20.0]])))
    assert set(replay.sample(50).reward.flatten().tolist()) == {0.0, 0.75}


def test_an_empty_replay_says_so():
    with pytest.raises(RuntimeError, match="no episode"):
        Replay(2, 1, 1, (0.0, 1.0), torch.Generator()).sample(1)
