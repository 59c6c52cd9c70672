"""The competition: policies x networks x budgets x seeds, on equal terms, into records."""

from __future__ import annotations

import hashlib
import platform
import time
import traceback
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from importlib.metadata import version
from pathlib import Path
from typing import Any

import gymnasium as gym
import numpy as np

from prune_env.benchmark.policies import Policy, find_policy, make_policy, policy_title
from prune_env.benchmark.records import FILE_NAME, Failure, Key, Result, append, finished_keys
from prune_env.benchmark.rollout import begin, rollout
from prune_env.benchmark.run import Run
from prune_env.dense import identify
from prune_env.dense.pool import Pool, prepare
from prune_env.envs import PruningEnv
from prune_env.parallel import cores, map_unordered
from prune_env.provenance import made_with
from prune_env.storage import canonical_json, config_hash

BUDGETS = (0.3, 0.5, 0.7, 0.8, 0.9)
"""The sparsities at which policies are compared."""


@dataclass(frozen=True)
class _Competition:
    """What is the same for every contest; JSON, so that it can be sent to another process."""

    env_id: str
    env_options: str
    networks: int
    split: str

    def hash(self, pool: Pool) -> str:
        """Of what decides the numbers, however many networks, budgets and seeds there are."""
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
class _Contest:
    """One policy on one network, at all budgets and seeds that are not in the records yet."""

    competition: _Competition
    policy: str
    network: int
    label: str
    stratum: str
    config_hash: str
    dense: str
    todo: tuple[tuple[float, int], ...]  # budget and seed
    path: Path


def compare(
    policies: Sequence[str],
    env: str = "PruneEnv/Autoencoder-v0",
    *,
    budgets: Sequence[float] = BUDGETS,
    networks: int = 12,
    seeds: int = 1,
    out: str | Path = "runs/compare",
    split: str = "held_out",
    env_options: Mapping[str, Any] | None = None,
    jobs: int = 1,
) -> Run:
    """Let policies prune the same networks to the same budgets, and return the run with all its records.

    Every policy meets the same dense checkpoints, batches, repair, fine-tuning and scoring; privileged ones are marked
    and their trials counted. Records are appended to `out`/records.jsonl as they come: a run that was killed goes on
    where it was, a policy that raises leaves a visible failure, which the next run tries again. On dense networks that
    are made otherwise by now, all is played again; the old records stay in the file, and tables leave them out.

    Args:
        policies: Names of policies or paths of saved ones.
        env: Id of the environment.
        budgets: Sparsities to prune to.
        networks: How many networks of the pool.
        seeds: Repetitions with other batches.
        out: Folder of the records.
        split: "held_out" for networks that no agent trained on, or "train".
        env_options: Arguments of the environment, e.g. `{"rounds": 1}`.
        jobs: Processes; with more than one, call this under `if __name__ == "__main__":`.

    Raises:
        ValueError: If a policy, a budget or an argument of the environment is unknown or out of range; nothing has run
            by then.
    """
    given = dict(env_options or {})
    if taken := sorted({"pool", "split"} & set(given)):
        raise ValueError(f"{', '.join(taken)} cannot be set in env_options: say networks=... and split=... instead")
    options = canonical_json(given)
    competition = _Competition(env, options, networks, split)
    contests = _plan(competition, list(policies), [float(b) for b in budgets], seeds, Path(out) / FILE_NAME)
    prepare([_environment(competition).pool], jobs)
    for _ in map_unordered(_play, contests, jobs, "contests"):
        pass
    return Run.read(out)


def _plan(
    competition: _Competition, policies: list[str], budgets: list[float], seeds: int, path: Path
) -> list[_Contest]:
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
    env = _environment(competition)
    for factory in factories:
        factory(env)  # and policies that do not fit the environment here
    finished = {title: finished_keys(path, _fingerprint(name)) for name, title in zip(policies, titles, strict=True)}
    configuration = competition.hash(env.pool)
    contests = []
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
                contests.append(_Contest(competition, name, network, label, stratum, configuration, dense, todo, path))
    return contests


def _play(contest: _Contest) -> None:
    """Play one contest and append its records."""
    env = _environment(contest.competition)
    for budget, seed in contest.todo:
        common: dict[str, Any] = {
            "policy": policy_title(contest.policy),
            "env": contest.competition.env_id,
            "network": contest.label,
            "stratum": contest.stratum,
            "budget": budget,
            "seed": seed,
            "config_hash": contest.config_hash,
            "dense": contest.dense,
            "versions": made_with() | _fingerprint(contest.policy),
            "hardware": f"{cores()} cores, {platform.system()} {platform.release()}",
        }
        try:
            policy = make_policy(contest.policy, env)
            common |= {"privileged": policy.privileged, "learned": policy.learned}
            record: Result | Failure = Result(**common, **_prune(env, policy, contest.network, budget, seed))
        except Exception as error:  # a failing policy is a record, and the others go on
            record = Failure(**common, error=f"{type(error).__name__}: {error}", traceback=traceback.format_exc())
        append(contest.path, record)


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
        "sparsity": terms["sparsity"],
        "sparsity_macs": terms["sparsity_macs"],
        "collapsed": bool(info["collapsed"]),
        "evaluations": env.episode.trial_cuts,
        "ratios": dict(zip(env.group_names, (1.0 - info["channels"] / dense_widths).tolist(), strict=True)),
        "wall_s": time.perf_counter() - started,
    }


@lru_cache(maxsize=1)
def _environment(competition: _Competition) -> PruningEnv:
    """The environment of a competition, kept by each process, with the networks that it has loaded."""
    import json

    options = {"budget": 0.5, **json.loads(competition.env_options)}
    env = gym.make(
        competition.env_id, disable_env_checker=True, pool=competition.networks, split=competition.split, **options
    )
    return env.unwrapped  # type: ignore[return-value]


def _fingerprint(policy: str) -> dict[str, str]:
    """What tells a saved policy from another one at the same path; nothing for policies by name."""
    path = Path(policy)
    return {"model": hashlib.sha256(path.read_bytes()).hexdigest()[:16]} if path.is_file() else {}
