"""Prove every group by values before anything is cut: which groups are tried together, and which one is to blame.

Every group is permuted and really cut on a randomised copy: to random widths, to halves, down to its least width and
by a single channel, in evaluation and in training mode (see `trials`, `reference`). All groups are tried together, and
then in rounds such that of any two groups one is cut while the other is not: no two mistakes can cover for each other.
Only if a round fails are groups tried one by one, first those that the mismatch points at. So G groups cost about
log2(G) rounds.

Letters: G groups.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator, Sequence
from dataclasses import dataclass, field
from itertools import combinations, islice
from math import comb

from torch import nn

from prune_env.groups.subject import Subject
from prune_env.groups.tracing.modes import both_modes
from prune_env.groups.tracing.propagation import Trace
from prune_env.groups.tracing.randomize import randomize, undisturbed
from prune_env.groups.tracing.replica import replicate, unchanged
from prune_env.groups.trials import DryCut, InfiniteError, Permutation, Width
from prune_env.groups.types import Group, Grouping

_DRAWS = 5
_WIDTHS: tuple[Width, ...] = ("random", "half", "least", "most")

Names = list[str]
Trial = Callable[[Names], str | None]


@dataclass
class Findings:
    """What the proofs have shown.

    Attributes:
        failed: Why a group must be locked, by its name; those that passed are not in it.
        least: Channels that a group must keep for values to stay finite, by its name; those that may keep one are not
            in it.
    """

    failed: dict[str, str] = field(default_factory=dict)
    least: dict[str, int] = field(default_factory=dict)


def verify(model: nn.Module, trace: Trace, grouping: Grouping) -> dict[str, str]:
    """Prove the prunable groups of a grouping, wherever it comes from, on a dense network, which is left as it was.

    Returns:
        Why a group must not be cut, by its name; groups that pass are not in it.
    """
    with undisturbed(), unchanged(model):
        replica, run = replicate(model, trace)
        return prove(replica, both_modes(replica, run), grouping.groups).failed


def prove(model: nn.Module, trace: Trace, groups: Sequence[Group]) -> Findings:
    """Try all groups.

    Args:
        model: The dense network; copies of it are tried.
        trace: Its trace, in all modes that are to be proved.
        groups: The groups to be proved.
    """
    findings, silent = Findings(), {g.name: "" for g in groups}
    for seed in range(_DRAWS):  # a unit that happens to be dead for one draw of the weights lives for another
        replica, run = replicate(model, trace)
        subject = Subject(randomize(replica.eval(), run, seed), groups)
        now = subject.unmeasured()
        if silent.keys() - now.keys():
            _prove(subject, findings)
        silent = {name: now[name] for name in silent.keys() & now.keys()}
        if not silent or subject.measures_nothing:
            break
    findings.failed |= silent
    findings.least = {name: n for name, n in findings.least.items() if n > 1 and name not in findings.failed}
    return findings


def _prove(subject: Subject, findings: Findings) -> None:
    names = [g.name for g in subject.groups]
    cut = DryCut(subject)
    cut.least.update(findings.least)
    for number, widths in enumerate(_plan(names)):
        _cut_round(cut, widths, number, findings.failed)
    findings.least.update(cut.least)
    permutation = Permutation(subject)
    for number, subset in enumerate([names, *([names[i] for i in subset] for subset in rounds(len(names)))]):
        _permute_round(permutation, subset, number, findings.failed)


def rounds(count: int) -> list[list[int]]:
    """Subsets of `count` things such that of any two each is once in a subset without the other.

    Each thing is in half of the subsets, and no two are in the same: r subsets are enough for (r over r / 2) things.
    """
    size = next(r for r in range(1, count + 2) if comb(r, r // 2) >= count)
    codes = list(islice(combinations(range(size), size // 2), count))
    subsets = [[i for i, code in enumerate(codes) if r in code] for r in range(size)]
    return [subset for subset in subsets if subset]


def _plan(names: Names) -> Iterator[dict[str, Width]]:
    """How far which groups are cut in each round."""
    for width in _WIDTHS:
        yield dict.fromkeys(names, width)
    for number, subset in enumerate(rounds(len(names))):
        yield {names[i]: _WIDTHS[(number + i) % len(_WIDTHS)] for i in subset}


def _cut_round(cut: DryCut, widths: dict[str, Width], number: int, failed: dict[str, str]) -> None:
    """Cut until what is left passes; `failed` grows by what does not."""
    thorough = number < len(_WIDTHS)

    def trial(names: Names) -> str | None:
        try:
            return cut({name: widths[name] for name in names}, number, thorough)
        except InfiniteError as error:
            return f"a dry cut goes wrong: {error}"

    while names := [name for name in widths if name not in failed]:
        try:
            reason = cut({name: widths[name] for name in names}, number, thorough)
        except InfiniteError as error:
            near = cut.suspects & set(names) or set(_minimal(names, lambda some: trial(some) is not None))
            failed.update(dict.fromkeys(cut.widen(near), f"a dry cut goes wrong: {error}"))
            continue
        if reason is None:
            return
        failed.update(_culprits(names, cut.suspects & set(names), reason, trial))


def _permute_round(permutation: Permutation, subset: Names, number: int, failed: dict[str, str]) -> None:
    """Permute until what is left passes; `failed` grows by what does not."""
    while names := [name for name in subset if name not in failed]:
        reason = permutation(names, number)
        if reason is None:
            return
        failed.update(_culprits(names, (), reason, lambda some: permutation(some, number)))


def _culprits(names: Names, suspects: Collection[str], reason: str, trial: Trial) -> dict[str, str]:
    """Which groups make a trial fail, and why: suspects that fail alone, or the first of the fewest that fail together.

    Without it the others may pass; if not, the next call finds more.
    """
    if alone := {name: why for name in names if name in suspects and (why := trial([name]))}:
        return alone
    fewest = sorted(_minimal(names, lambda some: trial(some) is not None), key=names.index)
    if len(fewest) == 1 and (why := trial(fewest)):
        return {fewest[0]: why}
    others = ", ".join(fewest[1:4])
    return {fewest[0]: f"together with {others} {reason}"}


def _minimal(names: Names, fails: Callable[[Names], bool]) -> Names:
    """Few names that fail together, given that all do; found by bisection."""
    found: Names = []
    rest = names
    while rest and not (found and fails(found)):
        low, high = 1, len(rest)  # the least number of the rest that fails together with what is found
        while low < high:
            middle = (low + high) // 2
            low, high = (low, middle) if fails(found + rest[:middle]) else (middle + 1, high)
        found.append(rest[low - 1])
        rest = rest[: low - 1]
    return found
