"""The environment: an agent compresses a multi-component network while it keeps training."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from numbers import Integral, Real
from typing import Any

import gymnasium as gym
import numpy as np
import torch
from gymnasium.spaces import Box
from gymnasium.utils import EzPickle

from prune_env.dense.pool import Network, Pool
from prune_env.envs.action import validate_action
from prune_env.envs.episode import Episode, Rules, Seconds
from prune_env.envs.network_view import NetworkView
from prune_env.envs.objectives import VECTOR, VECTOR_TERMS, make_objective
from prune_env.envs.observation import columns_of, observation_space, observe
from prune_env.envs.render import Frame, draw, show, to_text
from prune_env.importance import CRITERIA
from prune_env.parallel import one_thread
from prune_env.repair import REPAIRS
from prune_env.targets import PoolSplit, make_target

Budget = float | Sequence[float] | None


class PruningEnv(gym.Env, EzPickle):
    """Compress a network of several components, round by round, while it trains.

    ## Description
    An episode starts from a dense, trained network. In each of `rounds` rounds the agent says which share of every
    group's channels goes; the channels are really removed (parameters, buffers and optimizer state are sliced), the
    network is repaired, trained for `steps_per_round` instrumented steps, and scored on validation data. Notation and
    importance follow arXiv 2601.19794, component-aware groups arXiv 2504.13296.

    ## Action Space
    `Box(0, max_ratio, (G,), float32)`: for each of the G groups the share of its *present* channels to remove. Within a
    group the channels with the lowest `criterion` go. At least `min_channels` stay. With a budget the action is a
    direction: one shared projection scales it so that every round ends on a geometric schedule towards the budget
    (`1 - sparsity` falls by the same factor in every round) and the last one at the budget itself;
    `info["executed_ratio"]` says what was done. Agents should act through `RescaleAction(env, -1.0, 1.0)`.

    ## Observation Space
    `Box` float32 `(G * F,)`, group by group; `env.unwrapped.columns` (and `info["columns"]` at reset) names the F
    columns:

    | column | range | meaning |
    |---|---|---|
    | gradient, fisher, bayes | -20 to 20 | log10 of the group's smoothed importance |
    | weight_mean, weight_rms | -20 to 20 | log10 of mean abs(w) and of the root mean square w of the root layer |
    | channels, size | 0 to 12 | log10 of the present channels and of the root layer's parameters |
    | kept | 0 to 1 | share of the group's dense channels that is present |
    | parameters | 0 to 1 | share of the network's parameters that lies in the root layer |
    | coupling | 0 or 1 | 1 for a coupling group |
    | sparsity | 0 to 1 | share of the network's parameters removed so far |
    | budget_left | -1 to 1 | sparsity still to go; 0 without a budget |
    | retained | -1 to 2 | retained score |
    | progress | 0 to 1 | share of rounds that is over |

    `observation="importance"` keeps the first three columns only.

    ## Rewards
    The increments of a potential Phi of named terms (`info["reward_terms"]`). With R the retained score,
    (score - floor) / (dense score - floor):

    | objective | Phi |
    |---|---|
    | area (default without a budget) | R * sparsity |
    | budget (default with one) | R * min(1, sparsity / budget) |
    | floor | sparsity while R >= `retained`, else the shortfall |
    | weighted | weighted sum of terms |
    | amc | -(1 - R) * log(MACs) |
    | vector | the array (R, sparsity), for multi-objective learners (`reward_space`) |

    ## Starting State
    A dense network drawn from the pool: `pool` networks of the target, which differ in seed and in the options that the
    target varies. `split="held_out"` draws from other seeds and other options than `split="train"`.
    `reset(options={"network": i, "budget": b})` chooses instead of drawing.

    ## Episode End
    Terminated after `rounds` rounds, or when the network collapsed: its loss or score is not finite (R is then -1), or
    it is worse than the floor (R < 0). Never truncated.

    ## Arguments
    See below; further keyword arguments are options of the target (`latent_dim=16`).

    ## Version History
    * v0: initial version

    Args:
        target: Name of a registered target.
        rounds: Rounds of an episode; 1 prunes once, more goes on training in between.
        steps_per_round: Training steps after each cut [steps].
        max_ratio: Upper bound of the action.
        budget: Sparsity to end at, in (0, 1): a number, a pair (low, high) to draw uniformly from at each reset, a
            longer sequence to choose from, or None to leave the depth to the agent.
        budget_unit: What the budget counts, "parameters" or "macs".
        objective: Name of the objective; by default "budget" with a budget and "area" without.
        objective_options: Its options, e.g. the weights of "weighted".
        observation: "full" or "importance".
        criterion: Which channels of a group go first.
        repair: What is done about a cut: "batchnorm" recalibrates running statistics, "mean" adds what removed channels
            gave on average to the biases behind them, "none" does nothing; by default what suits the target.
        protect: Components and groups (by name) that are never cut.
        component_weights: How much more than others a component matters, by name; at weight 2 a group loses channels
            half as fast: the share kept is (1 - ratio)^(1/2). A coupling group has its components' largest weight.
        min_channels: Channels that every group keeps.
        round_to: Widths become multiples of this where they shrink.
        pool: How many dense networks episodes start from.
        split: "train" or "held_out".
        render_mode: "human", "ansi" or "rgb_array".
        target_options: Options of the target, also those that have the name of an argument here, such as the
            `observation` of a controller.
        fixed_options: Options of the target that an id stands for; what is said elsewhere must not contradict them.
        **options: Further options of the target; they win over `target_options`.

    Raises:
        ValueError: If an argument is unknown or out of range; the message says what is allowed.
    """

    metadata = {"render_modes": ["human", "ansi", "rgb_array"], "render_fps": 2}  # noqa: RUF012

    def __init__(
        self,
        target: str,
        *,
        rounds: int = 4,
        steps_per_round: int = 30,
        max_ratio: float = 0.95,
        budget: Budget = None,
        budget_unit: str = "parameters",
        objective: str | None = None,
        objective_options: Mapping[str, float] | None = None,
        observation: str = "full",
        criterion: str = "fisher_weight",
        repair: str | None = None,
        protect: Sequence[str] = (),
        component_weights: Mapping[str, float] | None = None,
        min_channels: int = 1,
        round_to: int = 1,
        pool: int = 1,
        split: PoolSplit = "train",
        render_mode: str | None = None,
        target_options: Mapping[str, Any] | None = None,
        fixed_options: Mapping[str, Any] | None = None,
        **options: Any,
    ):
        EzPickle.__init__(
            self,
            target,
            rounds=rounds,
            steps_per_round=steps_per_round,
            max_ratio=max_ratio,
            budget=budget,
            budget_unit=budget_unit,
            objective=objective,
            objective_options=objective_options,
            observation=observation,
            criterion=criterion,
            repair=repair,
            protect=protect,
            component_weights=component_weights,
            min_channels=min_channels,
            round_to=round_to,
            pool=pool,
            split=split,
            render_mode=render_mode,
            target_options=target_options,
            fixed_options=fixed_options,
            **options,
        )
        target_options = _agreed(fixed_options or {}, {**(target_options or {}), **options})
        repair = repair or make_target(target, **target_options).repair
        for name, value in {"rounds": rounds, "min_channels": min_channels, "round_to": round_to, "pool": pool}.items():
            if _number(name, value) < 1:
                raise ValueError(f"{name} must be at least 1, got {value}")
        if _number("steps_per_round", steps_per_round) < 0:
            raise ValueError(f"steps_per_round must not be negative, got {steps_per_round}")
        if not 0 < _number("max_ratio", max_ratio, Real) < 1:
            raise ValueError(f"max_ratio must lie in (0, 1), got {max_ratio}")
        self.budgets = _check_budget(budget)
        objective = objective or ("area" if budget is None else "budget")
        if objective == "budget" and budget is None:
            raise ValueError("objective 'budget' needs a budget, e.g. budget=0.7")
        self._potential = make_objective(objective, objective_options)
        if objective == VECTOR:
            self.reward_space = Box(-np.inf, np.inf, (len(VECTOR_TERMS),))
        self.rules = Rules(
            rounds=rounds,
            steps_per_round=steps_per_round,
            budget_unit=_known("budget_unit", budget_unit, ("parameters", "macs")),
            criterion=CRITERIA[_known("criterion", criterion, CRITERIA)],
            repair=REPAIRS[_known("repair", repair, REPAIRS)],
            component_weights=dict(component_weights or {}),
            min_channels=min_channels,
            round_to=round_to,
        )
        self.render_mode = (
            render_mode if render_mode is None else _known("render_mode", render_mode, self.metadata["render_modes"])
        )
        self.max_ratio = max_ratio
        self.columns = columns_of(observation)
        self.pool = Pool(target, target_options, pool, _known("split", split, ("train", "held_out")), tuple(protect))
        self._specs = self.pool.specs()
        self._networks: dict[int, Network] = {}
        self.seconds = Seconds()
        self.network = self._load(0)
        groups = len(self.network.train_state.surgeon.grouping)
        self.action_space = Box(0.0, max_ratio, (groups,), dtype=np.float32)
        self.observation_space = observation_space(self.columns, groups)
        self._window: Any = None
        self.episode: Episode = None  # type: ignore[assignment]  # reset() makes it

    # ------------------------------------------------------------------ gymnasium
    @one_thread()
    def reset(
        self, *, seed: int | None = None, options: dict[str, Any] | None = None
    ) -> tuple[np.ndarray, dict[str, Any]]:
        """Start from a dense network of the pool.

        Args:
            seed: As in Gymnasium.
            options: `{"network": index}` and `{"budget": sparsity}` choose what is drawn otherwise.
        """
        super().reset(seed=seed)
        options = dict(options or {})
        index = int(options.pop("network", self.np_random.integers(len(self._specs))))
        budget = self._draw_budget()
        if "budget" in options:
            given = _check_budget(options.pop("budget"))
            budget = None if given is None else float(given[0])
        if options:
            raise ValueError(f"unknown reset options {sorted(options)}; known options: network, budget")
        if not 0 <= index < len(self._specs):
            raise ValueError(f"network {index} is not in the pool of {len(self._specs)}")
        self.network = self._load(index)
        self.network.restore()
        generator = torch.Generator().manual_seed(int(self.np_random.integers(2**62)))
        self.episode = Episode(self.network, self.rules, budget, generator, self.seconds)
        self._phi = self._potential(self.episode.terms)
        if self.render_mode == "human":
            self.render()
        return self._observe(), self._info() | {
            "network": self.network.label,
            "groups": self.group_names,
            "columns": tuple(column.name for column in self.columns),
        }

    @one_thread()
    def step(self, action: np.ndarray) -> tuple[np.ndarray, Any, bool, bool, dict[str, Any]]:
        """One round: cut, repair, train, score.

        Raises:
            ValueError: If the action has the wrong shape, is not finite or out of range; nothing is cut then.
            RuntimeError: If the episode is over.
        """
        if self.episode is None or self.episode.over:
            raise RuntimeError("the episode is over, or none was begun: call reset() first")
        self.episode.play(validate_action(action, len(self.group_names), self.max_ratio))
        previous, self._phi = self._phi, self._potential(self.episode.terms)
        reward = self._phi - previous
        if self.render_mode == "human":
            self.render()
        reward = reward if isinstance(reward, np.ndarray) else float(reward)
        return self._observe(), reward, self.episode.over, False, self._info()

    def render(self):
        """The network's groups, their widths and importance, and the score."""
        if self.render_mode is None:
            gym.logger.warn("render() needs a render_mode, e.g. gym.make(id, render_mode='ansi')")
            return None
        frame = self._frame()
        if self.render_mode == "ansi":
            return to_text(frame)
        if self.render_mode == "rgb_array":
            return draw(frame)
        self._window = show(self._window, frame, self.metadata["render_fps"])
        return None

    def close(self) -> None:
        """Close the window, if there is one."""
        if self._window is not None:
            self._window.close()
            self._window = None

    # ------------------------------------------------------------------ reading
    @property
    def group_names(self) -> tuple[str, ...]:
        """Names of the G groups."""
        return self.network.train_state.surgeon.grouping.names

    @property
    def view(self) -> NetworkView:
        """What privileged policies may see of the present episode."""
        return NetworkView(self.episode, self.max_ratio, seed=self.episode.round)

    @property
    def labels(self) -> list[tuple[str, str]]:
        """Label and stratum of every network in the pool."""
        return [(f"{s}, seed={spec.seed}" if s else f"seed={spec.seed}", s or spec.target) for spec, s in self._specs]

    # ------------------------------------------------------------------ parts
    def _load(self, index: int) -> Network:
        if index not in self._networks:
            self._networks[index] = Network(*self._specs[index])
        return self._networks[index]

    def _draw_budget(self) -> float | None:
        if self.budgets is None:
            return None
        if len(self.budgets) == 2:
            return float(self.np_random.uniform(*self.budgets))
        return float(self.np_random.choice(self.budgets))

    def _observe(self) -> np.ndarray:
        terms = self.episode.terms
        return observe(
            self.columns,
            self.network.train_state.tracker,
            sparsity=terms.sparsity,
            budget_left=terms.budget - terms.budget_sparsity if terms.budget else 0.0,
            retained=terms.retained,
            progress=self.episode.round / self.rules.rounds,
            parameters=float(self.network.cost(self.episode.widths).parameters),
        )

    def _info(self) -> dict[str, Any]:
        return {
            "executed_ratio": self.episode.executed_ratio.copy(),
            "channels": self.episode.widths.copy(),
            "reward_terms": self.episode.terms.asdict(),
            "collapsed": self.episode.terms.retained < 0,
        }

    def _frame(self) -> Frame:
        train_state = self.network.train_state
        return Frame(
            title=f"{self.pool.target} ({self.network.label})",
            groups=self.group_names,
            kinds=tuple(group.kind for group in train_state.surgeon.grouping),
            widths=self.episode.widths,
            dense_widths=train_state.surgeon.grouping.widths,
            importance=train_state.tracker.groups().numpy(),
            round=self.episode.round,
            rounds=self.rules.rounds,
            terms=self.episode.terms,
        )


def _agreed(fixed: Mapping[str, Any], given: Mapping[str, Any]) -> dict[str, Any]:
    """Both kinds of the target's options, which must not contradict each other."""
    for name in fixed.keys() & given.keys():
        if given[name] != fixed[name]:
            raise ValueError(
                f"{name}={given[name]!r} contradicts the id, which stands for {name}={fixed[name]!r}: take the id of"
                " another environment, or PruneEnv/Pruning-v0"
            )
    return {**fixed, **given}


def _number(name: str, value: Any, kind: type = Integral) -> Any:
    if not isinstance(value, kind) or isinstance(value, bool):
        raise ValueError(f"{name} must be {'a whole number' if kind is Integral else 'a number'}, got {value!r}")
    return value


def _known(argument: str, name: Any, known: Iterable[str]) -> Any:
    if name not in known:
        raise ValueError(f"unknown {argument} {name!r}; known: {', '.join(known)}")
    return name


def _check_budget(budget: Budget) -> np.ndarray | None:
    if budget is None:
        return None
    values = np.atleast_1d(np.asarray(budget, dtype=np.float64))
    if not (
        values.ndim == 1 and len(values) and np.isfinite(values).all() and (values > 0).all() and (values < 1).all()
    ):
        raise ValueError(f"a budget is a sparsity in (0, 1), a pair (low, high) or a sequence of them; got {budget!r}")
    if len(values) == 2 and values[0] > values[1]:
        raise ValueError(f"a budget range goes from low to high; got {budget!r}")
    return values
