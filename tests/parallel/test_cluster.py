"""Jobs on a Dask cluster of real processes, which share no files with this one, and one of which is killed."""

import contextlib
import json
import os
import signal
import socket
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict
from pathlib import Path

import pytest

from prune_env.benchmark import compare
from prune_env.dense import CheckpointSpec
from prune_env.dense.pretrain import pretrain
from prune_env.parallel import map_unordered
from prune_env.storage import cache_folder
from prune_env.studies.component_aware.job import WAYS, sparsity_sweep
from prune_env.studies.core.harness import dense_networks
from prune_env.studies.core.job_store import read_done, run_jobs
from prune_env.studies.core.study import Job

distributed = pytest.importorskip("distributed", reason="needs the extra 'cluster'")
OPTIONS = {"hidden_layers": 1, "learning_rate": 0.01, "dense_steps": 60, "steps_per_round": 2}
CONTEST = {"budgets": (0.3, 0.6), "networks": 2, "env_options": OPTIONS}
POLICIES = ("none", "uniform", "l2")


class Cluster:
    """A scheduler and two workers, each with one thread and a folder of its own instead of a cache."""

    def __init__(self, folder):
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            self.port = free.getsockname()[1]
        self.engine = f"dask://127.0.0.1:{self.port}"
        self._folder = folder
        environment = {**os.environ, "OMP_NUM_THREADS": "1"}
        environment.pop("PRUNE_ENV_CACHE", None)
        environment |= {"XDG_CACHE_HOME": str(folder / "not-to-be-used"), "PYTHONPATH": os.pathsep.join(sys.path)}
        self._environment = environment
        scheduler = ["--host", "127.0.0.1", "--port", self.port, "--dashboard-address", "127.0.0.1:0", "--no-show"]
        self.processes = [self._start("scheduler", *scheduler)]
        self.workers = [self._worker(), self._worker()]
        with distributed.Client(f"tcp://127.0.0.1:{self.port}", timeout=60, set_as_default=False) as client:
            client.wait_for_workers(2, timeout=60)

    def _worker(self):
        return self._start(
            "worker", f"tcp://127.0.0.1:{self.port}", "--nthreads", 1, "--no-nanny", "--no-dashboard",
            "--local-directory", self._folder / "workers",
        )  # fmt: skip

    def _start(self, *arguments):
        command = [sys.executable, "-m", "dask", *map(str, arguments)]
        log = (self._folder / f"{arguments[0]}.log").open("a")
        return subprocess.Popen(
            command, env=self._environment, cwd=self._folder, stdout=log, stderr=log, start_new_session=True
        )

    def kill_worker(self):
        """Kill a worker in the middle of its job, and start another one."""
        victim = self.workers.pop(0)
        victim.send_signal(signal.SIGKILL)
        victim.wait()
        self.workers.append(self._worker())

    def stop(self):
        for process in [*self.processes, *self.workers]:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)
            process.wait()


@pytest.fixture(scope="module")
def cluster(tmp_path_factory):
    made = Cluster(tmp_path_factory.mktemp("cluster"))
    yield made
    made.stop()


def numbers(run):
    left_out = ("wall_s", "hardware")
    return {
        record.key: {k: v for k, v in asdict(record).items() if k not in left_out} for record in run.records.results
    }


def slow_double(x):
    time.sleep(x)
    return 2 * x


def fails(x):
    if x == 1:
        raise ValueError("the second one fails")
    time.sleep(0.1)


def where(_):
    return str(cache_folder()), os.getpid()


# ---------------------------------------------------------------------- results
def test_a_benchmark_gives_the_same_records_though_a_worker_is_killed(cluster, tmp_path, monkeypatch):
    monkeypatch.setenv("PRUNE_ENV_CACHE", str(tmp_path / "cache"))
    local = compare(POLICIES, out=tmp_path / "local", **CONTEST)
    monkeypatch.setenv("PRUNE_ENV_CACHE", str(tmp_path / "another cache"))
    records = tmp_path / "dask" / "records.jsonl"

    def kill():
        while not records.is_file():
            time.sleep(0.01)
        cluster.kill_worker()

    with ThreadPoolExecutor(1) as beside:
        killing = beside.submit(kill)
        found = compare(POLICIES, out=records.parent, engine=cluster.engine, **CONTEST)
        killing.result()
    assert len(numbers(local)) == 3 * 2 * 2 and numbers(found) == numbers(local)
    lines = records.read_text().splitlines()
    keys = [tuple(json.loads(line)[k] for k in ("policy", "network", "budget", "seed")) for line in lines]
    assert len(keys) == len(set(keys)) == 12  # contests that were run again are not recorded again
    networks = [p.name for p in sorted((tmp_path / "another cache" / "checkpoints").glob("*.safetensors"))]
    assert len(networks) == 2  # trained by workers, stored by the parent
    for name in networks:
        ours, theirs = (tmp_path / folder / "checkpoints" / name for folder in ("another cache", "cache"))
        assert ours.read_bytes() == theirs.read_bytes()
    assert not (cluster._folder / "not-to-be-used" / "prune_env").exists()


def test_pretraining_writes_here_what_workers_make(cluster, tmp_path, monkeypatch, capsys):
    options = {"width": 8, "latent_dim": 4, "encoder_width": 8, "batch_size": 8, "dense_steps": 20, "eval_every": 10}
    specs = [(CheckpointSpec("tdmpc", {**options, "starts": 2}, seed), f"seed={seed}") for seed in (3, 4)]
    rows = []
    for engine in ("local", cluster.engine):
        monkeypatch.setenv("PRUNE_ENV_CACHE", str(tmp_path / f"cache-{len(rows)}"))
        rows.append(pretrain(specs, tmp_path / f"out-{len(rows)}", engine=engine))
        assert "seed=3: step 10 of 20" in capsys.readouterr().out
    for one, other in zip(*rows, strict=True):
        assert one | {"seconds": 0} == other | {"seconds": 0}
    for seed in (3, 4):
        files = {path.name.split(".")[-1] for path in (tmp_path / "out-1" / f"seed={seed}").iterdir()}
        assert {"safetensors", "json"} <= files and any((tmp_path / "out-1" / f"seed={seed}").glob("events.out*"))


def test_jobs_of_a_study_make_the_same_rows(cluster, tmp_path, monkeypatch):
    network = {"target": "autoencoder", "latent_dim": 4, **OPTIONS}
    steps = network.pop("steps_per_round")
    arguments = {"name": "digits", "network": network, "seed": 1, "policy": "fisher", "sparsities": [0.5]}
    found = []
    for engine in ("local", cluster.engine):
        monkeypatch.setenv("PRUNE_ENV_CACHE", str(tmp_path / f"cache-{len(found)}"))
        study_jobs = [
            Job(sparsity_sweep, {**arguments, "way": way, "steps": steps}, networks=dense_networks(network, 1))
            for way in WAYS
        ]
        found.append({key: done.rows for key, done in run_jobs(study_jobs, 1, engine)})
        assert all(read_done(job).rows == found[-1][job.key] for job in study_jobs)
    assert found[0] == found[1] and all(found[0].values())
    assert len(list((tmp_path / "cache-1" / "checkpoints").glob("*.safetensors"))) == 2


# ---------------------------------------------------------------------- what goes wrong
def test_a_job_that_raises_stops_the_rest(cluster):
    done = []
    with pytest.raises(ValueError, match="the second one fails"):
        for result in map_unordered(fails, range(200), 1, "test", engine=cluster.engine):
            done.append(result)  # noqa: PERF402  # what came before the failure
    assert len(done) < 200


def test_workers_use_a_folder_of_their_own_and_one_thread(cluster):
    for path, process in map_unordered(where, range(4), 1, "test", engine=cluster.engine):
        assert Path(path).is_relative_to(cluster._folder / "workers") and process != os.getpid()


@pytest.mark.parametrize(
    ("engine", "message"),
    [
        ("dask://127.0.0.1:1", "no Dask scheduler answers at '127.0.0.1:1'"),
        ("dask://nowhere", 'an engine is "local" or "dask://HOST:PORT"'),
        ("local://x", 'an engine is "local" or "dask://HOST:PORT"'),
        ("slurm://x:1", "unknown engine 'slurm'"),
        (3, 'engine must be "local"'),
    ],
)
def test_an_engine_that_is_not_there_is_refused(monkeypatch, engine, message):
    monkeypatch.setattr("prune_env.parallel.cluster._CONNECT", 0.5)
    with pytest.raises(ValueError, match=message):
        list(map_unordered(slow_double, range(3), 2, "test", engine=engine))
