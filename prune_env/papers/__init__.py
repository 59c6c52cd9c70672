"""The papers arXiv 2601.19794 and 2504.13296, reproduced: each table, figure and claim is one study."""

from prune_env.papers.reproduce import reproduce
from prune_env.papers.study import Claim, Job, Row, Rows, Study, Verdict

__all__ = ["Claim", "Job", "Row", "Rows", "Study", "Verdict", "reproduce"]
