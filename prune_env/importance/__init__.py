"""How much it matters: measures, their tracker, the cosine-L1 schedule, and channel criteria."""

from prune_env.importance.channels import ChannelSums, group_means
from prune_env.importance.criteria import CRITERIA, Criterion
from prune_env.importance.measures import MEASURES, bayes_importance, gamma_update
from prune_env.importance.regularizer import CosineL1, CosineSchedule
from prune_env.importance.tracker import STATISTICS, ImportanceTracker

__all__ = [
    "CRITERIA",
    "MEASURES",
    "STATISTICS",
    "ChannelSums",
    "CosineL1",
    "CosineSchedule",
    "Criterion",
    "ImportanceTracker",
    "bayes_importance",
    "gamma_update",
    "group_means",
]
