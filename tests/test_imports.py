"""The house: imports run downward only."""

import ast
from pathlib import Path

ROOT = Path(__file__).parent.parent
# From the ground up; a module may import from its own layer and from those below.
LAYERS = [
    ["prune_env.parallel", "prune_env.provenance"],
    ["prune_env.targets"],
    ["prune_env.groups"],
    ["prune_env.importance"],
    ["prune_env.training", "prune_env.repair"],
    ["prune_env.envs"],
    ["prune_env"],
    ["prune_env.benchmark", "prune_env.testing"],
    ["prune_env.papers"],
    ["agents", "baselines"],
    ["prune_env.cli"],
]


def layer_of(module):
    matches = [
        (len(name), i) for i, names in enumerate(LAYERS) for name in names if (module + ".").startswith(name + ".")
    ]
    return max(matches)[1] if matches else None


def imports_of(path):
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path}: relative import"
            yield node.module


def test_imports_run_downward():
    wrong = []
    for package in ("prune_env", "agents", "baselines"):
        for path in sorted((ROOT / package).rglob("*.py")):
            module = ".".join(path.relative_to(ROOT).with_suffix("").parts).removesuffix(".__init__")
            for imported in imports_of(path):
                below = layer_of(imported)
                if below is not None and below > layer_of(module):
                    wrong.append(f"{module} imports {imported}")
    assert not wrong, "\n".join(wrong)


def test_agents_and_baselines_do_not_know_each_other():
    for package, other in (("agents", "baselines"), ("baselines", "agents")):
        for path in (ROOT / package).rglob("*.py"):
            assert not any(name.partition(".")[0] == other for name in imports_of(path)), path
