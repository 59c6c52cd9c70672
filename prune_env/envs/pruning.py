"""The environment: an agent compresses a multi-component network while it keeps training."""

from __future__ import annotations

import math
import time
from collections.abc import Mapping, Sequence
from typing import Any

import gymnasium as gym
import numpy as np
import torch
from gymnasium.spaces import Box
from gymnasium.utils import EzPickle

from prune_env.envs.action import choose_channels, project, validate_action, widths_after
from prune_env.envs.network import Network, Pool
from prune_env.envs.objective import VECTOR, VECTOR_TERMS, Terms, make_objective
from prune_env.envs.observation import columns_of, observation_space, observe
from prune_env.envs.render import Frame, draw, show, to_text
from prune_env.importance import CRITERIA
from prune_env.repair import REPAIRS
from prune_env.targets import PoolSplit, Split
from prune_env.training import train

COLLAPSED = -1.0
"""Retained score of a network whose loss or score is not finite; also the least retained score there is."""

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
        repair: What is done right after a cut: "batchnorm" recalibrates running statistics, "none" does nothing.
        min_channels: Channels that every group keeps.
        round_to: Widths become multiples of this where they shrink.
        pool: How many dense networks episodes start from.
        split: "train" or "held_out".
        render_mode: "human", "ansi" or "rgb_array".
        **target_options: Options of the target.

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
        repair: str = "batchnorm",
        min_channels: int = 1,
        round_to: int = 1,
        pool: int = 1,
        split: PoolSplit = "train",
        render_mode: str | None = None,
        **target_options: Any,
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
            min_channels=min_channels,
            round_to=round_to,
            pool=pool,
            split=split,
            render_mode=render_mode,
            **target_options,
        )
        for name, value in {"rounds": rounds, "min_channels": min_channels, "round_to": round_to, "pool": pool}.items():
            if value < 1:
                raise ValueError(f"{name} must be at least 1, got {value}")
        if steps_per_round < 0:
            raise ValueError(f"steps_per_round must not be negative, got {steps_per_round}")
        if not 0 < max_ratio < 1:
            raise ValueError(f"max_ratio must lie in (0, 1), got {max_ratio}")
        self.budgets = _check_budget(budget)
        objective = objective or ("area" if budget is None else "budget")
        if objective == "budget" and budget is None:
            raise ValueError("objective 'budget' needs a budget, e.g. budget=0.7")
        self._potential = make_objective(objective, objective_options)
        if objective == VECTOR:
            self.reward_space = Box(-np.inf, np.inf, (len(VECTOR_TERMS),))
        self.budget_unit = _known("budget_unit", budget_unit, ("parameters", "macs"))
        self.criterion = CRITERIA[_known("criterion", criterion, CRITERIA)]
        self.repair = REPAIRS[_known("repair", repair, REPAIRS)]
        self.render_mode = render_mode if render_mode is None else _known(
            "render_mode", render_mode, self.metadata["render_modes"]
        )
        self.rounds, self.steps_per_round, self.max_ratio = rounds, steps_per_round, max_ratio
        self.min_channels, self.round_to = min_channels, round_to
        self.columns = columns_of(observation)
        self.pool = Pool(target, target_options, pool, _known("split", split, ("train", "held_out")))
        self._specs = self.pool.specs()
        self._networks: dict[int, Network] = {}
        self.seconds = {"training": 0.0, "scoring": 0.0, "rest": 0.0}
        """Time spent by `step` so far [s]; kept out of `info`, which must repeat itself."""

        self.network = self._load(0)
        groups = len(self.network.learner.surgeon.grouping)
        self.action_space = Box(0.0, max_ratio, (groups,), dtype=np.float32)
        self.observation_space = observation_space(self.columns, groups)
        self._window: Any = None
        self._over = True  # until reset

    # ------------------------------------------------------------------ gymnasium
    def reset(self, *, seed: int | None = None, options: dict[str, Any] | None = None):
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
            budget = _check_budget(options.pop("budget"))
            budget = None if budget is None else float(budget[0])
        if options:
            raise ValueError(f"unknown reset options {sorted(options)}; known options: network, budget")
        if not 0 <= index < len(self._specs):
            raise ValueError(f"network {index} is not in the pool of {len(self._specs)}")
        self.network = self._load(index)
        self.network.restore()
        generator = torch.Generator().manual_seed(int(self.np_random.integers(2**62)))
        self._begin(index, budget, generator)
        if self.render_mode == "human":
            self.render()
        return self._observe(), self._info() | {
            "network": self.network.label,
            "groups": self.group_names,
            "columns": tuple(column.name for column in self.columns),
        }

    def step(self, action: np.ndarray):
        """One round: cut, repair, train, score."""
        if self._over:
            raise RuntimeError("the episode is over (or was never begun); call reset() first")
        ratios = validate_action(action, len(self.group_names), self.max_ratio)
        started, spent = time.perf_counter(), self.seconds["training"] + self.seconds["scoring"]
        before = self.widths
        self._cut(self._widths_for(ratios))
        self._executed = 1.0 - self.widths / before
        self._train_and_score()
        self._round += 1
        previous, self._phi = self._phi, self._potential(self.terms)
        reward = self._phi - previous
        self._over = self._round >= self.rounds or self.terms.retained < 0
        observation, info = self._observe(), self._info()
        self.seconds["rest"] += (
            time.perf_counter() - started - (self.seconds["training"] + self.seconds["scoring"] - spent)
        )
        if self.render_mode == "human":
            self.render()
        return observation, reward if isinstance(reward, np.ndarray) else float(reward), self._over, False, info

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
        return self.network.learner.surgeon.grouping.names

    @property
    def widths(self) -> np.ndarray:
        """Present channels of each group, int [G]."""
        return self.network.learner.surgeon.widths.numpy()

    @property
    def labels(self) -> list[tuple[str, str]]:
        """Label and stratum of every network in the pool."""
        return [(f"{s}, seed={spec.seed}" if s else f"seed={spec.seed}", s or spec.target) for spec, s in self._specs]

    def retained(self, split: Split) -> float:
        """Retained score of the network as it stands; ask for the test split at report time only.

        The dense test score must be known: call `env.network.score_scale("test")` right after reset.
        """
        floor, dense = self.network.score_scale(split)
        score = self.network.learner.target.score(self.network.learner.model, split)
        return max((score - floor) / (dense - floor), COLLAPSED) if math.isfinite(score) else COLLAPSED

    # ------------------------------------------------------------------ a round
    def _widths_for(self, ratios: np.ndarray) -> np.ndarray:
        """Channels of each group that stay when this action is taken now, int [G]."""
        widths = self.widths
        least = np.minimum(widths, self.min_channels)
        if self.budget is None:
            return widths_after(ratios, widths, least, self.round_to)
        share = (1.0 - self.budget) ** ((self._round + 1) / self.rounds)
        return project(ratios, widths, self._cost_of, share * self._dense_cost, least, self.round_to)

    def _cost_of(self, widths: np.ndarray) -> np.ndarray:
        return getattr(self.network.cost(widths), self.budget_unit)

    def _cut(self, widths: np.ndarray) -> None:
        learner = self.network.learner
        values = self.criterion(learner.surgeon, learner.tracker, self._generator).numpy()
        keep = torch.from_numpy(choose_channels(values, learner.surgeon.group_of.numpy(), self.widths - widths))
        learner.surgeon.cut(keep)
        for observer in learner.observers:
            observer.after_surgery(keep)

    def _train_and_score(self) -> None:
        learner = self.network.learner
        begun = time.perf_counter()
        self.repair(learner.target, learner.model, self._batches)
        loss = train(
            learner.target, learner.model, learner.optimizers, self._batches, self.steps_per_round, learner.observers
        )
        trained = time.perf_counter()
        retained = self.retained("validation") if math.isfinite(loss) else COLLAPSED
        self.seconds["training"] += trained - begun
        self.seconds["scoring"] += time.perf_counter() - trained
        self.terms = self._terms(retained)

    def _terms(self, retained: float) -> Terms:
        cost = self.network.cost(self.widths)
        dense = self.network.cost.dense
        sparsities = {
            "parameters": 1.0 - float(cost.parameters) / float(dense.parameters),
            "macs": 1.0 - float(cost.macs) / float(dense.macs),
        }
        return Terms(
            retained=retained,
            sparsity=sparsities["parameters"],
            sparsity_macs=sparsities["macs"],
            budget=self.budget or 0.0,
            budget_sparsity=sparsities[self.budget_unit],
            macs=float(cost.macs),
        )

    # ------------------------------------------------------------------ beginning and telling
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

    def _begin(self, index: int, budget: float | None, generator: torch.Generator) -> None:
        self.budget, self._generator = budget, generator
        self._batches = self.network.learner.target.batches(generator)
        self._dense_cost = float(getattr(self.network.cost.dense, self.budget_unit))
        self._round, self._over = 0, False
        self._executed = np.zeros(len(self.group_names))
        if budget is not None:
            least = np.minimum(self.widths, self.min_channels)
            deepest = 1.0 - float(self._cost_of(least)) / self._dense_cost
            if deepest < budget:
                raise ValueError(
                    f"budget {budget} cannot be reached: with {self.min_channels} channel(s) in every group the "
                    f"sparsity of {self.network.label!r} is {deepest:.4f}"
                )
        self.terms = self._terms(1.0)
        self._phi = self._potential(self.terms)

    def _observe(self) -> np.ndarray:
        terms = self.terms
        return observe(
            self.columns,
            self.network.learner.tracker,
            sparsity=terms.sparsity,
            budget_left=terms.budget - terms.budget_sparsity if terms.budget else 0.0,
            retained=terms.retained,
            progress=self._round / self.rounds,
            parameters=float(self.network.cost(self.widths).parameters),
        )

    def _info(self) -> dict[str, Any]:
        return {
            "executed_ratio": self._executed.copy(),
            "channels": self.widths.copy(),
            "reward_terms": self.terms.asdict(),
            "collapsed": self.terms.retained < 0,
        }

    def _frame(self) -> Frame:
        return Frame(
            title=f"{self.pool.target} ({self.network.label})",
            groups=self.group_names,
            kinds=tuple(group.kind for group in self.network.learner.surgeon.grouping),
            widths=self.widths,
            dense_widths=self.network.learner.surgeon.grouping.widths,
            importance=self.network.learner.tracker.groups().numpy(),
            round=self._round,
            rounds=self.rounds,
            terms=self.terms,
        )


def _known(argument: str, name: Any, known) -> Any:
    if name not in known:
        raise ValueError(f"unknown {argument} {name!r}; known: {', '.join(known)}")
    return name


def _check_budget(budget: Budget) -> np.ndarray | None:
    if budget is None:
        return None
    values = np.atleast_1d(np.asarray(budget, dtype=np.float64))
    if not (values.ndim == 1 and len(values) and np.isfinite(values).all() and (0 < values).all() and (values < 1).all()):
        raise ValueError(f"a budget is a sparsity in (0, 1), a pair (low, high) or a sequence of them; got {budget!r}")
    if len(values) == 2 and values[0] > values[1]:
        raise ValueError(f"a budget range goes from low to high; got {budget!r}")
    return values
