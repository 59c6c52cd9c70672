"""TQC's policy over groups; a file of its own, since sb3-contrib is an extra."""

from sb3_contrib.tqc.policies import TQCPolicy

from prune_env.agents.policies import GroupSACParts


class GroupTQCPolicy(GroupSACParts, TQCPolicy):  # type: ignore[misc]  # sb3-contrib copies SB3's classes
    """A truncated quantile critic over groups."""
