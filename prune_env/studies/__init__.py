"""Reproduction of arXiv 2601.19794 and 2504.13296: each table, figure and claim is one study."""

from prune_env.studies.core.study import Claim, Job, Row, Rows, Study, Verdict
from prune_env.studies.reproduce import reproduce, rewrite

__all__ = ["Claim", "Job", "Row", "Rows", "Study", "Verdict", "reproduce", "rewrite"]
