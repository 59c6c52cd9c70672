"""Baselines: plain heuristics read the observation; privileged policies see the network, or score trial cuts on it."""

from prune_env.baselines.allocation import ALLOCATIONS, allocate, register_allocation, standardise, threshold_widths
from prune_env.baselines.amc import AMC
from prune_env.baselines.amc_environment import GroupwiseEnv
from prune_env.baselines.catalogue import POLICIES, SEARCHES
from prune_env.baselines.criterion import CriterionImportance
from prune_env.baselines.depgraph import DepGraph, depgraph_global, depgraph_local
from prune_env.baselines.dynamic_programming import knapsack
from prune_env.baselines.erk import ERK, erk_density
from prune_env.baselines.evopress import EvoPress
from prune_env.baselines.gates import LEARNED_GATES, GateTraining
from prune_env.baselines.grid import GridSearch
from prune_env.baselines.halving import SuccessiveHalving
from prune_env.baselines.heuristics import (
    HEURISTICS,
    Bayes,
    CombinedProduct,
    CombinedSum,
    Fisher,
    Gradient,
    Heuristic,
    ImportanceHeuristic,
    ImportanceMeasure,
    L1Norm,
    L2Norm,
    NoPruning,
    Random,
    Uniform,
)
from prune_env.baselines.knapsack import Knapsack
from prune_env.baselines.lamp import LAMP, lamp_scores
from prune_env.baselines.netadapt import NetAdapt
from prune_env.baselines.optuna_search import FrontPoint, NSGA2Search, TPESearch, pareto_front
from prune_env.baselines.privileged import Privileged
from prune_env.baselines.search import CMAESSearch, RandomSearch, Search
from prune_env.baselines.sensitivity import Sensitivity, measure_sensitivity
from prune_env.baselines.sensitivity_files import write_sensitivity
from prune_env.baselines.soft_coefficients import SoftGradient, SoftGrid
from prune_env.baselines.threshold import THRESHOLDS, GlobalThreshold
from prune_env.baselines.trial import BestHeuristic
from prune_env.baselines.tuning import tune_heuristic

__all__ = [
    "ALLOCATIONS",
    "AMC",
    "ERK",
    "HEURISTICS",
    "LAMP",
    "LEARNED_GATES",
    "POLICIES",
    "SEARCHES",
    "THRESHOLDS",
    "Bayes",
    "BestHeuristic",
    "CMAESSearch",
    "CombinedProduct",
    "CombinedSum",
    "CriterionImportance",
    "DepGraph",
    "EvoPress",
    "Fisher",
    "FrontPoint",
    "GateTraining",
    "GlobalThreshold",
    "Gradient",
    "GridSearch",
    "GroupwiseEnv",
    "Heuristic",
    "ImportanceHeuristic",
    "ImportanceMeasure",
    "Knapsack",
    "L1Norm",
    "L2Norm",
    "NSGA2Search",
    "NetAdapt",
    "NoPruning",
    "Privileged",
    "Random",
    "RandomSearch",
    "Search",
    "Sensitivity",
    "SoftGradient",
    "SoftGrid",
    "SuccessiveHalving",
    "TPESearch",
    "Uniform",
    "allocate",
    "depgraph_global",
    "depgraph_local",
    "erk_density",
    "knapsack",
    "lamp_scores",
    "measure_sensitivity",
    "pareto_front",
    "register_allocation",
    "standardise",
    "threshold_widths",
    "tune_heuristic",
    "write_sensitivity",
]
