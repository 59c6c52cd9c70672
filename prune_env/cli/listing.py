"""`prune-env list`: everything that has a name, from the open sets themselves."""

from __future__ import annotations

import inspect
import re
from collections.abc import Callable, Mapping
from functools import partial
from typing import Any

import tyro
from rich.table import Table

from prune_env.cli.shared import add_row, console, new_table
from prune_env.envs import COSTS, ENVIRONMENTS, MEASURED_COSTS, OBJECTIVES, SCHEDULES
from prune_env.fine_tuning import FINE_TUNINGS
from prune_env.gates import GATES
from prune_env.importance import CRITERIA, MEASURES
from prune_env.importance.criteria import Tracked
from prune_env.open_sets import find
from prune_env.parallel import ENGINES
from prune_env.repair import REPAIRS, Repair
from prune_env.targets import known_targets


def _policies() -> Mapping[str, Any]:
    from prune_env.benchmark import known_policies

    return known_policies()


def _algorithms() -> Mapping[str, Any]:
    from prune_env.agents.settings import ALGORITHMS

    return ALGORITHMS


def _trackers() -> Mapping[str, Any]:
    from prune_env.agents.trackers import TRACKERS

    return TRACKERS


def _allocations() -> Mapping[str, Any]:
    from prune_env.baselines import ALLOCATIONS

    return ALLOCATIONS


def _studies() -> Mapping[str, Any]:
    from prune_env.studies.catalogue import STUDIES

    return STUDIES


SETS: dict[str, Callable[[], Mapping[str, Any]]] = {
    "environments": lambda: ENVIRONMENTS,
    "targets": known_targets,
    "policies": _policies,
    "algorithms": _algorithms,
    "trackers": _trackers,
    "measures": lambda: MEASURES,
    "criteria": lambda: CRITERIA,
    "repairs": lambda: REPAIRS,
    "gates": lambda: GATES,
    "fine-tunings": lambda: FINE_TUNINGS,
    "schedules": lambda: SCHEDULES,
    "costs": lambda: COSTS | MEASURED_COSTS,
    "objectives": lambda: OBJECTIVES,
    "allocations": _allocations,
    "engines": lambda: ENGINES,
    "studies": _studies,
}
"""Name -> the open set."""


def list_names(sets: tyro.conf.Positional[tuple[str, ...]] = ()) -> None:
    """Show what there is: environments, targets, policies with their options, and every other open set.

    Args:
        sets: Only these sets, with a line for each entry.
    """
    for name in sets:
        find("set", name, SETS)
    if not sets:
        table = Table("set", show_lines=True)
        table.add_column("names", overflow="fold")
        for name, entries in SETS.items():
            add_row(table, name, ", ".join(title for title, _ in _lines(name, entries())))
        console.print(table)
    for name in sets:
        table = new_table(name, "what it is")
        for title, line in _lines(name, SETS[name]()):
            add_row(table, title, line)
        console.print(table)


def _lines(kind: str, entries: Mapping[str, Any]) -> list[tuple[str, str]]:
    """Name of every entry, with the options that a policy or objective takes, and what it is in a line."""
    takes_options = kind in ("policies", "objectives")
    return [
        (f"{name}{_options(entry, kind == 'policies') if takes_options else ''}", _describe(kind, entry))
        for name, entry in entries.items()
    ]


def _options(factory: Callable[..., Any], made_for_env: bool) -> str:
    """`:option=default,...` of a factory; the first argument of a policy is the environment."""
    parameters = list(inspect.signature(factory).parameters.values())[1 if made_for_env else 0 :]
    named = [p for p in parameters if p.kind in (p.POSITIONAL_OR_KEYWORD, p.KEYWORD_ONLY)]
    return ":" + ",".join(f"{p.name}={_short(p.default)}" for p in named) if named else ""


def _short(value: Any) -> str:
    if value is inspect.Parameter.empty:
        return "..."
    return str(list(value) if isinstance(value, tuple) else value).replace(" ", "")


def _describe(kind: str, entry: Any) -> str:
    if kind == "environments":
        return ", ".join(f"{name}={value}" for name, value in entry.items()) or "any target: -s target=NAME"
    if kind == "engines":
        return "processes of this machine" if entry is ENGINES["local"] else "a cluster: --engine dask://HOST:PORT"
    if kind == "algorithms":
        if isinstance(entry, type):
            return f"{entry.__name__} of {entry.__module__.partition('.')[0]}"
        package, _, title = entry.rpartition(".")
        return f"{title} of {package} (extra: contrib)"
    if kind == "studies":
        return str(entry.title)
    if kind == "measures":
        return f"{entry.label}: {entry.meaning}"
    if type(entry) is Repair:
        return "Nothing is repaired."
    if isinstance(entry, Tracked):
        return f"{MEASURES[entry.measures[0]].meaning} of each channel, smoothed over training steps."
    if isinstance(entry, partial):
        fixed = ", ".join(f"{name}={value}" for name, value in entry.keywords.items())
        return f"{_first_sentence(entry.func)} With {fixed}."
    return _first_sentence(entry)


def _first_sentence(entry: Any) -> str:
    documented = entry if inspect.isclass(entry) or inspect.isroutine(entry) else type(entry)
    text = " ".join((inspect.getdoc(documented) or "").partition("\n\n")[0].split())
    return re.split(r"(?<=[.;])\s(?=[A-Z])", text, maxsplit=1)[0]
