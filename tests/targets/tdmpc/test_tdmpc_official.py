"""The table of constants in docs/targets.md, which says how this TD-MPC differs from the official one, is true."""

from pathlib import Path

import pytest

from prune_env.targets import TDMPC

DOCS = Path(__file__).parents[3] / "docs" / "targets.md"
COLUMNS = {
    "pendulum, state": {"task": "pendulum"},
    "pendulum, pixels": {"task": "pendulum", "obs": "pixels"},
    "cartpole, state": {"task": "cartpole-swingup"},
    "cartpole, pixels": {"task": "cartpole-swingup", "obs": "pixels"},
    "cartpole, pixels, `sizes=paper`": {"task": "cartpole-swingup", "obs": "pixels", "sizes": "paper"},
}


def table():
    """Constant -> column -> cell."""
    lines = [line for line in DOCS.read_text().splitlines() if line.startswith("|")]
    start = next(i for i, line in enumerate(lines) if line.startswith("| constant |"))
    rows = [[cell.strip() for cell in line.strip("|").split("|")] for line in lines[start:]]
    rows = [row for row in rows if len(row) == len(rows[0])]
    return {row[0]: dict(zip(rows[0][1:], row[1:], strict=True)) for row in rows[2:]}


def constants(options):
    """What the code has for each row."""
    if options["task"] != "pendulum":
        pytest.importorskip("dm_control")
    target = TDMPC(**options)
    recipe, planner = target.recipe, target.planner
    steps = recipe.episodes_per_epoch * target.task.episode_length
    pixels, names = bool(recipe.image), ("width", "latent_dim", "action_repeat", "horizon", "batch_size")
    more = ("learning_rate", "discount", "tau", "td_encoder", "explore_for", "first_episodes", "replay_episodes")
    return {
        **{name: str(getattr(recipe, name)) for name in names + more},
        **{name: str(getattr(planner, name)) for name in ("samples", "iterations", "elites", "proposals")},
        "encoder_width": "-" if pixels else str(recipe.encoder_width),
        "image": f"{recipe.image} in {'gray' if recipe.gray else 'color'}" if pixels else "-",
        "kernels": ", ".join(map(str, recipe.kernels)) if pixels else "-",
        "filters": str(recipe.filters) if pixels else "-",
        "shift": str(recipe.shift) if pixels else "-",
        "horizon of plans": str(planner.horizon),
        "updates per step": f"{recipe.steps_per_epoch / steps:g}",
        "bfloat16": "yes" if recipe.bfloat16 else "no",
    }


@pytest.mark.parametrize("column", COLUMNS)
def test_the_documented_constants_are_those_of_the_code(column):
    found = {constant: cells[column] for constant, cells in table().items()}
    assert found == constants(COLUMNS[column])
