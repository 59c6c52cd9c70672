"""Policies x environments x seeds -> records -> statistics -> report."""

from prune_env.benchmark.compare import BUDGETS, compare
from prune_env.benchmark.policies import Policy, known_policies, make_policy, register_policy
from prune_env.benchmark.records import Failure, Records, Result
from prune_env.benchmark.report import print_report, write_report
from prune_env.benchmark.run import Run

__all__ = [
    "BUDGETS",
    "Failure",
    "Policy",
    "Records",
    "Result",
    "Run",
    "compare",
    "known_policies",
    "make_policy",
    "print_report",
    "register_policy",
    "write_report",
]
