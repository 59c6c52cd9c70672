"""Orders of groups while a network learns: at which share of the epochs they hold, and verdicts by that share.

Letters: N seeds, E epochs, G groups.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from prune_env.studies.core.intervals import LEAST_SEEDS, all_of
from prune_env.studies.core.study import Row, Rows, Verdict
from prune_env.studies.importance_shift.ranks import Array, curves, networks

MOST, FEW = 0.9, 0.5
"""Shares of the epochs at which an order must hold, and below which it does not."""
SHARE_RULE = f"agrees if it holds at {MOST:.0%} of the epochs or more in every seed, disagrees below {FEW:.0%} in every"
_TINY = 1e-30


@dataclass(frozen=True)
class Followed:
    """Importance of the groups of one network by one measure, over all seeds.

    Attributes:
        setting: Name of the network.
        described: The row of kind "group" of every group, by name.
        logs: Logarithm of importance, [N, E, G].
    """

    setting: str
    described: Mapping[str, Row]
    logs: Array

    @property
    def groups(self) -> list[str]:
        """Names, in the order of the last axis."""
        return list(self.described)

    @property
    def coupling(self) -> list[str]:
        """The coupling groups."""
        return [name for name, row in self.described.items() if row["coupling"]]

    def component(self, *names: str) -> list[str]:
        """The component groups of some components."""
        return [g for g, row in self.described.items() if g.partition(".")[0] in names and not row["coupling"]]

    def select(self, names: Sequence[str]) -> Array:
        """Logarithms of some groups, [N, E, len(names)]."""
        return self.logs[:, :, [self.groups.index(name) for name in names]]

    def mean(self, names: Sequence[str]) -> Array:
        """Mean logarithm over some groups, [N, E]."""
        return np.asarray(self.select(names).mean(axis=2))

    def above(self, first: Sequence[str], second: Sequence[str]) -> NDArray[np.bool_]:
        """When the best of some groups is above the best of others, bool [N, E]."""
        return np.asarray(self.select(first).max(axis=2) > self.select(second).max(axis=2))


def followed(rows: Rows, measure: str) -> list[Followed]:
    """The networks of rows of trajectories, in order of appearance."""
    of_setting: dict[str, list[Rows]] = {}
    for (_, setting, _), found in networks(rows).items():
        of_setting.setdefault(setting, []).append(found)
    result = []
    for setting, seeds in of_setting.items():
        described = {str(row["group"]): row for row in seeds[0] if row["kind"] == "group"}
        values = np.stack([curves(found, measure)[2] for found in seeds])
        result.append(Followed(setting, described, np.log(np.maximum(values, _TINY))))
    return result


def by_share(shares: Mapping[str, Array], least: int = LEAST_SEEDS, most: float = MOST) -> Verdict:
    """Verdict on "this order holds in every network", by the share of the epochs at which it does.

    Args:
        shares: Of each network, [N].
        least: Fewer seeds decide nothing.
        most: Share at which it holds.
    """
    return all_of([_of_network(found, least, most) for found in shares.values()])


def _of_network(shares: Array, least: int, most: float) -> Verdict:
    if len(shares) < least:
        return "cannot be decided"
    if (shares >= most).all():
        return "agrees"
    return "disagrees" if (shares < min(most, FEW)).all() else "cannot be decided"


def shares_text(shares: Mapping[str, Array]) -> str:
    """The share of the epochs in each network, as a range if seeds differ: "latent 8: 98% to 100%"."""
    return "; ".join(f"{setting}: {_range(found)}" for setting, found in shares.items())


def _range(found: Array) -> str:
    ends = [f"{end:.0%}" for end in (found.min(), found.max())]
    return ends[0] if ends[0] == ends[1] else " to ".join(ends)
