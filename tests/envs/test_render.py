"""Pictures of an episode, as text, array and window."""

from dataclasses import replace

import numpy as np
import pytest

from prune_env.envs import COSTS
from prune_env.envs.render import draw, to_text


@pytest.mark.parametrize("mode", ["ansi", "rgb_array", "human"])
def test_renders(make, mode):
    env = make(rounds=2, render_mode=mode)
    env.reset(seed=0)
    env.step(np.full(7, 0.4, dtype=np.float32))
    picture = env.render()
    if mode == "ansi":
        assert "encoder.0" in picture and "retained score" in picture and "coupling" in picture
    elif mode == "rgb_array":
        assert picture.dtype == np.uint8 and picture.ndim == 3 and picture.std() > 10
    else:
        assert picture is None


def test_before_the_first_reset_there_is_nothing_to_see(make):
    env = make(render_mode="ansi").unwrapped
    for look in (lambda: env.view, env.render):
        with pytest.raises(RuntimeError, match=r"call reset\(\) first"):
            look()


@pytest.mark.parametrize("name", ["$\\frac{$", "a\nb", "\x1b[31mred", "_hidden", "<b>"])
def test_names_are_shown_as_they_are(make, name):
    env = make(render_mode="ansi").unwrapped
    env.reset(seed=0)
    frame = replace(env._frame(), title=name, groups=(name, *env.group_names[1:]))
    text = to_text(frame)
    assert text.count(name.replace("\n", "\\n").replace("\x1b", "\\x1b")) == 2 and "\x1b" not in text
    assert draw(frame).std() > 10


def test_every_cost_is_in_the_caption(make, monkeypatch):
    monkeypatch.setitem(COSTS, "channels", lambda network: lambda widths: np.asarray(widths).sum(axis=-1))
    env = make(render_mode="ansi", budget=0.5, rounds=1).unwrapped
    env.reset(seed=0)
    env.step(np.full(7, 0.4, dtype=np.float32))
    assert all(f"{cost} -" in env.render() for cost in COSTS) and "budget 50% of parameters" in env.render()
