"""A run that is killed without warning goes on when the same command is given again."""

import json
import os
import signal
import subprocess
import sys
import time

import numpy as np
import pytest

from prune_env.benchmark import Records

pytestmark = pytest.mark.slow
QUICK = ["-s", "dense_steps=300", "steps_per_round=5"]


def command(*arguments):
    return [sys.executable, "-m", "prune_env.cli", *map(str, arguments)]


def kill_when(arguments, reached, timeout=180):
    """Start a command and kill its whole process group as soon as `reached()`."""
    process = subprocess.Popen(
        command(*arguments), start_new_session=True, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
    )
    begun = time.time()
    while not reached():
        assert process.poll() is None, "the command ended before it could be killed"
        assert time.time() - begun < timeout
        time.sleep(0.02)
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
    kill_when(arguments, lambda: (out / "agent.json").is_file())
    saved = json.loads((out / "agent.json").read_text())["made_by"]["timesteps"]
    assert 0 < saved < 2048
    subprocess.run(command(*arguments), check=True, capture_output=True)
    assert json.loads((out / "agent.json").read_text())["made_by"]["timesteps"] == 2048
    with np.load(out / "evaluations.npz", allow_pickle=False) as evaluations:
        assert evaluations["timesteps"].tolist() == [1024, 2048]
