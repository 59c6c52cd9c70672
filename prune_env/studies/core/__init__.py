"""What all studies share: jobs, rows, claims, networks to cut, statistics over seeds, and pages."""

from prune_env.benchmark.intervals import Interval
from prune_env.markup import markdown_table
from prune_env.studies.core.correlation import CHANCE, permutation_p, rank_correlation
from prune_env.studies.core.harness import AFTER_CUT, AFTER_TUNING, DIGITS, MNIST, PENDULUM, dense_networks, depends_on
from prune_env.studies.core.intervals import (
    above,
    all_of,
    below,
    entry,
    format_interval,
    over_seeds,
    over_settings,
    unanimous,
)
from prune_env.studies.core.rows import unique
from prune_env.studies.core.study import Claim, Job, Row, Rows, Study, Verdict

__all__ = [
    "AFTER_CUT",
    "AFTER_TUNING",
    "CHANCE",
    "DIGITS",
    "MNIST",
    "PENDULUM",
    "Claim",
    "Interval",
    "Job",
    "Row",
    "Rows",
    "Study",
    "Verdict",
    "above",
    "all_of",
    "below",
    "dense_networks",
    "depends_on",
    "entry",
    "format_interval",
    "markdown_table",
    "over_seeds",
    "over_settings",
    "permutation_p",
    "rank_correlation",
    "unanimous",
    "unique",
]
