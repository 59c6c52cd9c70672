"""All records of a run, and their numbers laid out as runs x tasks.

Letters: P policies, B budgets, N runs (network x seed) of the largest stratum, K strata.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass
from itertools import takewhile
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from prune_env.benchmark.records_file import FILE_NAME, read
from prune_env.benchmark.result import Failure, Key, Kind, Result
from prune_env.envs.costs import COSTS
from prune_env.open_sets import unknown
from prune_env.storage import expanded


@dataclass(frozen=True)
class Scores:
    """One number of every result, laid out as runs x tasks for each policy and budget.

    Attributes:
        policies: The P policies.
        budgets: The B budgets, ascending.
        strata: The K strata.
        values: [P, B, N, K], NaN where there is no result. Row n of a stratum is the same run for every policy.
        seeds_per_network: S; rows n with the same n // S are runs on the same network.
    """

    policies: tuple[str, ...]
    budgets: tuple[float, ...]
    strata: tuple[str, ...]
    values: NDArray[np.float64]
    seeds_per_network: int

    def complete(self) -> NDArray[np.bool_]:
        """Which runs have a result at every budget, [P, N, K]."""
        return np.asarray(~np.isnan(self.values).any(axis=1))

    def completed(self) -> NDArray[np.float64]:
        """The values [P, B, N, K] with every budget of an incomplete run left out (NaN)."""
        return np.where(self.complete()[:, None], self.values, np.nan)


class Records:
    """The records of a run, one for each identity (the latest).

    Saved policies that were trained alike except for the seed are one policy here: a run's number is the mean over
    them, and is missing as long as one of them lacks it.

    Args:
        records: In the order in which they were written.
    """

    def __init__(self, records: Iterable[Result | Failure]):
        latest: dict[Key, Result | Failure] = {}
        for record in records:
            latest.pop(record.key, None)  # so that the order stays that of the last writing
            latest[record.key] = record
        self.all = tuple(latest.values())
        self.results = tuple(r for r in self.all if isinstance(r, Result))
        self.failures = tuple(r for r in self.all if isinstance(r, Failure))
        self.shown_as = _shown_as(self.all)
        """Policy of a record -> the name that it is shown by, which seeds of one agent share."""

    @classmethod
    def read(cls, path: str | Path) -> Records:
        """Read the records of a run.

        Args:
            path: The run's folder, or the file itself.

        Raises:
            FileNotFoundError: If there is no such file.
            ValueError: If the file holds no record, or a line that is none.
        """
        path = expanded(path)
        path = path / FILE_NAME if path.is_dir() or path.suffix != ".jsonl" else path
        hint = "make some with `prune-env bench`, or prune_env.benchmark.compare(..., out=FOLDER)"
        if not path.exists():
            raise FileNotFoundError(f"no benchmark records at {path}: {hint}")
        records = cls(read(path))
        if not records.all:
            raise ValueError(f"{path} holds no whole record: {hint}")
        return records

    def __len__(self) -> int:
        return len(self.all)

    def latest_configuration(self) -> tuple[Records, int]:
        """The records that share the last one's configuration hash, and the number of those left out.

        Of each network, only the records of the latest dense one count.
        """
        if not self.all:
            raise ValueError("there are no records")
        same = [r for r in self.all if r.config_hash == self.all[-1].config_hash]
        latest = {r.network: r.dense for r in same}
        same = [r for r in same if r.dense == latest[r.network]]
        return Records(same), len(self.all) - len(same)

    @property
    def kinds(self) -> dict[str, Kind]:
        """Every policy, in order of appearance, and how it competes."""
        return {self.shown_as[r.policy]: r.kind for r in self.all}

    @property
    def budgets(self) -> tuple[float, ...]:
        """Every budget, ascending, [B]."""
        return tuple(sorted({r.budget for r in self.all}))

    @property
    def costs(self) -> tuple[str, ...]:
        """Names of the costs whose sparsities the results hold, in the order in which they are registered."""
        found = dict.fromkeys(cost for r in self.results for cost in r.sparsities)
        return tuple(sorted(found, key=lambda cost: list(COSTS).index(cost) if cost in COSTS else len(COSTS)))

    def members(self, policy: str) -> tuple[str, ...]:
        """The policies of the records that are shown as this one: several for an agent with several seeds."""
        return tuple(name for name, shown in self.shown_as.items() if shown == policy)

    def networks(self) -> dict[str, dict[str, list[int]]]:
        """Stratum -> network -> its seeds; failed runs count too, so that they are missed in `scores`."""
        found: dict[str, dict[str, set[int]]] = {}
        for r in sorted(self.all, key=lambda r: (_natural(r.stratum), _natural(r.network))):
            found.setdefault(r.stratum, {}).setdefault(r.network, set()).add(r.seed)
        return {stratum: {n: sorted(seeds) for n, seeds in nets.items()} for stratum, nets in found.items()}

    def scores(self, name: str = "retained_test") -> Scores:
        """Lay one number of the results out as runs x tasks.

        Args:
            name: Of `Result.numbers`, for example "retained_test" or "sparsity_macs".

        Raises:
            ValueError: If no result has such a number.
        """
        known = dict.fromkeys(number for r in self.results for number in r.numbers())
        if self.results and name not in known:
            raise ValueError(unknown("number", name, known))
        networks, policies = self.networks(), tuple(self.kinds)
        width = max((len(seeds) for nets in networks.values() for seeds in nets.values()), default=1)
        rows = max((len(nets) for nets in networks.values()), default=0) * width
        place = {  # a run is known by its network and seed within its stratum
            (stratum, network, seed): (w * width + s, k)
            for k, (stratum, nets) in enumerate(networks.items())
            for w, (network, seeds) in enumerate(nets.items())
            for s, seed in enumerate(seeds)
        }
        shape = (len(policies), len(self.budgets), rows, len(networks))
        total, count = np.zeros(shape), np.zeros(shape)
        p_of = {policy: p for p, policy in enumerate(policies)}
        b_of = {budget: b for b, budget in enumerate(self.budgets)}
        for r in self.results:
            number = r.numbers().get(name)
            if number is not None:
                cell = (p_of[self.shown_as[r.policy]], b_of[r.budget], *place[r.stratum, r.network, r.seed])
                total[cell] += number
                count[cell] += 1
        wanted = np.array([len(self.members(policy)) for policy in policies])[:, None, None, None]
        values = np.divide(total, count, out=np.full(shape, np.nan), where=count == wanted)
        return Scores(policies, self.budgets, tuple(networks), values, width)


def _shown_as(records: Iterable[Result | Failure]) -> dict[str, str]:
    """Policy -> the name that it is shown by; "ppo-0" and "ppo-1" of one agent are shown as "ppo (2 seeds)"."""
    policies = dict.fromkeys(r.policy for r in records)
    agents: dict[str, list[str]] = {}
    for policy, agent in {r.policy: r.agent for r in records if r.agent}.items():
        agents.setdefault(agent, []).append(policy)
    shown = {policy: policy for policy in policies}
    for agent, seeds in agents.items():
        if len(seeds) > 1:
            name = _common_beginning(seeds) or "agent"
            label = f"{name} ({len(seeds)} seeds)"
            if label in shown.values():
                label = f"{name} {agent[:4]} ({len(seeds)} seeds)"
            shown |= dict.fromkeys(seeds, label)
    return shown


def _common_beginning(names: list[str]) -> str:
    """What all names begin with, without a number and the word before it that count the seeds."""
    same = takewhile(lambda letters: len(set(letters)) == 1, zip(*names, strict=False))
    return re.sub(r"[-_. ]*(seed)?[-_. ]*\d*$", "", "".join(letters[0] for letters in same))


def _natural(text: str) -> list[tuple[int, float, str]]:
    """A sorting key by which latent_dim=8 comes before latent_dim=16."""
    words = text.replace("=", " ").replace(",", " ").split()
    return [(0, float(w), "") if w.replace(".", "", 1).isdigit() else (1, 0.0, w) for w in words]
