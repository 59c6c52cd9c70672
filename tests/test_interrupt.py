"""Ctrl-C on a command line, as a terminal sends it: one line, status 130, and a run that goes on."""

import os
import signal
import subprocess
import sys
import time

import optuna
import pytest

from prune_env.agents.saved import read_description

pytestmark = pytest.mark.slow
NETWORK = ["hidden_layers=1", "learning_rate=0.01", "dense_steps=60", "steps_per_round=2"]


def interrupt_when(arguments, reached, cwd):
    """Status and standard error of a command whose process group is interrupted as soon as `reached()`."""
    command = [sys.executable, "-m", "prune_env.cli", *map(str, arguments), "-s", *NETWORK]
    log = cwd / "stderr"
    with log.open("w") as stderr:
        process = subprocess.Popen(
            command, cwd=cwd, start_new_session=True, stdout=subprocess.DEVNULL, stderr=stderr,
            env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)},
            preexec_fn=lambda: signal.signal(signal.SIGINT, signal.default_int_handler),
        )  # fmt: skip
        try:
            begun = time.monotonic()
            while not reached(log):
                assert process.poll() is None, log.read_text()
                assert time.monotonic() - begun < 240
                time.sleep(0.05)
            os.killpg(process.pid, signal.SIGINT)
            return process.wait(timeout=60), log.read_text()
        finally:
            if process.poll() is None:
                os.killpg(process.pid, signal.SIGKILL)


def assert_one_line(status, err):
    assert status == 130 and "Traceback" not in err, err
    assert err.splitlines()[-1] == "prune-env: interrupted; run the same command again to go on"


def test_training_in_several_environments_saves_what_it_has_learned(tmp_path):
    arguments = ["train", "ppo", "--out", tmp_path / "ppo", "--timesteps", 100_000, "--pool", 2, "--n-envs", 2]
    status, err = interrupt_when(arguments, lambda log: "retained" in log.read_text(), tmp_path)
    assert_one_line(status, err)
    assert read_description(tmp_path / "ppo" / "model.zip")["made_by"]["timesteps"] > 0


def test_tuning_tries_the_interrupted_trial_again(tmp_path):
    arguments = ["tune", "ppo", "--out", tmp_path / "tune", "--trials", 1, "--timesteps", 512, "--pool", 2]
    arguments += ["--n-envs", 2, "-p", "n_steps=32"]
    status, err = interrupt_when(arguments, lambda log: "retained" in log.read_text(), tmp_path)
    assert_one_line(status, err)
    command = [sys.executable, "-m", "prune_env.cli", *map(str, arguments), "-s", *NETWORK]
    subprocess.run(command, cwd=tmp_path, env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}, check=True)
    backend = optuna.storages.journal.JournalFileBackend(str(tmp_path / "tune" / "study.journal"))
    storage = optuna.storages.JournalStorage(backend)
    failed, done = optuna.load_study(study_name=None, storage=storage).trials
    assert (failed.state.name, done.state.name) == ("FAIL", "COMPLETE") and done.params == failed.params


def test_a_benchmark_keeps_its_records(tmp_path):
    records = tmp_path / "bench" / "records.jsonl"
    arguments = ["bench", "--policies", "uniform", "fisher", "--networks", 4, "--jobs", 2, "--out", records.parent]
    status, err = interrupt_when(arguments, lambda log: records.is_file(), tmp_path)
    assert_one_line(status, err)
    assert records.read_text().endswith("\n")


def test_while_everything_is_only_starting(tmp_path):
    arguments = ["bench", "--policies", "uniform", "--networks", 4, "--jobs", 2, "--out", tmp_path / "bench"]
    status, err = interrupt_when(arguments, lambda log: "0/4" in log.read_text(), tmp_path)
    assert_one_line(status, err)
