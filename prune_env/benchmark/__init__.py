"""Benchmark policies: rollouts, records, statistics with intervals, leaderboard, report."""

from prune_env.benchmark.agent_training import AgentTraining
from prune_env.benchmark.compare import BUDGETS, compare
from prune_env.benchmark.leaderboard import Leaderboard, rank_policies
from prune_env.benchmark.policies import Policy, known_policies, make_policy, register_policy
from prune_env.benchmark.records import Records
from prune_env.benchmark.report import print_report, write_report
from prune_env.benchmark.result import Failure, Result
from prune_env.benchmark.run import Run

__all__ = [
    "BUDGETS",
    "AgentTraining",
    "Failure",
    "Leaderboard",
    "Policy",
    "Records",
    "Result",
    "Run",
    "compare",
    "known_policies",
    "make_policy",
    "print_report",
    "rank_policies",
    "register_policy",
    "write_report",
]
