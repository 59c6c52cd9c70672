"""A run that is killed without warning goes on when the same command is given again, and ends as one that was not.

The harness kills each kind of run at random moments, again and again, in the files that the killed ones left behind.
"""

import json
import multiprocessing
import os
import signal
import subprocess
import sys
import time
from contextlib import suppress
from dataclasses import dataclass

import numpy as np
import optuna
import pytest
import torch
import torch.utils.tensorboard  # forked children then need not import it, which takes longer than a run
import yaml
from optuna.storages import JournalStorage
from optuna.storages.journal import JournalFileBackend
from optuna.trial import TrialState

from prune_env.agents import train_agent, tune_agent
from prune_env.agents.evaluations import read_evaluations
from prune_env.agents.saved import read_description
from prune_env.benchmark import Records, compare
from prune_env.dense import CheckpointSpec, loop
from prune_env.dense.pretrain import pretrain
from prune_env.studies import Claim, Job, Study, catalogue, reproduce
from prune_env.studies.core.harness import subject

pytestmark = pytest.mark.slow
QUICK = ["-s", "dense_steps=300", "steps_per_round=5"]
KILLS = 26  # of each kind of run, more than 100 in all


# ---------------------------------------------------------------------- the command line, killed once
def command(*arguments):
    return [sys.executable, "-m", "prune_env.cli", *map(str, arguments)]


def kill_when(arguments, reached, timeout=600):
    """Start a command and kill its whole process group as soon as `reached()`."""
    process = subprocess.Popen(
        command(*arguments), start_new_session=True, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
    )
    begun = time.time()
    try:
        while not reached():
            assert process.poll() is None, "the command ended before it could be killed"
            assert time.time() - begun < timeout
            time.sleep(0.02)
    finally:
        with suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        process.wait()


def test_benchmark(tmp_path):
    out = tmp_path / "bench"
    arguments = ["bench", "--policies", "uniform", "fisher", "l2", "--networks", 4, "--out", out, "--jobs", 2, *QUICK]
    records = out / "records.jsonl"
    kill_when(arguments, lambda: records.is_file() and records.read_bytes().count(b"\n") >= 10)
    before = records.read_bytes()
    assert before.count(b"\n") < 60
    subprocess.run(command(*arguments), check=True, capture_output=True)
    assert records.read_bytes().startswith(before)  # nothing that was recorded is run or written again
    lines = [line for line in records.read_text().splitlines() if line]
    keys = [tuple(json.loads(line)[k] for k in ("policy", "network", "budget", "seed")) for line in lines]
    assert len(keys) == len(set(keys)) == 3 * 4 * 5
    assert len(Records.read(out).results) == 60 and (out / "index.html").is_file()


def test_training(tmp_path):
    out = tmp_path / "ppo"
    arguments = ["train", "ppo", "--out", out, "--timesteps", 2048, "--pool", 2, "--n-envs", 2, *QUICK]
    kill_when(arguments, lambda: (out / "model.zip").is_file())
    saved = read_description(out / "model.zip")["made_by"]["timesteps"]
    assert 0 < saved < 2048
    subprocess.run(command(*arguments), check=True, capture_output=True)
    assert read_description(out / "model.zip")["made_by"]["timesteps"] == 2048
    assert read_evaluations(out / "evaluations.npz").timesteps.tolist() == [1024, 2048]


# ---------------------------------------------------------------------- the harness
NETWORK = {"width": 8, "dense_steps": 150}
TDMPC = {"width": 8, "latent_dim": 4, "encoder_width": 8, "batch_size": 8, "steps_per_epoch": 10, "eval_every": 10}


def bench(out):
    options = {"target": "simple", "steps_per_round": 5, "rounds": 2, **NETWORK}
    compare(
        ["uniform", "fisher", "random"], "PruneEnv/Pruning-v0", budgets=(0.3, 0.6), networks=3, out=out,
        env_options=options,
    )  # fmt: skip


def pretraining(out):
    specs = [(CheckpointSpec("tdmpc", TDMPC | {"dense_steps": 60}, seed), f"seed={seed}") for seed in range(3)]
    pretrain(specs, out)


def training(out):
    options = {"target": "simple", "steps_per_round": 2, "rounds": 1, "budget": [0.3, 0.6], "pool": 2, **NETWORK}
    small = {"n_steps": 8, "batch_size": 8, "n_epochs": 2}
    train_agent(
        "ppo", "PruneEnv/Pruning-v0", out, env_options=options, timesteps=96, n_envs=1, hyperparams=small,
        eval_every=8, eval_episodes=2, progress=False,
    )  # fmt: skip


def tuning(out, storage="{}/study.journal"):
    options = {"target": "simple", "steps_per_round": 2, "rounds": 1, "budget": [0.3, 0.6], "pool": 2, **NETWORK}
    small = {"n_steps": 8, "batch_size": 8, "n_epochs": 2}
    tune_agent(
        "ppo", "PruneEnv/Pruning-v0", out, env_options=options, trials=4, timesteps=24, n_envs=1, hyperparams=small,
        storage=storage.format(out), eval_every=8, eval_episodes=2, progress=False,
    )  # fmt: skip


def tuning_in_a_database(out):
    out.mkdir(parents=True, exist_ok=True)
    tuning(out, "sqlite:///{}/study.db")


def damage_of(seed):
    network = subject({"target": "simple", **NETWORK}, seed)
    return [
        {"seed": seed, "sparsity": sparsity, "retained": network.prune("fisher", sparsity, draw, steps=3).retained}
        for sparsity in (0.2, 0.4, 0.6)
        for draw in range(2)
    ]


class Damage(Study):
    name, title, seeds, quick_seeds = "kill", "Killed", tuple(range(6)), (0,)

    def setting(self, quick):
        return "Small."

    def jobs(self, quick, seeds):
        return [Job(damage_of, {"seed": seed}) for seed in seeds]

    def claims(self, rows, quick):
        return [Claim("a", f"{len(rows)} rows", "agrees", "by count")]


def studying(out):
    catalogue.STUDIES["kill"] = Damage()
    reproduce(["kill"], out)


def results_of_bench(out):
    lines = [json.loads(line) for line in (out / "records.jsonl").read_text().splitlines()]
    rows = [{k: v for k, v in line.items() if k not in ("wall_s", "checksum")} for line in lines]
    return sorted(map(repr, rows))


def results_of_pretraining(out):
    results = [json.loads(path.read_text()) for path in sorted(out.rglob("result.json"))]
    return [{k: v for k, v in result.items() if k != "seconds"} for result in results], (
        out / "config.json"
    ).read_text()


def results_of_training(out):
    """The agent goes on with other episodes, so that only its length is what it would have been."""
    curve = read_evaluations(out / "evaluations.npz")
    return read_description(out / "model.zip")["made_by"]["timesteps"], curve.timesteps.tolist()


def results_of_tuning(out):
    """Every trial with its draws and values, and the agent of each that was not cut off; none is left running."""
    path = out / "study.journal"
    storage = JournalStorage(JournalFileBackend(str(path))) if path.exists() else f"sqlite:///{out / 'study.db'}"
    study = optuna.load_study(study_name="ppo on PruneEnv/Pruning-v0", storage=storage)
    ended = [trial for trial in study.trials if trial.state != TrialState.FAIL]
    trials = [(trial.state, trial.params, trial.values, trial.intermediate_values) for trial in ended]
    agents = [
        (
            read_description(folder / "model.zip")["made_by"]["timesteps"],
            read_evaluations(folder / "evaluations.npz").results.tolist(),
        )
        for folder in (out / "trials" / str(trial.number) for trial in ended)
    ]
    assert {trial.state for trial in ended} <= {TrialState.COMPLETE, TrialState.PRUNED}
    return trials, agents, yaml.safe_load((out / "best.yaml").read_text())


def results_of_studying(out):
    return {str(path.relative_to(out)): path.read_bytes() for path in sorted(out.rglob("*")) if path.is_file()}


@dataclass(frozen=True)
class Kind:
    """A kind of run: what it does, and what of its folder must be as in an uninterrupted one."""

    run: object
    results: object


KINDS = {
    "bench": Kind(bench, results_of_bench),
    "pretrain": Kind(pretraining, results_of_pretraining),
    "train": Kind(training, results_of_training),
    "tune": Kind(tuning, results_of_tuning),
    "tune in a database": Kind(tuning_in_a_database, results_of_tuning),
    "studies": Kind(studying, results_of_studying),
}


def _child(run, out, cache):
    os.environ["PRUNE_ENV_CACHE"] = str(cache)
    os.setsid()
    torch.set_num_threads(1)
    loop._SAVE_EVERY = loop._SAVE_SHARE = 0.0  # dense training is resumed wherever it can be
    nothing = os.open(os.devnull, os.O_WRONLY)
    os.dup2(nothing, 1), os.dup2(nothing, 2)
    run(out)


def start(kind, folder):
    # Forked, as starting Python and importing torch takes longer than the run.
    process = multiprocessing.get_context("fork").Process(
        target=_child, args=(KINDS[kind].run, folder / "out", folder / "cache")
    )
    process.start()
    return process


def networks(folder):
    return {path.name: path.read_bytes() for path in (folder / "cache").rglob("*.safetensors")}


@pytest.mark.parametrize("kind", KINDS)
def test_killed_again_and_again(kind, tmp_path, record_property):
    random = np.random.default_rng(sum(map(ord, kind)))
    begun = time.monotonic()
    whole = start(kind, tmp_path / "whole")
    whole.join(300)
    assert whole.exitcode == 0
    duration = time.monotonic() - begun
    expected, dense = KINDS[kind].results(tmp_path / "whole" / "out"), networks(tmp_path / "whole")
    assert dense
    kills = finished = 0
    while kills < KILLS:
        folder = tmp_path / f"killed-{finished}"
        for _ in range(100):
            process = start(kind, folder)
            process.join(random.uniform(0.0, duration))
            if process.exitcode is None:
                os.kill(process.pid, signal.SIGKILL)
                process.join()
                kills += 1
            else:
                assert process.exitcode == 0
                break
        else:
            pytest.fail("it never got to its end")
        assert KINDS[kind].results(folder / "out") == expected, f"after {kills} kills"
        assert networks(folder) == dense
        finished += 1
    record_property("kills", kills)
    print(f"{kind}: {kills} kills, {finished} runs ended as the uninterrupted one of {duration:.1f} s")
