"""The studies by name, a plain dict."""

from __future__ import annotations

from prune_env.studies.component_aware.study import SparsityReward
from prune_env.studies.core.study import Study
from prune_env.studies.damage.study import Damage
from prune_env.studies.importance_shift.figures import FIGURES
from prune_env.studies.importance_shift.hypotheses import Hypotheses
from prune_env.studies.importance_shift.paper_size_run import PaperSizeRun
from prune_env.studies.importance_shift.table1 import Table1
from prune_env.studies.importance_shift.table2 import Table2
from prune_env.studies.workflows.study import Workflows

_ALL = (Table1(), Table2(), *FIGURES, PaperSizeRun(), Hypotheses(), Damage(), SparsityReward(), Workflows())
STUDIES: dict[str, Study] = {study.name: study for study in _ALL}


def select(names: tuple[str, ...] | list[str]) -> list[Study]:
    """The studies of these names, each once, in the order of `STUDIES`; "all" selects every one.

    Raises:
        ValueError: If a name is unknown, or none is given.
    """
    known = f"known studies: {', '.join(STUDIES)}, all"
    if not names:
        raise ValueError(f"name at least one study; {known}")
    if unknown := [name for name in names if name not in STUDIES and name != "all"]:
        raise ValueError(f"unknown study {unknown[0]!r}; {known}")
    return [study for name, study in STUDIES.items() if name in names or "all" in names]
