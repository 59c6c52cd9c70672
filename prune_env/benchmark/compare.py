"""Benchmark policies: each on the same networks, budgets and seeds, one record for each."""

from __future__ import annotations

import hashlib
import platform
import time
import traceback
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import lru_cache
from importlib.metadata import version
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import gymnasium as gym
import numpy as np

from prune_env.benchmark.agent_training import AgentTraining, add_trainings
from prune_env.benchmark.policies import Policy, find_policy, make_policy, policy_title, spelled_out
from prune_env.benchmark.records_file import FILE_NAME, append, finished_keys
from prune_env.benchmark.result import Failure, Key, Result
from prune_env.benchmark.rollout import begin, rollout
from prune_env.benchmark.run import Run
from prune_env.dense import checkpoint_files, identify
from prune_env.dense.pool import Pool, prepare
from prune_env.envs import PruningEnv
from prune_env.parallel import Engine, Send, check_engine, cores, map_unordered
from prune_env.provenance import made_with
from prune_env.storage import canonical_json, config_hash, expanded

BUDGETS = (0.3, 0.5, 0.7)
"""The sparsities at which policies are compared."""
ENV_OPTIONS: Mapping[str, Any] = {"rounds": 1}
"""What policies are compared on unless arguments of the environment say otherwise; the same on the command line."""


@dataclass(frozen=True)
class _Setting:
    """What is the same for every job; JSON, so that it can be sent to another process."""

    env_id: str
    env_options: str
    networks: int
    split: str

    def hash(self, pool: Pool) -> str:
        """Hash of everything that decides the numbers, except policies, networks, budgets and seeds."""
        return config_hash(
            {
                "env": self.env_id,
                "options": self.env_options,
                "split": self.split,
                "torch": version("torch"),
                "dense": identify(pool.plain()),
            }
        )


@dataclass(frozen=True)
class _Job:
    """One policy on one network, at all budgets and seeds that are not in the records yet."""

    setting: _Setting
    policy: str
    network: int
    label: str
    stratum: str
    config_hash: str
    dense: str
    todo: tuple[tuple[float, int], ...]  # budget and seed
    title: str
    model: bytes | None  # of a saved policy: its file, which a worker on another machine does not have


def compare(
    policies: Sequence[str],
    env: str = "PruneEnv/Autoencoder-v1",
    *,
    budgets: Sequence[float] = BUDGETS,
    networks: int = 24,
    seeds: int = 1,
    out: str | Path = "runs/bench",
    split: str = "held_out",
    env_options: Mapping[str, Any] | None = None,
    jobs: int = 1,
    engine: Engine = "local",
) -> Run:
    """Let policies prune the same networks to the same budgets, and return the run with all its records.

    Every policy gets the same dense checkpoints, batches, repair, fine-tuning and scoring; privileged ones are marked
    and their trial cuts counted. Records are appended to `out`/records.jsonl as they come: an interrupted run resumes
    where it was, and a policy that raises leaves a failure on record, which the next run tries again. When the recipe
    of the dense networks has changed, everything is repeated; the old records stay in the file, and tables leave them
    out. How saved agents were trained is kept in `out`/agents.json.

    Args:
        policies: Names of policies, with options (`gradient:temperature=0.5`, or `gradient:@best.yaml` from a file), or
            paths of saved ones.
        env: Id of the environment.
        budgets: Sparsities to prune to.
        networks: How many networks of the pool.
        seeds: Repetitions with other batches.
        out: Folder of the records.
        split: "held_out" for networks that no agent trained on, or "train".
        env_options: Arguments of the environment, besides `ENV_OPTIONS`.
        jobs: Local processes; with more than one, call this under `if __name__ == "__main__":`.
        engine: Where jobs are run: "local", "dask://HOST:PORT", an executor, or a `distributed.Client`.

    Raises:
        ValueError: If a policy, a budget or an argument of the environment is unknown or out of range, or the records
            of an earlier run are damaged; nothing has run by then.
    """
    given = {**ENV_OPTIONS, **(env_options or {})}
    if taken := sorted({"pool", "split"} & set(given)):
        raise ValueError(f"{', '.join(taken)} cannot be set in env_options: say networks=... and split=... instead")
    options = canonical_json(given)
    setting = _Setting(env, options, networks, split)
    check_engine(engine)
    policies = [spelled_out(name) for name in policies]
    out = expanded(out)
    path = out / FILE_NAME
    planned = _plan(setting, list(policies), [float(b) for b in budgets], seeds, path)
    pool = _environment(setting).pool
    prepare([pool], jobs, engine)
    add_trainings(out, _trainings(setting, policies))
    specs = [spec for spec, _ in pool.specs()]
    for _ in map_unordered(
        _run,
        planned,
        jobs,
        "policies on networks",
        engine=engine,
        files=lambda job: [file for i in sorted({0, job.network}) for file in checkpoint_files(specs[i])],
        on_message=lambda job, record: append(path, record),
    ):
        pass
    return Run.read(out)


def _plan(setting: _Setting, policies: list[str], budgets: list[float], seeds: int, path: Path) -> list[_Job]:
    factories = [find_policy(name) for name in policies]  # unknown names end here, before anything has run
    titles = [policy_title(name) for name in policies]
    doubled = {title for title in titles if titles.count(title) > 1}
    if doubled:
        raise ValueError(f"several policies are called {sorted(doubled)}; saved ones are named after their folders")
    for budget in budgets:
        if not 0 < budget < 1:
            raise ValueError(f"a budget is a sparsity in (0, 1); got {budget}")
    if seeds < 1:
        raise ValueError(f"seeds must be at least 1, got {seeds}")
    env = _environment(setting)
    for factory in factories:
        factory(env)  # and policies that do not fit the environment here
    models = {name: expanded(name).read_bytes() if expanded(name).is_file() else None for name in policies}
    finished = {
        title: finished_keys(path, _fingerprint(models[name])) for name, title in zip(policies, titles, strict=True)
    }
    configuration = setting.hash(env.pool)
    planned = []
    for network, ((label, stratum), (spec, _)) in enumerate(zip(env.labels, env.pool.specs(), strict=True)):
        dense = identify(spec)
        for name, title in zip(policies, titles, strict=True):
            todo = tuple(
                (budget, seed)
                for budget in budgets
                for seed in range(seeds)
                if Key(title, label, budget, seed, configuration, dense) not in finished[title]
            )
            if todo:
                planned.append(
                    _Job(setting, name, network, label, stratum, configuration, dense, todo, title, models[name])
                )
    return planned


def _trainings(setting: _Setting, policies: Sequence[str]) -> dict[str, AgentTraining]:
    """How the saved policies were trained, by title."""
    found = {policy_title(name): _training(make_policy(name, _environment(setting))) for name in policies}
    return {title: training for title, training in found.items() if training is not None}


def _training(policy: Policy) -> AgentTraining | None:
    training = getattr(policy, "training", None)
    return training if isinstance(training, AgentTraining) else None


def _run(job: _Job, send: Send) -> None:
    """Do one job and send its records, one by one, so that a run that is killed keeps those that were made."""
    env = _environment(job.setting)
    with _policy_of(job) as policy:
        find_policy(policy)  # one that this worker does not know is no failure of the policy: it ends the run
        _run_episodes(job, env, policy, send)


@contextmanager
def _policy_of(job: _Job) -> Iterator[str]:
    """Name of the policy, or the path where its file lies for now."""
    if job.model is None:
        yield job.policy
        return
    with TemporaryDirectory(prefix="prune_env-") as folder:
        path = Path(folder) / Path(job.policy).name
        path.write_bytes(job.model)
        yield str(path)


def _run_episodes(job: _Job, env: PruningEnv, name: str, send: Send) -> None:
    for budget, seed in job.todo:
        common: dict[str, Any] = {
            "policy": job.title,
            "env": job.setting.env_id,
            "network": job.label,
            "stratum": job.stratum,
            "budget": budget,
            "budget_unit": env.config.budget_unit,
            "seed": seed,
            "config_hash": job.config_hash,
            "dense": job.dense,
            "versions": made_with() | _fingerprint(job.model),
            "hardware": f"{cores()} cores, {platform.system()} {platform.release()}",
        }
        try:
            policy = make_policy(name, env)
            training = _training(policy)
            common |= {
                "privileged": policy.privileged,
                "learned": policy.learned,
                "agent": training.agent if training else "",
            }
            record: Result | Failure = Result(**common, **_prune(env, policy, job.network, budget, seed))
        except Exception as error:  # a failing policy is a record, and the others go on
            record = Failure(**common, error=f"{type(error).__name__}: {error}", traceback=traceback.format_exc())
        send(record)


def _prune(env: PruningEnv, policy: Policy, network: int, budget: float, seed: int) -> dict[str, Any]:
    """One episode; the same batches for every policy, as the seed is made of network, budget and repetition alone."""
    started = time.perf_counter()
    drawn = int(np.random.SeedSequence([seed, network, round(budget * 10_000)]).generate_state(1)[0])
    observation = begin(env, policy, network, budget, drawn)
    floor, dense = env.network.score_scale("test")
    info = rollout(env, policy, observation)
    terms = info["reward_terms"]
    retained = env.episode.retained("test")
    dense_widths = env.network.train_state.surgeon.grouping.widths
    return {
        "retained": terms["retained"],
        "retained_test": retained,
        "score_test": floor + retained * (dense - floor) if retained > -1 else None,
        "sparsities": dict(info["sparsities"]),
        "collapsed": bool(info["collapsed"]),
        "trial_cuts": env.episode.trial_cuts,
        "trial_steps": env.episode.trial_steps,
        "best_trials": env.episode.best_trials,
        "ratios": dict(zip(env.group_names, (1.0 - info["channels"] / dense_widths).tolist(), strict=True)),
        "wall_s": time.perf_counter() - started,
    }


@lru_cache(maxsize=1)
def _environment(setting: _Setting) -> PruningEnv:
    """The environment of a setting, kept by each process, with the networks that it has loaded."""
    import json

    options = {"budget": 0.5, **json.loads(setting.env_options)}
    env = gym.make(setting.env_id, disable_env_checker=True, pool=setting.networks, split=setting.split, **options)
    return env.unwrapped  # type: ignore[return-value]


def _fingerprint(model: bytes | None) -> dict[str, str]:
    """What tells a saved policy from another one at the same path; nothing for policies by name."""
    return {} if model is None else {"model": hashlib.sha256(model).hexdigest()[:16]}
