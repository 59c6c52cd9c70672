"""Prune your own network with one call, and take the smaller one home."""

from prune_env.api.one_call import BEST, prune
from prune_env.api.report import GroupReport, Report, Scores, Trial
from prune_env.api.result import Pruned
from prune_env.api.subjects import FILE_TARGETS

__all__ = ["BEST", "FILE_TARGETS", "GroupReport", "Pruned", "Report", "Scores", "Trial", "prune"]
