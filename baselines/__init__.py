"""Heuristic competitors: plain ones that read the observation, privileged ones that see or try the network."""

from baselines.allocation import allocate, standardise, threshold_widths
from baselines.depgraph import DepGraph, depgraph_global, depgraph_local
from baselines.heuristics import (
    HEURISTICS,
    Bayes,
    CombinedProduct,
    CombinedSum,
    Fisher,
    Gradient,
    Heuristic,
    ImportanceHeuristic,
    L1Norm,
    L2Norm,
    NoPruning,
    Random,
    Uniform,
)
from baselines.privileged import Privileged
from baselines.search import CMAESSearch, RandomSearch, Search
from baselines.threshold import (
    GlobalThreshold,
    global_fisher,
    global_fisher_relative,
    global_l2,
    global_l2_relative,
)
from baselines.trial import BestHeuristic

__all__ = [
    "HEURISTICS",
    "Bayes",
    "BestHeuristic",
    "CMAESSearch",
    "CombinedProduct",
    "CombinedSum",
    "DepGraph",
    "Fisher",
    "GlobalThreshold",
    "Gradient",
    "Heuristic",
    "ImportanceHeuristic",
    "L1Norm",
    "L2Norm",
    "NoPruning",
    "Privileged",
    "Random",
    "RandomSearch",
    "Search",
    "Uniform",
    "allocate",
    "depgraph_global",
    "depgraph_local",
    "global_fisher",
    "global_fisher_relative",
    "global_l2",
    "global_l2_relative",
    "standardise",
    "threshold_widths",
]
