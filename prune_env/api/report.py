"""What pruning did to a network, as plain data: what went and why, what it costs before and after, what was tried."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from typing import Any

from prune_env.export.latency import Latency


@dataclass(frozen=True)
class GroupReport:
    """One group of channels.

    Attributes:
        name: Of the group.
        kind: "component", "coupling" or "locked".
        components: Those that it lies in.
        before: Channels of the dense network.
        after: Channels that are left.
        reason: Why it is locked; empty if it is not.
    """

    name: str
    kind: str
    components: tuple[str, ...]
    before: int
    after: int
    reason: str = ""

    @property
    def kept(self) -> float:
        """Share of the channels that are left."""
        return self.after / self.before if self.before else 1.0


@dataclass(frozen=True)
class Scores:
    """Scores on one split; R = (score - floor) / (dense - floor), at least -1.

    Attributes:
        floor: Of a trivial solution: R = 0.
        dense: Of the dense network: R = 1.
        after: R of the pruned network.
        cut: R right after the cut and its repair, before fine-tuning; None where it is not known.
    """

    floor: float
    dense: float
    after: float
    cut: float | None = None

    def score(self, retained: float) -> float:
        """The score at a retained score."""
        return self.floor + retained * (self.dense - self.floor)


@dataclass(frozen=True)
class Trial:
    """One network that was tried: cut, repaired, fine-tuned and scored.

    Attributes:
        policy: What shared the cut out.
        budget: Sparsity that was asked for.
        sparsity: Sparsity that was reached, in the unit of the budget.
        retained: R on validation data.
        trial_cuts: Further networks that the policy itself tried.
        seconds: Time spent [s].
        kept: Whether R was high enough; True without `keep`.
    """

    policy: str
    budget: float
    sparsity: float
    retained: float
    trial_cuts: int
    seconds: float
    kept: bool = True


@dataclass
class Report:
    """What `prune` found and did.

    Attributes:
        name: What was pruned.
        policy: Whose cut was taken.
        unit: What the budget counts.
        budget: Sparsity that was asked for, or found by bisection.
        keep: Retained score that was asked for; None with a budget.
        groups: All groups, locked ones last.
        costs: Cost before and after, by name.
        size: Bytes of a safetensors file before and after.
        latency: Measured times.
        scores: Scores by split: "validation", and "test" where that differs.
        trials: All networks that were tried, in their order.
        seconds: Where the time went [s]: "total", of which "importance" is measured, "training" after cuts and
            "scoring" run the task itself, and "ours" is the rest; for a target by its name from its dense network on.
        notes: What the reader should know, in sentences.
    """

    name: str
    policy: str
    unit: str
    budget: float
    keep: float | None
    groups: list[GroupReport]
    costs: dict[str, tuple[float, float]]
    size: tuple[int, int]
    scores: dict[str, Scores]
    trials: list[Trial]
    seconds: dict[str, float]
    latency: list[Latency] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)

    @property
    def sparsity(self) -> float:
        """Share of the budget's unit that is gone."""
        before, after = self.costs[self.unit]
        return 1.0 - after / before

    @property
    def retained(self) -> float:
        """R on test data, or on validation data where there are no others."""
        return self.scores.get("test", self.scores["validation"]).after

    def asdict(self) -> dict[str, Any]:
        """The report as JSON; numbers that are not finite are null."""
        return _plain(asdict(self))

    def __str__(self) -> str:
        lines = [self.headline()]
        lines += [f"  {name}: {value}" for name, value in self.facts().items()]
        lines += [f"  {note}" for note in self.notes]
        widest = max((len(group.name) for group in self.groups), default=0)
        for group in self.groups:
            what = group.reason or f"{group.kept:.0%}"
            lines.append(f"  {group.name:{widest}}  {group.before:>5} -> {group.after:<5} {what}")
        return "\n".join(lines)

    def headline(self) -> str:
        """One sentence."""
        return f"{self.name}: {self.sparsity:.1%} of the {self.unit} removed by {self.policy}, R = {self.retained:.3f}"

    def facts(self) -> dict[str, str]:
        """What there is to know beside the groups, as words by name."""
        facts = {name: f"{before:,.6g} -> {after:,.6g}" for name, (before, after) in self.costs.items()}
        facts["file"] = f"{self.size[0]:,} -> {self.size[1]:,} bytes"
        for timing in self.latency:
            name = f"{timing.entry}, {timing.engine}, batch {timing.batch}"
            before, after = (1e3 * t.median for t in (timing.before, timing.after))
            facts[name] = f"{before:.3f} -> {after:.3f} ms (x{timing.speedup:.2f})"
        for split, s in self.scores.items():
            between = "" if s.cut is None else f", {s.score(s.cut):.4g} (R {s.cut:.3f}) before fine-tuning"
            facts[f"score on {split}"] = f"{s.dense:.4g} -> {s.score(s.after):.4g} (R {s.after:.3f}){between}"
        cuts = sum(1 + trial.trial_cuts for trial in self.trials)
        facts["tried"] = f"{cuts} cuts in {self.seconds['total']:.1f} s, of which {self.seconds['ours']:.1f} s are ours"
        return facts


def _plain(value: Any) -> Any:
    if isinstance(value, Mapping):
        return {str(k): _plain(v) for k, v in value.items()}
    if isinstance(value, (list, tuple)):
        return [_plain(v) for v in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value
