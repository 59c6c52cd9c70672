"""Wrong inputs of every kind: each is refused with a sentence that names it, and what is accepted works.

Every value is tried for every argument. What is right is said by rules of their own here, not by the code's.
"""

import math
import signal
import sys
import warnings
import zipfile
from collections import Counter
from collections.abc import Mapping, Sequence
from functools import partial
from numbers import Integral, Real
from pathlib import Path

import gymnasium as gym
import numpy as np
import pytest
import torch

from prune_env import cli
from prune_env.envs import COSTS, EPISODE_FIELDS, OBJECTIVES, SCHEDULES, PruningConfig, PruningEnv
from prune_env.fine_tuning import FINE_TUNINGS
from prune_env.importance import CRITERIA
from prune_env.repair import REPAIRS
from prune_env.targets import make_target

NETWORK = {"target": "simple", "dense_steps": 60, "width": 8}
QUICK = {**NETWORK, "steps_per_round": 1, "rounds": 2}
VALUES = [
    *(None, True, False, 0, 1, 2, -1, 10**30, 0.0, 0.5, 1.0, 1.5, -0.5, math.nan, math.inf, -math.inf, 1e308, 1e-320),
    *("", "x", "0.5", "1", "nan", "$\\frac{$", "a\nb", "full", "cpu", "none", "train", b"x", 1j, object(), len),
    *(
        [],
        [0.5],
        [0.3, 0.9],
        [0.9, 0.3],
        [0.3, 0.5, 0.7],
        [0.5, 1.5],
        [[0.5]],
        (),
        ("retained",),
        ["first"],
        [1],
        [None],
    ),
    *({}, {"a": 1}, {"first": 2.0}, {"first": -1}, {"first": math.nan}, {1: 1}, {"retained": 0.5}, set(), {0.5}),
    *(np.float32(0.5), np.int64(1), np.nan, np.array(0.5), np.array([0.3, 0.9]), np.array(["x"]), np.bool_(True)),
    *(torch.tensor(0.5), torch.tensor([0.3, 0.9]), Path("x"), range(3), "meta:7", "cuda:99", "linear", "vector"),
]


# ---------------------------------------------------------------------- rules
def number(value):
    return isinstance(value, Real) and not isinstance(value, (bool, np.bool_)) and math.isfinite(value)


def whole(low):
    return lambda v: isinstance(v, Integral) and not isinstance(v, (bool, np.bool_)) and low <= v < 2**31


def real(low, high, open_low=False, open_high=True):
    def right(value):
        above = number(value) and (low < value if open_low else low <= value)
        return above and (value < high if open_high else value <= high)

    return right


def one_of(names, empty=False):
    return lambda value: (empty and value is None) or (isinstance(value, str) and value in names)


def budget(value):
    if value is None or number(value):
        return value is None or 0 < value < 1
    if isinstance(value, (np.ndarray, torch.Tensor)):
        value = value.tolist()
        return budget(value)
    if not isinstance(value, (list, tuple)) or not value or not all(number(v) and 0 < v < 1 for v in value):
        return False
    return len(value) != 2 or value[0] <= value[1]


def names(allowed):
    def right(value):
        return (
            isinstance(value, Sequence)
            and not isinstance(value, (str, bytes))
            and all(isinstance(v, str) and v in allowed for v in value)
        )

    return right


def weights(value):
    found = isinstance(value, Mapping) and all(k == "first" and number(v) and v > 0 for k, v in value.items())
    return value is None or found


COMPONENTS = ("first", "second", "third")
POSITIVE = real(0, math.inf, open_low=True)
RULES = {
    "rounds": whole(1),
    "steps_per_round": whole(0),
    "schedule": one_of(SCHEDULES),
    "max_ratio": real(0, 1, open_low=True),
    "budget": budget,
    "budget_unit": one_of(COSTS),
    "objective": one_of([*OBJECTIVES], empty=True),
    "objective_options": lambda v: v is None or (isinstance(v, Mapping) and not v),
    "observation": lambda v: one_of(("full", "importance"))(v) or (names(("retained",))(v) and len(v) == 1),
    "bayes": one_of(("literal", "corrected")),
    "criterion": one_of(CRITERIA),
    "repair": one_of(REPAIRS, empty=True),
    "fine_tuning": one_of(FINE_TUNINGS),
    "pool_kind": one_of(("variants", "drawn")),
    "learning_rate_factor": real(0, math.inf),
    "stop_on_collapse": lambda v: isinstance(v, bool),
    "protect": names(COMPONENTS),
    "component_weights": weights,
    "min_channels": whole(1),
    "round_to": whole(1),
    "pool": lambda v: whole(1)(v) and v <= 10_000,
    "split": one_of(("train", "held_out")),
    "scope": one_of(("root", "group")),
    "ema_decay": real(0, 1),
    "kappa": POSITIVE,
    "eta": POSITIVE,
    "l1": lambda v: isinstance(v, bool),
    "l1_base": POSITIVE,
    "l1_low": real(0, 2.0, open_high=False),
    "l1_high": real(0.1, math.inf),
    "l1_period": POSITIVE,
    "lambda_weight": one_of(("constant", "ramp")),
    "lambda_ramp": POSITIVE,
    "l1_scales": real(0, math.inf),
    "device": one_of(("cpu",)),
    "target_options": lambda v: isinstance(v, Mapping) and not v,
    "target": lambda v: False,
    "render_mode": lambda v: v is None,
    "width": whole(1),
    "latent_dim": lambda v: v is None or whole(1)(v),
    "images": lambda v: v is None,
    "learning_rate": POSITIVE,
}
TRAINED = (
    "scope",
    "ema_decay",
    "kappa",
    "eta",
    "l1",
    "l1_base",
    "l1_low",
    "l1_high",
    "l1_period",
    "l1_scales",
    "protect",
    "width",
)
"""What makes another dense network: accepted values are not tried out, as each would be trained."""


# ---------------------------------------------------------------------- counting
class Outcomes:
    def __init__(self):
        self.counts, self.wrong = Counter(), []

    def add(self, kind, what, note=""):
        self.counts[kind] += 1
        if kind in ("silent", "traceback", "refused though right"):
            self.wrong.append(f"{kind}: {what} {note}")

    def judge(self, what, right, call, mention):
        """Call something with an input that the rules call right or wrong."""
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore", DeprecationWarning)
                call()
        except (ValueError, TypeError, gym.error.Error) as error:
            named = mention is None or mention in str(error)
            if right:
                self.add("refused though right", what, f"-> {error}")
            else:
                self.add("refused" if named else "traceback", what, f"-> {type(error).__name__}: {error}")
        except Exception as error:
            self.add("traceback", what, f"-> {type(error).__name__}: {error}")
        else:
            self.add("accepted" if right else "silent", what)


@pytest.fixture
def outcomes():
    counted = Outcomes()
    yield counted
    print(dict(counted.counts))
    assert not counted.wrong, (
        "\n".join(counted.wrong[-60:]) + f"\n{len(counted.wrong)} of {sum(counted.counts.values())}"
    )


def check_episode(env, options=None):
    observation, info = env.reset(seed=0, options=options)
    assert env.observation_space.contains(observation), "observation"
    action = np.full(env.action_space.shape, 0.3 * env.max_ratio, np.float32)
    if env.episode.config.steps_per_round > 100:
        return
    observation, reward, _, _, info = env.step(action)
    assert env.observation_space.contains(observation) and np.isfinite(reward).all(), "observation, reward"
    assert all(math.isfinite(v) for v in info["reward_terms"].values()), "terms"


def array(value):
    return isinstance(value, (np.ndarray, torch.Tensor))


def construct(name, value):
    if name in ("pool", *TRAINED) and name not in ("protect", "width"):
        PruningConfig(target="simple", **{name: value})
    elif name == "width":
        make_target("simple", width=value)
    elif name in ("latent_dim", "images", "learning_rate"):
        make_target("autoencoder", **{name: value})
    elif name in ("protect", "render_mode"):
        PruningEnv(**{**QUICK, name: value})
    else:
        check_episode(PruningEnv(**{**QUICK, name: value}))


@pytest.mark.parametrize("step", [7, pytest.param(1, marks=pytest.mark.slow)])
def test_constructor(outcomes, step):
    pairs = [(name, rule, value) for name, rule in RULES.items() for value in VALUES]
    for name, rule, value in pairs[::step]:
        right = bool(rule(value)) if name == "budget" or not array(value) else False
        if name == "objective" and isinstance(value, str) and value == "budget":
            right = False  # it needs one
        outcomes.judge(f"{name}={value!r}", right, partial(construct, name, value), mention_of(name))
    assert outcomes.counts.total() > 2000 // step


def mention_of(name):
    """What the message must name; several arguments are told together."""
    told = {"objective_options": "objective", "target_options": "option", "observation": ""}
    return told.get(name, name)


def test_unknown_arguments(outcomes):
    for name in ("budgets", "round", "Rounds", "l1_bass", "observations", "steps", "seed", "widht", "x", "_budget"):
        for value in VALUES[:12]:
            outcomes.judge(f"{name}={value!r}", False, partial(PruningEnv, **QUICK, **{name: value}), name)


# ---------------------------------------------------------------------- actions and resets
@pytest.fixture(scope="module")
def env():
    made = PruningEnv(**QUICK)
    made.reset(seed=0)
    return made


def test_actions(outcomes, env):
    groups = env.action_space.shape[0]
    actions = list(VALUES)
    for value in (*VALUES, 0.95, 0.951, -1e-9, -1e-3, 1e-30):
        try:
            actions += [[value] * groups, np.full(groups, value), np.full((groups, 1), value), [value] * (groups + 1)]
        except (ValueError, TypeError, RuntimeError):
            continue
        actions.append([*[0.3] * (groups - 1), value])
    for action in actions:
        env.reset(seed=0)
        try:
            given = np.asarray(action)
            right = given.dtype.kind in "iuf" and given.shape == (groups,) and np.isfinite(given).all()
            right = right and (given >= -1e-6).all() and (given <= env.max_ratio + 1e-6).all()
        except (ValueError, TypeError, RuntimeError):
            right = False

        def act(action=action):
            observation, reward, _, _, info = env.step(action)
            assert env.observation_space.contains(observation) and math.isfinite(reward)
            assert all(math.isfinite(v) for v in info["reward_terms"].values())

        outcomes.judge(f"action {action!r}", bool(right), act, None)
    assert outcomes.counts.total() > 200


def test_resets(outcomes, env):
    rules = {name: RULES[name] for name in EPISODE_FIELDS} | {"network": lambda v: whole(0)(v) and v == 0}
    for name, rule in rules.items():
        for value in VALUES:
            right = bool(rule(value)) if name == "budget" or not array(value) else False
            call = partial(check_episode, env, {name: value})
            outcomes.judge(f"reset {name}={value!r}", right, call, mention_of(name))
    for value in VALUES:
        right = value is None or (isinstance(value, Mapping) and not value)
        outcomes.judge(f"reset options={value!r}", right, partial(env.reset, options=value), None)
        seeds = value is None or (isinstance(value, int) and value >= 0 and not isinstance(value, bool))
        if not isinstance(value, bool) and not isinstance(value, np.integer):  # Gymnasium's own rule
            outcomes.judge(f"reset seed={value!r}", seeds, partial(env.reset, seed=value), None)
    assert outcomes.counts.total() > 800


# ---------------------------------------------------------------------- command line
TEXTS = (
    "",
    "x",
    "-1",
    "0",
    "1.5",
    "nan",
    "1e999",
    "[1",
    "2020-01-01",
    "{",
    "a=b=c",
    "$x",
    "\n",
    "None",
    "!!python/x",
    "~",
)
RUN = ("-s", "target=simple", "dense_steps=60", "width=8", "steps_per_round=1")


def command_lines():
    """Wrong command lines; none of them trains or prunes anything before it is refused."""
    bench = ["bench", "--env", "PruneEnv/Pruning-v0", "--policies", "uniform", "--networks", "1", "--jobs", "1", *RUN]
    for text in TEXTS:
        yield ["bench", "--env", text]
        yield ["train", text]
        yield ["eval", text]
        yield ["report", text or "nowhere"]
        yield ["groups", text]
        yield ["pretrain", text]
        yield ["reproduce", text]
        yield ["video", text]
        yield [text, "bench"]
        yield [*bench, "--budgets", text]
        yield [*bench, "--policies", text or "-"]
        yield [*bench, "-s", f"max_ratio={text or 'x'}"] if text != "a=b=c" else [*bench, "-s", "a=b=c"]
        yield [*bench, "-s", f"objective={text or 'x'}"]
        yield [*bench, "-s", text]
        yield ["train", "ppo", "--env", "PruneEnv/Pruning-v0", "--budget", text, *RUN]
    for name in ("--networks", "--seeds", "--rounds", "--jobs"):
        for text in ("-1", "x", "1.5", "nan"):
            yield [*bench, name, text]
    for name in ("--timesteps", "--pool", "--n-envs", "--rounds"):
        for text in ("0", "-5", "x", "1.5"):
            yield ["train", "ppo", "--env", "PruneEnv/Pruning-v0", name, text, *RUN]
    for name, text in (("--pool", "0"), ("--pool", "-1"), ("--seeds", "-1"), ("--seeds", "x"), ("--split", "test")):
        yield ["pretrain", "simple", name, text]
    yield from command_lines_of_agents()
    yield from command_lines_with_paths()


def command_lines_of_agents():
    """Wrong numbers, hyperparameters, trackers, storages of `train`, `tune`, `demo`, `video` and `eval`."""
    for command in ("train", "tune"):
        agent = [command, "ppo", "--env", "PruneEnv/Pruning-v0", *RUN]
        for text in (*TEXTS, "learning_rate=.nan", "learning_rate=[1]", "gamma=2", "n_steps=true", "policy=X", "env=1"):
            yield [*agent, "-p", text]
        for path in PATHS:
            yield [*agent, "-p", f"@{path}"]
        for name in ("--timesteps", "--n-envs", "--pool", "--rounds"):
            for text in ("-1", "nan", "", "9" * 5000, "\N{ROMAN NUMERAL ONE}"):
                yield [*agent, name, text]
        yield [*agent, "--seed", "-1"]
        yield [*agent, "--device", "\N{SNOWMAN}"]
        yield [command, "ppo", "--env", "PruneEnv/Autoencodr-v0"]
    agent = ["tune", "ppo", "--env", "PruneEnv/Pruning-v0", *RUN]
    for name, text in (("--trials", "0"), ("--eval-every", "0"), ("--eval-every", "99999"), ("--eval-episodes", "-1")):
        yield [*agent, name, text]
    for text in ("", "x", "median "):
        yield [*agent, "--pruner", text]
    for text in ("nosuchdb://x", "sqlite:////", "sqlite:///afolder", "afile", "afolder", "://", "~nobody/x/y", "\0"):
        yield [*agent, "--storage", text]
    yield [*agent, "-s", "split=held_out"]
    for text in ("x", "wandb:x", "wandb:,", ""):
        yield ["train", "ppo", "--env", "PruneEnv/Pruning-v0", *RUN, "--track", text]
    for name in ("--timesteps", "--networks", "--jobs"):
        for text in ("0", "-1", "nan", "x"):
            yield ["demo", name, text]
    for name, text in (
        ("--budget", "nan"),
        ("--budget", "2"),
        ("--network", "-1"),
        ("--seed", "-1"),
        ("--device", "x"),
    ):
        yield ["video", "uniform", "--env", "PruneEnv/Pruning-v0", *RUN, name, text]


PATHS = (
    *(
        "nowhere",
        "afolder",
        "afile",
        "loop",
        "~nobody/x",
        "x" * 5000,
        "a\0b",
        "\N{SNOWMAN}/x.zip",
        "afile/x",
        "[x].zip",
    ),
    *("damaged.zip", "empty.zip", "binary", "."),
)


def command_lines_with_paths():
    """Paths that are missing, of the wrong kind, damaged, very long, or no path."""
    for path in PATHS:
        yield ["eval", path]
        yield ["report", path]
        yield ["video", path]
        yield ["groups", path]
        yield ["bench", "--env", "PruneEnv/Pruning-v0", "--networks", "1", "--policies", path, *RUN]
    for path in ("afile", "afile/x", "loop", "x" * 5000, "a\0b", "~nobody\0"):
        yield ["bench", "--env", "PruneEnv/Pruning-v0", "--policies", "uniform", "--networks", "1", "--jobs", "1",
               "--budgets", "0.5", "--out", path, *RUN]  # fmt: skip
        yield ["train", "ppo", "--env", "PruneEnv/Pruning-v0", "--pool", "1", "--n-envs", "1", "--out", path, *RUN]
        yield ["tune", "ppo", "--env", "PruneEnv/Pruning-v0", "--pool", "1", "--n-envs", "1", "--out", path, *RUN]
        yield ["pretrain", "simple", "--seeds", "0", "--jobs", "1", "--out", path, "-s", "dense_steps=60", "width=8"]
        yield ["video", "uniform", "--env", "PruneEnv/Autoencoder-v0", "--out", path, "-s", "dense_steps=300",
               "steps_per_round=1", "hidden_layers=1"]  # fmt: skip
        yield ["compare-groups", "--out", path]
        yield ["reproduce", "table1", "--quick", "--jobs", "1", "--out", path]


def make_paths():
    """What the paths above lead to."""
    Path("afolder").mkdir()
    Path("afile").write_text("no agent\n")
    Path("binary").write_bytes(bytes(range(256)))
    Path("loop").symlink_to("loop")
    Path("damaged.zip").write_bytes(b"PK\3\4cut short")
    with zipfile.ZipFile("empty.zip", "w"):
        pass


@pytest.mark.slow
def test_command_lines(outcomes, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    make_paths()
    lines = list(command_lines())
    previous = signal.signal(signal.SIGALRM, _ran_on)
    for line in lines:
        monkeypatch.setattr(sys, "argv", ["prune-env", *line])
        code, raised = 0, ""
        signal.alarm(10)  # whatever still runs by then was not refused
        try:
            cli.main()
        except SystemExit as error:
            code = error.code
        except BaseException as error:
            raised = f"{type(error).__name__}: {error}"
        finally:
            signal.alarm(0)
        said = capsys.readouterr()
        last = (said.err.strip().splitlines() or [""])[-1]
        if raised:
            outcomes.add("traceback", line, raised)
        elif code == 0:
            outcomes.add("silent", line)
        elif "Traceback" in said.err + said.out or code != 2 or not last:
            outcomes.add("traceback", line, f"{code}: {last}")
        else:
            outcomes.add("refused", line)
    signal.signal(signal.SIGALRM, previous)
    assert len(lines) > 500


def _ran_on(*_):
    raise TimeoutError("it was not refused")
