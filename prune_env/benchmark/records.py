"""All records of a run, and their numbers laid out by seed, budget and network.

Letters: P policies, S seeds of an agent's training, B budgets, N networks.
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
    """One number of every result, for each policy laid out by seed of its training, budget and network.

    A network that was pruned with several evaluation seeds has their mean; it lacks a number as long as one is missing.

    Attributes:
        policies: The P policies.
        budgets: The B budgets, ascending.
        networks: The N networks.
        strata: The kind of each network, [N].
        values: For each policy [S, B, N], NaN where there is no result; S is 1 but for agents of several seeds.
    """

    policies: tuple[str, ...]
    budgets: tuple[float, ...]
    networks: tuple[str, ...]
    strata: tuple[str, ...]
    values: tuple[NDArray[np.float64], ...]

    def of(self, policy: str) -> NDArray[np.float64]:
        """The numbers of one policy, [S, B, N]."""
        return self.values[self.policies.index(policy)]

    def complete(self, policy: str) -> NDArray[np.bool_]:
        """The networks on which all seeds of a policy have a result at every budget, bool [N]."""
        return np.asarray(~np.isnan(self.of(policy)).any(axis=(0, 1)))


class Records:
    """The records of a run, one for each identity (the latest).

    Saved policies that were trained alike except for the seed are one policy here, with several seeds.

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
        """Lay one number of the results out by seed, budget and network.

        Args:
            name: Of `Result.numbers`, for example "retained_test" or "sparsity_macs".

        Raises:
            ValueError: If no result has such a number.
        """
        known = dict.fromkeys(number for r in self.results for number in r.numbers())
        if self.results and name not in known:
            raise ValueError(unknown("number", name, known))
        networks = self.networks()
        place = {
            (stratum, network): n
            for n, (stratum, network) in enumerate((s, w) for s, nets in networks.items() for w in nets)
        }
        repeated = np.array([len(seeds) for nets in networks.values() for seeds in nets.values()])
        b_of = {budget: b for b, budget in enumerate(self.budgets)}
        policies = tuple(self.kinds)
        shapes = [(len(self.members(policy)), len(self.budgets), len(place)) for policy in policies]
        totals, counts = ([np.zeros(shape) for shape in shapes] for _ in range(2))
        cell_of = {member: (p, m) for p, policy in enumerate(policies) for m, member in enumerate(self.members(policy))}
        for r in self.results:
            number = r.numbers().get(name)
            if number is not None:
                p, m = cell_of[r.policy]
                cell = (m, b_of[r.budget], place[r.stratum, r.network])
                totals[p][cell] += number
                counts[p][cell] += 1
        values = tuple(
            np.divide(total, count, out=np.full(total.shape, np.nan), where=(count == repeated) & (count > 0))
            for total, count in zip(totals, counts, strict=True)
        )
        strata = tuple(stratum for stratum, nets in networks.items() for _ in nets)
        return Scores(policies, self.budgets, tuple(network for _, network in place), strata, values)


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
