"""Tune the temperature of an importance heuristic on training networks, for held-out ones.

Letters: T temperatures, B budgets, N networks.
"""

from __future__ import annotations

import inspect
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import yaml

from prune_env.benchmark.compare import compare
from prune_env.benchmark.policies import find_policy
from prune_env.benchmark.records import Records
from prune_env.benchmark.statistics import useful_area
from prune_env.open_sets import split_options
from prune_env.parallel import Engine
from prune_env.storage import expanded, write_atomically
from prune_env.validation import Range, check_value

TEMPERATURES = tuple(float(f"{t:.3g}") for t in np.geomspace(0.1, 10.0, 9))
"""From nearly all from the least important group to nearly the same from all."""
BUDGETS = (0.3, 0.5, 0.7, 0.9)
TUNED = "temperature"
"""The option that is tuned."""


def tune_heuristic(
    policy: str,
    env_id: str,
    out: str | Path,
    *,
    temperatures: Sequence[float] = TEMPERATURES,
    budgets: Sequence[float] = BUDGETS,
    networks: int = 16,
    seeds: int = 1,
    env_options: Mapping[str, Any] | None = None,
    jobs: int = 1,
    engine: Engine = "local",
) -> Path:
    """Choose the temperature with the largest area on training networks, and return the path of `best.yaml`.

    The policy `POLICY:@PATH`, with the path of that file, competes with it. The area is that of max(R, 0) over the
    budgets, on validation data of networks of the training pool; held-out networks and test data are never used. It is
    a benchmark like any other: run again, it goes on, and its records are in `out`.

    Args:
        policy: Name of an importance heuristic, with options if it has others.
        env_id: Id of the environment.
        out: Folder of best.yaml and of the records.
        temperatures: Candidates, positive, [T].
        budgets: Sparsities to prune to, [B].
        networks: Training networks, N.
        seeds: Repetitions with other batches.
        env_options: Arguments of the environment.
        jobs: Local processes.
        engine: Where cuts are made, as for `compare`.

    Raises:
        ValueError: If the policy has no temperature or one is given, a temperature is not positive, or cuts failed.
    """
    factory, (short, options) = find_policy(policy), split_options(policy)
    if TUNED not in _parameters(factory):
        raise ValueError(f"policy {short!r} has no {TUNED} to tune; importance heuristics have, such as 'gradient'")
    if TUNED in options:
        raise ValueError(f"the {TUNED} of {policy!r} is given; leave it out to tune it")
    for temperature in temperatures:
        check_value(TUNED, temperature, float, Range(0, ends="()"))
    out = expanded(out)
    names = [f"{policy}{',' if options else ':'}{TUNED}={t:g}" for t in temperatures]
    run = compare(
        names, env_id, budgets=budgets, networks=networks, seeds=seeds, out=out, split="train", env_options=env_options,
        jobs=jobs, engine=engine,
    )  # fmt: skip
    records, _ = run.records.latest_configuration()
    areas = mean_areas(records, names)
    best = int(np.argmax(areas))
    cuts = len(names) * len(budgets) * networks * seeds
    table = "".join(f"# {t:g}: {area:.4g}\n" for t, area in zip(temperatures, areas, strict=True))
    text = (
        f"# Temperature of {policy} by prune-env tune: {cuts} cuts of {networks} training networks of {env_id}.\n"
        f"# Mean area of max(R, 0), validation, over sparsities {', '.join(f'{b:g}' for b in budgets)}:\n{table}"
    )
    write_atomically(out / "best.yaml", (text + yaml.safe_dump({**options, TUNED: temperatures[best]})).encode())
    return out / "best.yaml"


def mean_areas(records: Records, names: Sequence[str]) -> np.ndarray:
    """Mean area of max(R, 0) on validation data over the networks, for each policy, [T].

    Raises:
        ValueError: If a result is missing.
    """
    scores = records.scores("retained")
    areas = []
    for name in names:
        if name not in scores.policies or not scores.complete(name).all():
            failures = [failure.error for failure in records.failures if failure.policy == name]
            raise ValueError(f"{name} has not pruned every network ({'; '.join(failures[:1])}); run it again")
        areas.append(float(useful_area(scores.of(name), scores.budgets, axis=1).mean()))
    return np.array(areas)


def _parameters(factory: Any) -> Mapping[str, Any]:
    """Arguments of a policy's factory, those of `ImportanceHeuristic` included where it passes options on."""
    made = getattr(factory, "func", factory)
    kinds = made.__mro__ if inspect.isclass(made) else (made,)
    return {name: p for kind in kinds if kind is not object for name, p in inspect.signature(kind).parameters.items()}
