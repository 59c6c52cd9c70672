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
ROWS = [line for line in PAGE.splitlines() if re.match(r"\| (?!method|---)", line)]


@pytest.mark.parametrize("kind", SETS)
def test_every_entry_has_a_line_and_every_line_an_entry(kind):
    named = set(re.findall(rf"\b{kind} `([\w-]+)`", "\n".join(ROWS)))
    assert named == set(SETS[kind])


def test_every_line_names_a_test_that_exists():
    assert len(ROWS) > 60
    for row in ROWS:
        cells = [cell.strip() for cell in row.strip("|").split(" | ")]
        assert len(cells) == 4 and all(cells), row
        assert (ROOT / cells[-1].strip("` |")).is_file(), row
