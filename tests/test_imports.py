"""The layout: imports run downward only, file by file, and no two files import each other in a circle."""

import ast
from graphlib import CycleError, TopologicalSorter
from pathlib import Path

ROOT = Path(__file__).parent.parent
# From the ground up; a module may import from its own layer and from those below.
LAYERS = [
    [
        "prune_env.described",
        "prune_env.storage",
        "prune_env.parallel",
        "prune_env.provenance",
        "prune_env.user_code",
        "prune_env.validation",
        "prune_env.open_sets",
        "prune_env.isolation",
        "prune_env.markup",
    ],
    ["prune_env.groups", "prune_env.targets"],
    ["prune_env.importance"],
    ["prune_env.training", "prune_env.repair", "prune_env.gates"],
    ["prune_env.dense"],
    ["prune_env.export"],
    ["prune_env.fine_tuning"],
    ["prune_env.envs"],
    ["prune_env"],
    ["prune_env.benchmark", "prune_env.testing"],
    ["prune_env.api"],
    ["prune_env.baselines", "prune_env.agents"],
    ["prune_env.studies"],
    ["prune_env.cli"],
]


def files():
    """Every source file by its dotted name; `agents` and `baselines` lie beside the package and belong to it."""
    for folder, prefix in (("prune_env", ""), ("agents", "prune_env."), ("baselines", "prune_env.")):
        for path in sorted((ROOT / folder).rglob("*.py")):
            dotted = ".".join(path.relative_to(ROOT).with_suffix("").parts)
            yield prefix + dotted.removesuffix(".__init__"), path


def imports_of(path):
    """The modules that a file imports, also inside functions, as they are written."""
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path}: relative import"
            yield from (f"{node.module}.{alias.name}" for alias in node.names)
            yield node.module


def layer_of(module):
    matches = [
        (len(name), i) for i, names in enumerate(LAYERS) for name in names if (module + ".").startswith(name + ".")
    ]
    return max(matches)[1] if matches else None


def graph():
    """File -> the files that it imports."""
    known = dict(files())
    return {module: set(_files_among(imports_of(path), known)) - {module} for module, path in known.items()}


def _files_among(names, known):
    """`from package import file` is an import of the file, not of the package's __init__."""
    names = list(names)
    for name in names:
        inside = any(other.startswith(f"{name}.") and other in known for other in names)
        if name in known and not inside:
            yield name


def test_every_file_has_a_layer():
    assert [module for module, _ in files() if layer_of(module) is None] == []


def test_imports_run_downward():
    wrong = [
        f"{module} imports {name}"
        for module, imported in graph().items()
        for name in sorted(imported)
        if layer_of(name) > layer_of(module)
    ]
    assert not wrong, "\n".join(wrong)


def test_no_two_files_import_each_other_in_a_circle():
    try:
        tuple(TopologicalSorter(graph()).static_order())
    except CycleError as error:
        raise AssertionError(" -> ".join(error.args[1])) from None


def test_agents_and_baselines_do_not_know_each_other():
    packages = ("prune_env.agents", "prune_env.baselines")
    for module, imported in graph().items():
        for mine, other in (packages, packages[::-1]):
            if module.startswith(mine):
                assert not any(name.startswith(other) for name in imported), module
