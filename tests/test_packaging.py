"""What a user installs: a wheel that brings `prune_env` alone at top level, complete, quick to import."""

import os
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
FOREIGN = ("agents", "baselines")
SMALL = ("dense_steps=300", "latent_dim=4")


def run(*command, cwd, **env):
    """Run a command far from the sources; the error holds what it printed."""
    done = subprocess.run(command, cwd=cwd, env=os.environ | env, capture_output=True, text=True)
    assert done.returncode == 0, f"{command}\n{done.stdout}\n{done.stderr}"
    return done.stdout


@pytest.fixture(scope="module")
def wheel(tmp_path_factory):
    """Built from the source distribution, as on PyPI."""
    out = tmp_path_factory.mktemp("dist")
    run(sys.executable, "-m", "build", "--no-isolation", "--outdir", str(out), str(ROOT), cwd=out)
    return next(out.glob("*.whl"))


@pytest.fixture(scope="module")
def installed(wheel, tmp_path_factory):
    """The wheel in a folder of its own, where packages of other projects have the names `agents` and `baselines`."""
    folder = tmp_path_factory.mktemp("site")
    for name in FOREIGN:
        (folder / name).mkdir()
        (folder / name / "__init__.py").write_text(f"OWNER = 'the other {name}'\n")
    run(
        *(sys.executable, "-m", "pip", "install", "--quiet", "--no-deps", "--no-index", "--target", str(folder)),
        str(wheel),
        cwd=folder,
    )
    return folder


def test_the_wheel_holds_one_package_with_all_its_files(wheel):
    names = zipfile.ZipFile(wheel).namelist()
    assert {name.partition("/")[0] for name in names if ".dist-info/" not in name} == {"prune_env"}
    sources = {
        path.relative_to(ROOT / root).as_posix()
        for root, packages in ((".", ["prune_env"]), (".", FOREIGN))
        for package in packages
        for path in (ROOT / package).rglob("*")
        if path.is_file() and "__pycache__" not in path.parts
    }
    expected = {name if name.startswith("prune_env/") else f"prune_env/{name}" for name in sources}
    assert expected == {name for name in names if ".dist-info/" not in name}
    assert "prune_env/py.typed" in names


def test_foreign_packages_keep_their_names_while_ours_train_and_compete(installed, tmp_path):
    env = {"PYTHONPATH": str(installed), "PRUNE_ENV_CACHE": str(tmp_path / "cache")}
    python = (sys.executable, "-c")
    said = run(*python, "import agents, baselines; print(agents.OWNER, baselines.OWNER)", cwd=tmp_path, **env)
    assert said.strip() == "the other agents the other baselines"
    said = run(*python, "import prune_env.agents as ours; print(ours.__file__)", cwd=tmp_path, **env)
    assert Path(said.strip()).is_relative_to(installed)
    prune_env = (sys.executable, "-c", "from prune_env.cli import main; main()")
    small = ("-s", *SMALL)
    run(*prune_env, "train", "ppo", "--timesteps", "32", "--pool", "1", "--n-envs", "1", *small, cwd=tmp_path, **env)
    agent = "runs/ppo/model.zip"
    run(
        *(*prune_env, "bench", "--policies", "uniform", agent, "--networks", "1", "--budgets", "0.5", "--jobs", "1"),
        *(*small, "--out", "runs/bench"),
        cwd=tmp_path,
        **env,
    )
    assert (tmp_path / "runs" / "bench" / "records.jsonl").read_text().count("\n") == 2


def test_importing_the_package_leaves_slow_libraries_alone():
    slow = (
        "matplotlib",
        "scipy.stats",
        "pooch",
        "sklearn",
        "stable_baselines3",
        "torch_pruning",
        "torch.utils.tensorboard",
    )
    code = f"import sys, prune_env; print([name for name in {slow} if name in sys.modules])"
    assert run(sys.executable, "-c", code, cwd=ROOT).strip() == "[]"
