"""The environment: an agent compresses a multi-component network while it keeps training."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

import gymnasium as gym
import numpy as np
import torch
from gymnasium.envs.registration import EnvSpec
from gymnasium.spaces import Box
from gymnasium.utils import EzPickle

from prune_env.dense import GivenPool, Network, Pool
from prune_env.envs.action import validate_action
from prune_env.envs.config import (
    EPISODE_FIELDS,
    PruningConfig,
    budgets_of,
    check_names,
    config_for,
    draw_budget,
    make_config,
)
from prune_env.envs.episode import Episode, Seconds
from prune_env.envs.network_view import NetworkView
from prune_env.envs.objectives import check_potential, make_objective, untouched_terms
from prune_env.envs.observation import observation_space, observe
from prune_env.envs.render import Frame, draw, show, to_text
from prune_env.isolation import isolated
from prune_env.open_sets import find
from prune_env.validation import Range, check_value


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
    direction: one shared projection scales it so that every round ends on a schedule towards the budget
    (by default `1 - sparsity` falls by the same factor in every round) and the last one at the budget itself;
    `info["executed_ratio"]` says what was done. Agents should act through `RescaleAction(env, -1.0, 1.0)`.

    ## Observation Space
    `Box` float32 `(G * F,)`, group by group; `env.unwrapped.columns` (and `info["columns"]`) names the F
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

    `observation="importance"` keeps the first three columns only. A tuple chooses columns by name, forms among them:
    `("importance", "activation")` adds log10 of the group's mean of a criterion, for every criterion that costs little,
    and any measure (one that has a sign is divided by its largest magnitude over the groups, -1 to 1).

    ## Rewards
    The increments of a potential Phi of named terms (`info["reward_terms"]`). With R the retained score,
    (score - floor) / (dense score - floor):

    | objective | Phi |
    |---|---|
    | area (default without a budget) | R * sparsity |
    | budget (default with one) | R * min(1, sparsity / budget) |
    | floor | sparsity while R >= `retained`, else the shortfall |
    | keep | sparsity - `penalty` * max(0, `retained` - R) |
    | weighted | weighted sum of terms |
    | amc | -(1 - R) * log(MACs) |
    | vector | the array (R, sparsity), for multi-objective learners (`reward_space`, `reward_dim`) |

    ## Starting State
    A dense network drawn from the pool: `pool` networks of the target, which differ in seed and in the options that the
    target varies. `split="held_out"` draws from other seeds and other options than `split="train"`.
    `reset(options={"network": i, "budget": b})` chooses instead of drawing.

    ## Episode End
    Terminated after `rounds` rounds, or when the network collapsed: its loss or score is not finite (R is then -1), or
    it is worse than the floor (R < 0). Never truncated.

    ## Arguments
    A `PruningConfig`, or its fields as keywords; further keywords are options of the target (`latent_dim=16`).

    ## Version History
    * v0: initial version

    Args:
        config: All arguments in one, or the name of a target.
        render_mode: "human", "ansi" or "rgb_array".
        networks: Dense networks that episodes start from, instead of those of a registered target; see `Network.of`.
            `arguments` are then fields that networks do not decide, and `config` is not given.
        **arguments: Fields of `PruningConfig`, which win over those of `config`, and options of the target.

    Raises:
        TypeError: If a keyword is neither a field nor an option of the target.
        ValueError: If a value is unknown or out of range; the message says what is allowed.
    """

    metadata = {"render_modes": ["human", "ansi", "rgb_array"], "render_fps": 2}  # noqa: RUF012

    @isolated()
    def __init__(
        self,
        config: PruningConfig | str | None = None,
        *,
        render_mode: str | None = None,
        networks: Sequence[Network] | None = None,
        **arguments: Any,
    ):
        EzPickle.__init__(self, config, render_mode=render_mode, networks=networks, **arguments)
        if networks is not None and config is not None:
            raise TypeError("PruningEnv takes a target or networks, not both")
        given = None if networks is None else GivenPool.of(networks)
        self.config = config_for(given.networks[0], arguments) if given else make_config(config, arguments)
        if render_mode is not None:
            check_value("render_mode", render_mode, str, tuple(self.metadata["render_modes"]))
        self.render_mode = render_mode
        self.max_ratio = self.config.max_ratio
        self.columns = self.config.columns
        self.pool = given or Pool(
            self.config.target,
            self.config.target_options,
            self.config.pool,
            self.config.split,
            tuple(self.config.protect),
            self.config.importance,
            self.config.regularizer,
            self.config.device,
            self.config.pool_kind,
        )
        self._labels = self.pool.labels()
        self._spec: EnvSpec | None = None
        self._networks: dict[int, Network] = {}
        self.seconds = Seconds()
        self.network = self._load(0)
        groups = len(self.network.grouping)
        self.action_space = Box(0.0, self.max_ratio, (groups,), dtype=np.float32)
        self.observation_space = observation_space(self.columns, groups)
        self._potential = make_objective(self.config.objective_name, self.config.objective_options)
        potential = self._potential(untouched_terms(self.config.costs, self.config.budget_unit))
        if isinstance(potential, np.ndarray):  # as multi-objective libraries expect
            self.reward_space = Box(-np.inf, np.inf, potential.shape)
            self.reward_dim = len(potential)
        self._window: Any = None
        self._phi: Any = 0.0
        self.episode: Episode = None  # type: ignore[assignment]  # reset() makes it

    # ------------------------------------------------------------------ gymnasium
    @isolated()
    def reset(
        self, *, seed: int | None = None, options: dict[str, Any] | None = None
    ) -> tuple[np.ndarray, dict[str, Any]]:
        """Start from a dense network of the pool.

        Args:
            seed: As in Gymnasium.
            options: `{"network": index}` chooses the network; fields of the configuration that change neither spaces
                nor networks (`budget`, `rounds`, `criterion`, ...; see `EPISODE_FIELDS`) hold for this episode.

        Raises:
            ValueError: If an option is unknown or out of range; the episode that was running goes on.
        """
        if options is not None and not isinstance(options, Mapping):
            raise ValueError(f"options of a reset must be a dict, e.g. {{'network': 0}}; got {options!r}")
        given = dict(options or {})
        for name in given:
            find("reset option", name, dict.fromkeys(("network", *EPISODE_FIELDS)))
        chosen = self._checked_index(given.pop("network")) if "network" in given else None
        config = replace(self.config, **given)
        check_names(config, self.network.train_state.target)
        random, random_seed = self._np_random, self._np_random_seed
        state: Any = None if random is None else random.bit_generator.state
        super().reset(seed=seed)
        try:
            self._begin(config, "budget" in given, chosen)
        except BaseException:
            self._np_random, self._np_random_seed = random, random_seed
            if random is not None:
                random.bit_generator.state = state
            raise
        if self.render_mode == "human":
            self.render()
        return self._observe(), self._info()

    @isolated()
    def step(self, action: np.ndarray) -> tuple[np.ndarray, Any, bool, bool, dict[str, Any]]:
        """One round: cut, repair, train, score.

        Raises:
            ValueError: If the action has the wrong shape, is not finite or out of range; nothing is cut then.
            RuntimeError: If the episode is over.
        """
        if self.episode is None or self.episode.over:
            raise RuntimeError("the episode is over, or none was begun: call reset() first")
        ratios = validate_action(action, len(self.group_names), self.max_ratio)
        with self.episode.undone_by_errors():
            self.episode.advance(ratios)
            phi = self._potential_of(self.episode)
            reward = phi - self._phi
            if not np.isfinite(reward).all():
                raise ValueError(f"objective {self.config.objective_name!r}: the reward {phi} - {self._phi} overflows")
        self._phi = phi
        if self.render_mode == "human":
            self.render()
        reward = reward if isinstance(reward, np.ndarray) else float(reward)
        return self._observe(), reward, self.episode.over, False, self._info()

    def render(self):
        """The network's groups, their widths and importance, and the score."""
        self._begun()
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
    def spec(self) -> EnvSpec | None:
        """Gymnasium's specification, with the rounds as `max_episode_steps`: wrappers that tell the time ask for it."""
        return self._spec

    @spec.setter
    def spec(self, spec: EnvSpec | None) -> None:
        if spec is not None and spec.max_episode_steps is None:
            spec = replace(spec, max_episode_steps=self.config.rounds)
        self._spec = spec

    @property
    def group_names(self) -> tuple[str, ...]:
        """Names of the G groups."""
        return self.network.grouping.names

    @property
    def view(self) -> NetworkView:
        """What privileged policies may see of the present episode."""
        return NetworkView(self._begun(), self.max_ratio, seed=self.episode.round)

    @property
    def pools(self) -> list[Pool]:
        """The pool, as `ZooEnv` has several."""
        return [self.pool]

    @property
    def labels(self) -> list[tuple[str, str]]:
        """Label and stratum of every network in the pool."""
        return list(self._labels)

    # ------------------------------------------------------------------ parts
    def _begin(self, config: PruningConfig, budget_given: bool, chosen: int | None) -> None:
        """Draw network, budget and seed of the batches, and begin the episode."""
        index = int(self.np_random.integers(len(self._labels)))  # drawn in any case: options shift no other draw
        index = index if chosen is None else chosen
        budget = draw_budget(budgets_of(self.config.budget), self.np_random)
        if budget_given:
            given = budgets_of(config.budget)
            budget = float(given[0]) if given is not None and len(given) == 1 else draw_budget(given, self.np_random)
        generator = torch.Generator().manual_seed(int(self.np_random.integers(2**62)))
        network = self._load(index)
        episode = Episode(network, config, budget, generator, self.seconds)
        self._phi = self._potential_of(episode)
        self.network, self.episode = network, episode

    def _load(self, index: int) -> Network:
        if index not in self._networks:
            self._networks[index] = self.pool.load(index)
        return self._networks[index]

    def _potential_of(self, episode: Episode) -> Any:
        return check_potential(self._potential(episode.terms), self.config.objective_name, episode.terms)

    def _begun(self) -> Episode:
        if self.episode is None:
            raise RuntimeError("no episode was begun: call reset() first")
        return self.episode

    def _checked_index(self, index: Any) -> int:
        check_value("network", index, int, Range(0, len(self._labels)))
        return int(index)

    def _observe(self) -> np.ndarray:
        episode, terms = self.episode, self.episode.terms
        return observe(
            self.columns,
            episode.importance,
            sparsity=terms.sparsity,
            budget_left=terms.budget - terms.budget_sparsity if terms.budget else 0.0,
            retained=terms.retained,
            progress=episode.progress,
            parameters=terms.costs["parameters"],
            context=episode.network.train_state.context(episode.generator),
        )

    def _info(self) -> dict[str, Any]:
        terms = self.episode.terms
        return {
            "executed_ratio": self.episode.executed_ratio.copy(),
            "channels": self.episode.widths.copy(),
            "reward_terms": terms.asdict(),
            "sparsities": dict(terms.sparsities),
            "collapsed": terms.retained < 0,
            # The same entries at every step: what records infos, such as Minari, stacks them.
            "network": self.network.label,
            "groups": self.group_names,
            "columns": tuple(column.name for column in self.columns),
        }

    def _frame(self) -> Frame:
        return Frame(
            title=f"{self.pool.target} ({self.network.label})",
            groups=self.group_names,
            kinds=tuple(group.kind for group in self.network.grouping),
            widths=self.episode.widths,
            dense_widths=self.network.grouping.widths,
            measures=self.config.measures,
            importance=self.episode.importance.groups(self.config.measures).cpu().numpy(),
            round=self.episode.round,
            rounds=self.episode.config.rounds,
            terms=self.episode.terms,
        )
