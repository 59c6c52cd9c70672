"""The baselines by name: a plain dict, which one entry point announces to `prune_env.benchmark`."""

from __future__ import annotations

from collections.abc import Callable

from prune_env.baselines.ablated import Ablated
from prune_env.baselines.amc import AMC
from prune_env.baselines.criterion import CriterionImportance
from prune_env.baselines.depgraph import depgraph_global, depgraph_local
from prune_env.baselines.erk import ERK
from prune_env.baselines.evopress import EvoPress
from prune_env.baselines.gates import LEARNED_GATES
from prune_env.baselines.grid import GridSearch
from prune_env.baselines.halving import SuccessiveHalving
from prune_env.baselines.heuristics import HEURISTICS, Heuristic
from prune_env.baselines.knapsack import Knapsack
from prune_env.baselines.lamp import LAMP
from prune_env.baselines.netadapt import NetAdapt
from prune_env.baselines.optuna_search import NSGA2Search, TPESearch
from prune_env.baselines.privileged import Privileged
from prune_env.baselines.search import CMAESSearch, RandomSearch, Search
from prune_env.baselines.soft_coefficients import SoftGradient, SoftGrid
from prune_env.baselines.threshold import THRESHOLDS
from prune_env.baselines.trial import BestHeuristic

DEPGRAPH: dict[str, Callable[..., Privileged]] = {"depgraph-global": depgraph_global, "depgraph-local": depgraph_local}

ALLOCATORS: dict[str, Callable[..., Privileged]] = {
    "erk": ERK,
    "lamp": LAMP,
    "knapsack": Knapsack,
    "netadapt": NetAdapt,
    "soft-grid": SoftGrid,
    "soft-gradient": SoftGradient,
}
"""Name -> what shares out a budget by rules of its own."""

SEARCHES: dict[str, type[Search]] = {
    "random-search": RandomSearch,
    "grid": GridSearch,
    "cma-es": CMAESSearch,
    "tpe": TPESearch,
    "nsga2": NSGA2Search,
    "evopress": EvoPress,
    "halving": SuccessiveHalving,
}
"""Name -> search; each takes a start."""

LEARNED: dict[str, Callable[..., Privileged]] = {"amc": AMC}
"""Name -> what learns to prune one network by trials on it."""

POLICIES: dict[str, Callable[..., Heuristic | Privileged | Ablated]] = {
    **HEURISTICS,
    **THRESHOLDS,
    **ALLOCATORS,
    "criterion": CriterionImportance,
    **LEARNED_GATES,
    "best-heuristic": BestHeuristic,
    "ablated": Ablated,
    **SEARCHES,
    **LEARNED,
    **DEPGRAPH,
}
"""Name -> factory, called with the environment and with the options given after the name."""
