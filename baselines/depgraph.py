"""Vanilla DepGraph (arXiv 2301.12900), privileged: torch-pruning's own pruner, which does not know components."""

from __future__ import annotations

import copy
import warnings
from collections.abc import Callable
from typing import Any, TypeVar

import numpy as np
import torch
import torch_pruning as tp
from torch import Tensor, nn

from prune_env.baselines.allocation import AMOUNT
from prune_env.baselines.privileged import Privileged
from prune_env.envs import NetworkView, PruningEnv

T = TypeVar("T")

_GRID = 16  # ratios tried from small to large, until one meets the budget
_REFINEMENTS = 6  # halvings of the interval before it


class DepGraph(Privileged):
    """Prune a copy with torch-pruning until the round's budget is met, and use the width of each group.

    Importance is torch-pruning's: the L2 norm of a channel over all layers of its group, divided by the group's mean.
    The result decides how many channels each group loses; the environment's criterion decides which, as for all
    policies. If no ratio meets the budget (torch-pruning skips a group rather than remove it, so that a larger ratio
    may remove less), the cheapest network is used, and the environment's projection does the rest.

    Args:
        env: As for `Privileged`.
        global_pruning: Whether to use one threshold over the channels of all groups instead of one ratio per group.
        amount: As for `Privileged`.
    """

    def __init__(self, env: PruningEnv, global_pruning: bool, amount: float = AMOUNT):
        super().__init__(env, amount)
        self._global_pruning = global_pruning

    def ratios(self, view: NetworkView) -> np.ndarray:
        """The ratios [G] of torch-pruning's result.

        Raises:
            RuntimeError: If torch-pruning fails on the network, or prunes channels outside the environment's groups.
        """
        return 1.0 - self._search(view, self.cost_target(view)) / view.widths

    def _search(self, view: NetworkView, target: float) -> np.ndarray:
        """Widths int [G] at the smallest ratio found that meets the target, else at the one that comes closest."""
        model = view.copy_model()
        outputs = _guarded(_output_layers, model, view)

        def at(ratio: float) -> tuple[float, np.ndarray]:
            widths = _guarded(self._widths_at, model, view, outputs, ratio)
            return float(view.cost_of(widths)), widths

        cheapest, best = np.inf, view.widths
        for i in range(1, _GRID):
            cost, widths = at(i / _GRID)
            if cost < cheapest:
                cheapest, best = cost, widths
            if cost <= target:
                break
        else:
            return best
        low, high = (i - 1) / _GRID, i / _GRID
        for _ in range(_REFINEMENTS):
            middle = (low + high) / 2
            cost, widths = at(middle)
            if cost <= target:
                high, best = middle, widths
            else:
                low = middle
        return best

    def _widths_at(self, model: nn.Module, view: NetworkView, outputs: list[str], ratio: float) -> np.ndarray:
        """Widths int [G] of a copy that torch-pruning has pruned by `ratio`."""
        clone = copy.deepcopy(model)
        pruner = tp.pruner.BasePruner(
            clone,
            torch.zeros(1),
            importance=tp.importance.GroupMagnitudeImportance(p=2),
            global_pruning=self._global_pruning,
            pruning_ratio=ratio,
            ignored_layers=[clone.get_submodule(name) for name in outputs],
            forward_fn=lambda m, _: view.trace(m),
            in_channel_groups={},  # the defaults are dictionaries that all pruners of a process share
            out_channel_groups={},
            num_heads={},
        )
        pruner.step()
        channels = [pruner.DG.get_out_channels(clone.get_submodule(root)) for root in view.roots]
        widths = np.array(channels, dtype=np.int64)
        if int(view.cost_of(widths, "parameters")) != view.count_cost(clone).parameters:
            raise ValueError("it prunes channels outside the environment's groups, or only a part of a group")
        return widths


def _guarded(function: Callable[..., T], *arguments: Any) -> T:
    """Call a function that uses torch-pruning, and raise any error of it as a RuntimeError with a reason."""
    try:
        with warnings.catch_warnings(), torch.enable_grad():
            warnings.simplefilter("ignore")
            return function(*arguments)
    except Exception as error:
        raise RuntimeError(
            f"torch-pruning cannot prune this network as the environment does: {type(error).__name__}: {error}"
        ) from error


def _output_layers(model: nn.Module, view: NetworkView) -> list[str]:
    """Names of the layers whose channels are outputs of the network, which no pruner may touch."""
    clone = copy.deepcopy(model)

    def forward(m: nn.Module, _: Any) -> list[Tensor]:
        # Adding zero makes the output an operation of its own, which torch-pruning then marks.
        return [output + 0 for output in tp.utils.flatten_as_list(view.trace(m))]

    graph = tp.DependencyGraph().build_dependency(clone, torch.zeros(1), forward_fn=forward, verbose=False)
    layers = {module: name for name, module in clone.named_modules()}
    found = []
    for group in graph.get_all_groups():
        targets = [dep.target.module for dep, _ in group if graph.is_out_channel_pruning_fn(dep.handler)]
        if any(isinstance(module, tp.ops._OutputOp) for module in targets):
            found += [layers[module] for module in targets if module in layers]
    return found


def depgraph_global(env: PruningEnv) -> DepGraph:
    """One threshold over the whole network."""
    return DepGraph(env, global_pruning=True)


def depgraph_local(env: PruningEnv) -> DepGraph:
    """The same ratio for every group."""
    return DepGraph(env, global_pruning=False)
