"""Measures importance while a network trains: per group and per channel, smoothed, and kept across surgery.

Letters: G groups, W present channels of all groups, flat in group order, M measures.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from weakref import WeakKeyDictionary

import torch
from torch import Tensor

from prune_env.groups import Surgeon
from prune_env.importance.channels import ChannelSums, group_means
from prune_env.importance.config import ImportanceConfig
from prune_env.importance.measures import MEASURES, PAPER_MEASURES, REDUCED
from prune_env.open_sets import find


class ImportanceTracker:
    """An observer of training that turns gradients of the *total* loss into smoothed importance (arXiv 2601.19794, §3).

        EMA = decay * EMA + (1 - decay) * I(t), started at the first value

    for every measure I of `MEASURES` that it tracks, and for every channel and every group; measures that accumulate
    are added up instead. Attach it *after* the
    regularisation, whose gradient belongs to the total loss. Call `after_surgery` after a cut. All state is on the
    device of the model's parameters, and is kept by name.

    Args:
        surgeon: Holds the model and its groups.
        config: Constants of the formulas.
        measures: Which measures are computed; by default all that are registered.
        history: Keep the group importance of every step, [steps, M, G], for plots.

    Attributes:
        unmeasurable: Why nothing can ever be measured of this network; empty for others.

    Raises:
        ValueError: If a measure is unknown.
    """

    unmeasurable = ""

    def __init__(
        self,
        surgeon: Surgeon,
        config: ImportanceConfig | None = None,
        measures: Iterable[str] | None = None,
        history: bool = False,
    ):
        self.surgeon, self.config = surgeon, config or ImportanceConfig()
        self.history: list[Tensor] | None = [] if history else None
        self.track(MEASURES if measures is None else measures)
        self.reset()

    def reset(self) -> None:
        """Forget everything that was measured."""
        self._bind()
        self.steps = 0
        self._ema: dict[str, Tensor] = {}  # [W + G]: channels first, then groups, so one operation smooths both
        self._states: dict[str, dict[str, Tensor]] = {}
        if self.history is not None:
            self.history.clear()

    def track(self, measures: Iterable[str]) -> None:
        """Compute these measures from now on, and no others; what is known of others is dropped in the next step.

        Raises:
            ValueError: If a measure is unknown.
        """
        self._tracked = list(dict.fromkeys(measures))
        needed = {name for m in self._tracked for name in find("measure", m, MEASURES).statistics}
        self._signed = "weighted" in needed
        self._statistics = frozenset("weighted_abs" if name == "weighted" else name for name in needed)

    def _bind(self) -> None:
        self._sums = ChannelSums(self.surgeon, self.config.scope)
        self._means = group_means(self.surgeon).T.contiguous().to(self._sums.device, self._sums.dtype)  # [W, G]
        self._per_entry = torch.ones_like(self._sums.gradient_sums(self._sums.parameters, ()))  # [4, W]
        for row, name in zip(self._per_entry, REDUCED, strict=True):
            if name.startswith("mean"):
                row /= self._sums.counts
        self._pending: list[Tensor] = []
        self._parts: WeakKeyDictionary[torch.optim.Optimizer, ChannelSums] = WeakKeyDictionary()

    # ------------------------------------------------------------------ reading
    @property
    def measures(self) -> tuple[str, ...]:
        """Names of the measures that are tracked."""
        return tuple(self._tracked)

    def lacks(self, measure: str) -> bool:
        """Whether the network trained without this measure, so that what is read of it is zero."""
        return self.steps > 0 and measure not in self._ema

    def groups(self, measures: Sequence[str] = PAPER_MEASURES) -> Tensor:
        """Smoothed importance of every group, [M, G]; zeros where nothing was measured yet.

        Raises:
            ValueError: As `channel`.
        """
        return torch.stack([self._read(name)[self._sums.width :] for name in measures])

    def channel(self, measure: str) -> Tensor:
        """Smoothed importance of every present channel, [W]; zeros if nothing was measured yet.

        A measure that is read is tracked from then on.

        Raises:
            ValueError: If the measure is unknown, or is not tracked and so unknown since the network trained.
        """
        return self._read(measure)[: self._sums.width].clone()

    def _read(self, measure: str) -> Tensor:
        if self.unmeasurable:
            raise ValueError(f"measure {measure!r}: {self.unmeasurable}")
        if measure not in self._tracked:
            find("measure", measure, MEASURES)
            if measure not in self._ema and self.steps:
                raise ValueError(
                    f"measure {measure!r} was not tracked while the network trained; name it in `measures`, or read it "
                    f"before training begins (tracked: {', '.join(self._tracked)})"
                )
            self.track([*self._tracked, measure])
        known = self._ema.get(measure)
        return self._zeros() if known is None else known

    def _zeros(self) -> Tensor:
        return self._means.new_zeros(sum(self._means.shape))

    # ------------------------------------------------------------------ observing
    def after_backward(self, optimizer: torch.optim.Optimizer) -> None:
        """Reduce the gradients that this optimizer is about to use to sums over channels."""
        if not self._statistics:
            return
        sums = self._parts.get(optimizer)
        if sums is None:
            sums = self._parts[optimizer] = self._part(optimizer)
        gradients = [p.grad if p.grad is not None else torch.zeros_like(p) for p in sums.parameters]
        self._pending.append(sums.gradient_sums(gradients, self._statistics))

    def _part(self, optimizer: torch.optim.Optimizer) -> ChannelSums:
        """The sums over the parameters of one optimizer."""
        owned = {id(p) for settings in optimizer.param_groups for p in settings["params"]}
        if all(id(p) in owned for p in self._sums.parameters):
            return self._sums
        return ChannelSums(self.surgeon, self.config.scope, owned)

    @torch.no_grad()
    def after_step(self) -> None:
        """Fold the gradients of this iteration into the moving averages."""
        if not self._pending:
            return
        channels = self._pending[0] if len(self._pending) == 1 else torch.stack(self._pending).sum(0)
        self._pending.clear()
        channels.mul_(self._per_entry)
        weighted = channels[_WEIGHTED_ABS].clone() if self._signed else None
        channels[_WEIGHTED_ABS].abs_()
        now = torch.cat([channels, channels @ self._means], dim=1)  # [4, W + G]
        statistics = dict(zip(REDUCED, now.unbind(), strict=True))
        if weighted is not None:  # apart from the others: four rows stay four rows, to the last bit
            statistics["weighted"] = torch.cat([weighted, weighted @ self._means])
        values = {name: self._value(name, statistics) for name in self._tracked}
        totals = {name: self._ema[name] + values[name] for name in values if self._accumulates(name)}
        values |= totals
        known = [name for name in values if name in self._ema and name not in totals]
        if known:
            torch._foreach_lerp_(
                [self._ema[name] for name in known], [values[name] for name in known], 1.0 - self.config.ema_decay
            )
        self._ema = {name: self._ema[name] if name in known else value.clone() for name, value in values.items()}
        self._states = {name: state for name, state in self._states.items() if name in values}
        self.steps += 1
        if self.history is not None:
            self.history.append(self.groups(self._tracked))

    def _accumulates(self, name: str) -> bool:
        return MEASURES[name].accumulates and name in self._ema

    def _value(self, name: str, statistics: dict[str, Tensor]) -> Tensor:
        measure = MEASURES[name]
        if name not in self._states:
            self._states[name] = measure.initial_state(len(statistics["mean_abs"]), self._sums.device)
        return measure.value(statistics, self._states[name], self.config)

    def after_surgery(self, keep: Tensor) -> None:
        """Keep what was measured of groups and of the channels that stay; `keep` (bool [W]) is what the surgeon got."""
        width = len(keep)
        stays = torch.cat([keep.nonzero()[:, 0], torch.arange(width, width + len(self.surgeon.grouping))])
        stays = stays.to(self._sums.device)
        self._ema = {name: ema[stays] for name, ema in self._ema.items()}
        for state in self._states.values():
            state.update({key: value[stays] for key, value in state.items() if value.dim()})
        self._bind()

    # ------------------------------------------------------------------ remembering
    def state_dict(self) -> dict[str, Tensor]:
        """What was measured, by name: "ema.fisher", and what a measure itself remembers: "bayes.beta"."""
        state = {"steps": torch.tensor(self.steps)}
        state |= {f"ema.{name}": ema.clone() for name, ema in self._ema.items()}
        for name, values in self._states.items():
            state |= {f"{name}.{key}": value.clone() for key, value in values.items()}
        return state

    def load_state_dict(self, state: dict[str, Tensor]) -> None:
        """Put back what `state_dict` returned, for a model with the same present channels.

        A measure that the state lacks starts unmeasured.
        """
        self._bind()
        self.steps = int(state["steps"])
        self._ema, self._states = {}, {}
        for key, tensor in state.items():
            owner, _, name = key.partition(".")
            if name:
                values = self._ema if owner == "ema" else self._states.setdefault(owner, {})
                values[name] = tensor.to(self._sums.device, copy=True)


_WEIGHTED_ABS = list(REDUCED).index("weighted_abs")
