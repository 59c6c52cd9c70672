"""How important groups and channels are: measures, their tracker, cosine-L1 regularisation, and channel criteria."""

from prune_env.importance.channels import ChannelSums, group_means
from prune_env.importance.config import ImportanceConfig, RegularizerConfig
from prune_env.importance.criteria import CRITERIA, Criterion, CriterionContext, register_criterion
from prune_env.importance.measures import MEASURES, PAPER_MEASURES, STATISTICS, Measure, register_measure
from prune_env.importance.regularizer import CosineL1
from prune_env.importance.scales import ScaleL1
from prune_env.importance.tracker import ImportanceTracker

__all__ = [
    "CRITERIA",
    "MEASURES",
    "PAPER_MEASURES",
    "STATISTICS",
    "ChannelSums",
    "CosineL1",
    "Criterion",
    "CriterionContext",
    "ImportanceConfig",
    "ImportanceTracker",
    "Measure",
    "RegularizerConfig",
    "ScaleL1",
    "group_means",
    "register_criterion",
    "register_measure",
]
