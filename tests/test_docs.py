"""README and docs: every Python block runs, every command parses, every link leads somewhere.

The Python blocks of a page are one program. A block after the comment `<!-- not run: REASON -->` is left out.
"""

import functools
import importlib
import re
import shlex
from pathlib import Path

import pytest
import tyro

from prune_env.agents import SEARCH_SPACES
from prune_env.baselines import ALLOCATIONS
from prune_env.benchmark import policies
from prune_env.cli import app
from prune_env.envs import COSTS, OBJECTIVES, SCHEDULES
from prune_env.importance import CRITERIA, MEASURES
from prune_env.repair import REPAIRS

ROOT = Path(__file__).parent.parent
OTHERS = ("papers/", "environments/", "changelog.md")  # written by programs, or included from elsewhere
PAGES = [
    ROOT / "README.md",
    ROOT / "CONTRIBUTING.md",
    *(
        path
        for path in sorted((ROOT / "docs").rglob("*.md"))
        if not path.relative_to(ROOT / "docs").as_posix().startswith(OTHERS)
    ),
]
# What is made smaller, since it would take minutes: text of a page -> what is run instead.
SMALLER = {
    "README.md": {
        "range(500)": "range(60)",
        "keep=0.95)   #": 'keep=0.5, steps=5, policy="uniform")   #',
        'v1", rounds=4': 'v1", rounds=4, dense_steps=300',
        "n_steps=64)": "n_steps=64, batch_size=32)",
        "10_000": "64",
        "networks=6": "networks=2",
        '{"rounds": 1}': '{"rounds": 1, "dense_steps": 300}',
    },
    "quickstart.md": {
        "rounds=2, budget=0.5": "rounds=2, budget=0.5, dense_steps=300",
        'v1", rounds=4': 'v1", rounds=4, dense_steps=300',
        "n_steps=64)": "n_steps=64, batch_size=32)",
        "10_000": "64",
        "networks=6": "networks=2",
        '{"rounds": 1}': '{"rounds": 1, "dense_steps": 300}',
    },
    "cluster.md": {
        "threads_per_worker=1": "threads_per_worker=1, processes=False, dashboard_address=None",
        "budgets=(0.5,)": 'budgets=(0.5,), env_options={"dense_steps": 300, "steps_per_round": 2}',
        "engine=Client(cluster))": "engine=(client := Client(cluster)))\nclient.close()\ncluster.close()",
    },
    "extend.md": {"rounds=2, budget=0.5": "rounds=2, budget=0.5, dense_steps=300"},
    "own-measure.md": {"rounds=1, budget=0.5": "rounds=1, budget=0.5, dense_steps=300"},
    "own-policy.md": {
        "rounds=1)": "rounds=1, dense_steps=300)",
        "networks=3": "networks=2",
        '{"rounds": 1}': '{"rounds": 1, "dense_steps": 300}',
    },
    "take-home.md": {"steps=50": "steps=5"},
    "own-classifier.md": {
        "range(12)": "range(3)",
        "keep=0.95, steps=100": 'keep=0.3, steps=5, policy="uniform"',
        ".after >= 0.95": ".after >= 0.3",
        'policy="fisher", ': 'policy="fisher", steps=5, ',
    },
    "own-agent.md": {
        "30_000": "4_096",
        "keep=0.95, progress": 'keep=0.3, steps=5, policy="uniform", options={"episodes": 3}, progress',
        "1_000": "512",
        'policy="fisher", progress': 'policy="fisher", steps=5, options={"episodes": 3}, progress',
        "rounds=2, budget=0.5": "rounds=2, budget=0.5, episodes=3",
    },
    "own-world-model.md": {"range(15)": "range(2)", "steps=60": "steps=5"},
    "train-and-tune.md": {
        '"pool": 4, ': '"pool": 1, "dense_steps": 300, ',
        "timesteps=512": "timesteps=64",
        '"n_envs": 1': '"n_envs": 1, "n_steps": 32, "batch_size": 32',
        '{"pool": 4}': '{"pool": 1, "dense_steps": 300}',
        "trials=3": 'trials=1, eval_every=32, eval_episodes=2, hyperparams={"n_steps": 32, "batch_size": 32}',
    },
}


def python_of(page):
    """The program that a page is, on a smaller setting."""
    text = re.sub(r"<!-- not run: .*? -->\n+```python\n.*?```", "", page.read_text(), flags=re.DOTALL)
    code = "\n".join(re.findall(r"```python\n(.*?)```", text, flags=re.DOTALL))
    for old, new in SMALLER.get(page.name, {}).items():
        assert old in code, f"{page.name} no longer says {old!r}"
        code = code.replace(old, new)
    return code


def commands_of(page):
    """The command lines of prune-env in a page, with continued lines joined."""
    blocks = re.findall(r"```(?:console|bash)\n(.*?)```", page.read_text(), flags=re.DOTALL)
    text = re.sub(r"\\\n>?\s*", "", "".join(blocks))
    return re.findall(r"^\$ (prune-env .*)$", text, flags=re.MULTILINE)


def titles(page):
    return page.relative_to(ROOT).as_posix()


@pytest.fixture
def registrations():
    """Open sets as they were, after a page has added to them."""
    sets = [MEASURES, CRITERIA, REPAIRS, SCHEDULES, COSTS, OBJECTIVES, ALLOCATIONS, SEARCH_SPACES, policies._REGISTERED]
    before = [dict(entries) for entries in sets]
    yield
    for entries, kept in zip(sets, before, strict=True):
        entries.clear()
        entries.update(kept)


@pytest.mark.parametrize("page", [page for page in PAGES if python_of(page)], ids=titles)
def test_python_runs(page, tmp_path, monkeypatch, registrations):
    module = "page_" + re.sub(r"\W", "_", titles(page))
    (tmp_path / f"{module}.py").write_text(python_of(page))
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(tmp_path)
    importlib.import_module(module)


def parser():
    """The command line with commands that do nothing."""
    idle = tyro.extras.SubcommandApp()
    for name, spec in app._subcommands.items():
        function = getattr(spec, "target", spec)
        idle.command(functools.wraps(function)(lambda *args, **kwargs: None), name=name)
    return idle


@pytest.mark.parametrize("page", [page for page in PAGES if commands_of(page)], ids=titles)
def test_commands_parse(page, capsys):
    for command in commands_of(page):
        arguments = shlex.split(command, comments=True)[1:]
        try:
            parser().cli(args=arguments, prog="prune-env", use_underscores=False)
        except SystemExit as ended:
            assert ended.code in (0, None), f"{command}\n{capsys.readouterr()}"


@pytest.mark.parametrize("page", PAGES, ids=titles)
def test_links_lead_somewhere(page):
    links = re.findall(r"\]\((?!https?:|#|mailto:)([^)#\s]+)", page.read_text())
    made = ("environments/",)  # by `make docs`
    missing = [link for link in links if not (page.parent / link).exists() and not any(part in link for part in made)]
    assert not missing, f"{titles(page)}: {missing}"


def test_the_tutorial_prints_what_check_target_says(tmp_path, monkeypatch, capsys):
    page = ROOT / "docs" / "tutorials" / "own-network.md"
    (said,) = re.findall(r"\n\n```\n(.*?)```", page.read_text(), flags=re.DOTALL)
    (tmp_path / "tutorial_said.py").write_text(python_of(page).replace("digit-classifier", "digit-classifier-again"))
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(tmp_path)
    importlib.import_module("tutorial_said")
    assert capsys.readouterr().out.startswith(said)


def test_the_readme_on_a_package_index_has_no_relative_links(tmp_path):
    from hatchling.metadata.core import ProjectMetadata
    from hatchling.plugin.manager import PluginManager

    text = ProjectMetadata(str(ROOT), PluginManager()).core.readme
    links = re.findall(r"\]\(([^)\s]+)\)", text)
    assert links and all(link.startswith(("https://", "#")) for link in links)
