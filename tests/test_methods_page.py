"""The page of methods: every entry and test that it names exists, and every entry that exists has a line."""

import re
from pathlib import Path

import pytest

from prune_env.baselines import ALLOCATIONS
from prune_env.baselines.catalogue import POLICIES
from prune_env.envs import COSTS, MEASURED_COSTS, OBJECTIVES, SCHEDULES
from prune_env.fine_tuning import FINE_TUNINGS
from prune_env.importance import CRITERIA
from prune_env.repair import REPAIRS

ROOT = Path(__file__).parent.parent
PAGE = (ROOT / "docs/methods.md").read_text()
SETS = {
    "criterion": CRITERIA,
    "policy": POLICIES,
    "allocation": ALLOCATIONS,
    "repair": REPAIRS,
    "fine_tuning": FINE_TUNINGS,
    "schedule": SCHEDULES,
    "objective": OBJECTIVES,
    "budget_unit": COSTS | MEASURED_COSTS,
}
GATES = "gates-"  # policies of a package of their own
ROWS = [line for line in PAGE.splitlines() if re.match(r"\| (?!method|---)", line)]


@pytest.mark.parametrize("kind", SETS)
def test_every_entry_has_a_line_and_every_line_an_entry(kind):
    named = set(re.findall(rf"\b{kind} `([\w-]+)`", "\n".join(ROWS)))
    assert {name for name in named if not name.startswith(GATES)} == {n for n in SETS[kind] if not n.startswith(GATES)}
    assert {name for name in SETS[kind] if name.startswith(GATES)} <= named


def test_every_line_names_a_test_that_exists():
    assert len(ROWS) > 60
    for row in ROWS:
        cells = [cell.strip() for cell in row.strip("|").split(" | ")]
        assert len(cells) == 4 and all(cells), row
        if GATES in row and not (ROOT / "prune_env/gates").is_dir():
            continue
        assert (ROOT / cells[-1].strip("` |")).is_file(), row
