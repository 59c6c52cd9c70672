"""Measures importance while a network trains: per group and per channel, smoothed, and kept across surgery.

Letters: G groups, W present channels of all groups, flat in group order, S statistics of a channel.
"""

from __future__ import annotations

from weakref import WeakKeyDictionary

import torch
from torch import Tensor

from prune_env.groups import Surgeon
from prune_env.importance.channels import ChannelSums, Scope, group_means
from prune_env.importance.measures import MEASURES, Variant, bayes_importance, gamma_update

# What is smoothed for every channel: the three measures, |sum w g| (Taylor) and sum g^2 w^2 (Fisher x weight squared).
STATISTICS = (*MEASURES, "taylor", "fisher_weight")


class ImportanceTracker:
    """An observer of training that turns gradients of the *total* loss into smoothed importance (arXiv 2601.19794, §3).

        I_grad(t) = 1/N sum |grad|,   I_fisher(t) = 1/N sum grad^2,   I_bayes(t) = log(1 + mu) * (1 + I_fisher)
        EMA = decay * EMA + (1 - decay) * I(t), started at the first value

    Attach it *after* the regularisation, whose gradient belongs to the total loss. Call `after_surgery` after a cut.

    Args:
        surgeon: Holds the model and its groups.
        ema_decay: The paper's gamma (that name is left to the agents' discount).
        scope: "root" counts the root layer's weight and bias, as the paper's Table 2; "group" every slice of a group.
        variant: "literal" or "corrected" posterior mean, see `bayes_importance`.
        kappa: Weight of one observation in the Gamma posterior.
        eta: Scale of the gradient energy.
        history: Keep the group importance of every step, [steps, 3, G], for plots.
    """

    def __init__(
        self,
        surgeon: Surgeon,
        ema_decay: float = 0.9,
        scope: Scope = "root",
        variant: Variant = "literal",
        kappa: float = 0.25,
        eta: float = 1.0,
        history: bool = False,
    ):
        self.surgeon, self.scope = surgeon, scope
        self.ema_decay, self.variant, self.kappa, self.eta = ema_decay, variant, kappa, eta
        self.history: list[Tensor] | None = [] if history else None
        self.reset()

    def reset(self) -> None:
        """Forget everything that was measured."""
        self._bind()
        size = len(self.surgeon.present) + len(self.surgeon.grouping)
        self.steps = 0
        self.alpha = 1.0
        self.beta = torch.ones(size, dtype=torch.float64)  # of single precision, small energies would be lost beside 1
        self._ema = torch.zeros(len(STATISTICS), size)  # channels first, then groups: one operation smooths both
        if self.history is not None:
            self.history.clear()

    def _bind(self) -> None:
        self._sums = ChannelSums(self.surgeon, self.scope)
        self._means = group_means(self.surgeon).T.contiguous()  # [W, G]
        self._per_entry = torch.ones(4, self._sums.width)
        self._per_entry[:2] /= self._sums.counts  # measures are means over parameters, criteria are sums
        self._pending: list[Tensor] = []
        self._reach: WeakKeyDictionary[torch.optim.Optimizer, list[bool]] = WeakKeyDictionary()

    # ------------------------------------------------------------------ reading
    def groups(self) -> Tensor:
        """Smoothed importance of every group, [3, G]: gradient, Fisher, Bayes."""
        return self._ema[: len(MEASURES), self._sums.width :].clone()

    def channel(self, statistic: str) -> Tensor:
        """One smoothed statistic (of `STATISTICS`) of every present channel, [W]."""
        return self._ema[STATISTICS.index(statistic), : self._sums.width].clone()

    # ------------------------------------------------------------------ observing
    def after_backward(self, optimizer: torch.optim.Optimizer) -> None:
        """Reduce the gradients that this optimizer is about to use to sums over channels."""
        parameters = self._sums.parameters
        if optimizer not in self._reach:
            owned = {id(p) for settings in optimizer.param_groups for p in settings["params"]}
            self._reach[optimizer] = [id(p) in owned for p in parameters]
        with torch.no_grad():
            gradients = [
                p.grad if mine and p.grad is not None else torch.zeros_like(p)
                for p, mine in zip(parameters, self._reach[optimizer], strict=True)
            ]
            self._pending.append(self._sums.gradient_sums(gradients).mul_(self._per_entry))

    def after_step(self) -> None:
        """Fold the gradients of this iteration into the posterior and the moving averages."""
        if not self._pending:
            return
        channels = self._pending[0] if len(self._pending) == 1 else torch.stack(self._pending).sum(0)
        self._pending.clear()
        channels[2].abs_()
        now = torch.cat([channels, channels @ self._means], dim=1)  # [4, W + G]
        gradient, fisher, taylor, fisher_weight = now
        self.alpha, self.beta = gamma_update(self.alpha, self.beta, gradient, self.kappa, self.eta)
        bayes = bayes_importance(self.alpha, self.beta, fisher, self.variant).to(fisher.dtype)
        decay = self.ema_decay if self.steps else 0.0
        self._ema.lerp_(torch.stack([gradient, fisher, bayes, taylor, fisher_weight]), 1.0 - decay)
        self.steps += 1
        if self.history is not None:
            self.history.append(self.groups())

    def after_surgery(self, keep: Tensor) -> None:
        """Keep what was measured of groups and of the channels that stay; `keep` (bool [W]) is what the surgeon got."""
        stays = torch.cat([keep, torch.ones(len(self.surgeon.grouping), dtype=torch.bool)])
        self._ema, self.beta = self._ema[:, stays], self.beta[stays]
        self._bind()

    # ------------------------------------------------------------------ remembering
    def state_dict(self) -> dict[str, Tensor]:
        """What was measured, as tensors."""
        return {
            "steps": torch.tensor(self.steps),
            "alpha": torch.tensor(self.alpha, dtype=torch.float64),
            "beta": self.beta.clone(),
            "ema": self._ema.clone(),
        }

    def load_state_dict(self, state: dict[str, Tensor]) -> None:
        """Put back what `state_dict` returned, for a model with the same present channels."""
        self._bind()
        self.steps, self.alpha = int(state["steps"]), float(state["alpha"])
        self.beta, self._ema = state["beta"].double().clone(), state["ema"].clone()
