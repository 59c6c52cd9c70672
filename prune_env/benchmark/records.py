"""What a benchmark run leaves behind: one JSON line for each policy, network, budget and seed, only ever appended.

A line is a `Result` or a `Failure`. Its identity is its `Key`; a later line of the same identity replaces an earlier
one, so that a failure is forgotten once a retry succeeded. Several processes may append to one file. Every line ends
with its checksum: one that was changed is refused by its number; one that was torn by a kill is skipped with a warning,
and never glues to the next one.

Letters: P policies, B budgets, N runs (network x seed) of the largest stratum, K strata.
"""

from __future__ import annotations

import json
import math
import os
import re
import warnings
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass, field, fields
from pathlib import Path
from typing import Any, Literal, NamedTuple

import numpy as np
from numpy.typing import NDArray

from prune_env.storage import check_seal, locked, sealed, unwritable
from prune_env.validation import Range, check_value

FILE_NAME = "records.jsonl"
COLLAPSED_RETAINED = -1.0
"""The retained score that is written, by convention, for a network that collapsed (with `collapsed=True`)."""

Kind = Literal["agent", "plain", "privileged"]


class Key(NamedTuple):
    """The identity of a record."""

    policy: str
    network: str
    budget: float
    seed: int
    config_hash: str
    dense: str = ""


@dataclass(frozen=True, kw_only=True)
class Record:
    """What results and failures have in common.

    Attributes:
        policy: Name or path of the policy.
        env: Id of the environment.
        network: Which dense network was pruned, for example "latent_dim=6, seed=10003".
        stratum: The kind of network; runs are resampled within it.
        budget: The sparsity asked for, between 0 and 1.
        seed: Evaluation seed.
        config_hash: Hash of everything else that shapes the numbers; different hashes are never mixed.
        dense: What tells the dense network from one of the same name that was made otherwise; they are never mixed.
        privileged: Whether the policy saw more than the observation.
        learned: Whether the policy was trained.
        versions: Package name to version.
        hardware: The machine, in words.
    """

    policy: str
    env: str
    network: str
    stratum: str
    budget: float
    seed: int
    config_hash: str
    dense: str = ""
    privileged: bool = False
    learned: bool = False
    versions: Mapping[str, str] = field(default_factory=dict)
    hardware: str = ""

    def __post_init__(self) -> None:
        for name in ("policy", "env", "network", "stratum", "config_hash", "dense", "hardware"):
            check_value(name, getattr(self, name), str)
        check_value("budget", self.budget, float, Range(0, 1, "()"))
        check_value("seed", self.seed, int, Range(0))
        check_value("privileged", self.privileged, bool)
        check_value("learned", self.learned, bool)
        _check_entries("versions", self.versions, str)

    @property
    def key(self) -> Key:
        """The identity of this record."""
        return Key(self.policy, self.network, self.budget, self.seed, self.config_hash, self.dense)

    @property
    def kind(self) -> Kind:
        """How the policy competes: as a learned agent, a plain heuristic, or with privileged information."""
        if self.privileged:
            return "privileged"
        return "agent" if self.learned else "plain"


@dataclass(frozen=True, kw_only=True)
class Result(Record):
    """One network, pruned to one budget by one policy.

    Attributes:
        retained: R = (score - floor) / (dense - floor) on validation data; -1 for a collapsed network.
        retained_test: The same on test data; the number that is reported.
        score_test: The target's own score on test data; None where a collapse left none.
        sparsity: Share of parameters removed.
        sparsity_macs: Share of multiply-accumulates removed.
        collapsed: Whether the network diverged or fell below its floor while being pruned.
        evaluations: Pruned networks that the policy had scored before it answered.
        ratios: Group name to the share of its dense channels that was removed.
        wall_s: Duration [s].
    """

    retained: float
    retained_test: float
    score_test: float | None
    sparsity: float
    sparsity_macs: float
    collapsed: bool
    evaluations: int
    ratios: Mapping[str, float]
    wall_s: float

    def __post_init__(self) -> None:
        super().__post_init__()
        check_value("collapsed", self.collapsed, bool)
        for name, (kind, allowed) in _RESULT_NUMBERS.items():
            value = getattr(self, name)
            if value is None and name == "score_test":
                continue
            try:
                check_value(name, value, kind, allowed)
            except ValueError as error:
                raise ValueError(
                    f"{error}, of {self.policy} on {self.network}: a record holds finite numbers only (a collapsed "
                    f"network is written as collapsed=True, retained={COLLAPSED_RETAINED})"
                ) from None
        _check_entries("ratios", self.ratios, float, _SHARE)


_SHARE = Range(0, 1, "[]")
_RETAINED = Range(-1e6, 1e6)  # more says that the dense network was hardly better than its floor
_RESULT_NUMBERS: dict[str, tuple[type, Range]] = {
    "retained": (float, _RETAINED),
    "retained_test": (float, _RETAINED),
    "score_test": (float, Range(-math.inf, ends="()")),
    "sparsity": (float, _SHARE),
    "sparsity_macs": (float, _SHARE),
    "evaluations": (int, Range(0)),
    "wall_s": (float, Range(0)),
}


def _check_entries(name: str, entries: Any, kind: type, allowed: Range | None = None) -> None:
    if not isinstance(entries, Mapping):
        raise ValueError(f"{name} must be a dict, got {entries!r}")
    for key, value in entries.items():
        check_value(f"a name in {name}", key, str)
        check_value(f"{name}[{key!r}]", value, kind, allowed)


@dataclass(frozen=True, kw_only=True)
class Failure(Record):
    """A policy that raised an error on one network and budget; tried again when the run is resumed."""

    error: str
    traceback: str = ""

    def __post_init__(self) -> None:
        super().__post_init__()
        check_value("error", self.error, str)
        check_value("traceback", self.traceback, str)


_KINDS: dict[str, type[Result] | type[Failure]] = {"result": Result, "failure": Failure}


def append(path: str | Path, record: Result | Failure) -> None:
    """Append one record to the file, as one whole line, safely beside other processes.

    Raises:
        OSError: The line could not be written whole; the file is as it was before.
    """
    path = Path(path)
    content = {"kind": "result" if isinstance(record, Result) else "failure", **asdict(record)}
    plain = json.loads(json.dumps(content, allow_nan=False, default=_plain_number))
    line = json.dumps(sealed(plain), allow_nan=False).encode() + b"\n"
    # The lock is for the look at the last byte: without it, another process's half-written line would seem torn.
    with locked(path):
        try:
            descriptor = os.open(path, os.O_RDWR | os.O_APPEND | os.O_CREAT, 0o644)
        except OSError as error:
            raise unwritable(path, error) from error
        size = os.lseek(descriptor, 0, os.SEEK_END)
        try:
            if _last_byte(descriptor) not in (b"", b"\n"):
                line = b"\n" + line
            written = os.write(descriptor, line)
            if written != len(line):
                raise OSError(f"only {written} of {len(line)} bytes were written: is the disk full?")
        except OSError as error:
            os.ftruncate(descriptor, size)
            raise unwritable(path, error) from error
        finally:
            os.close(descriptor)


def _last_byte(descriptor: int) -> bytes:
    size = os.lseek(descriptor, 0, os.SEEK_END)
    if size == 0:
        return b""
    os.lseek(descriptor, size - 1, os.SEEK_SET)
    return os.read(descriptor, 1)


def _plain_number(value: Any) -> Any:
    if isinstance(value, np.generic):
        return value.item()
    raise TypeError(f"{value!r} cannot be written to a record")


def read(path: str | Path) -> list[Result | Failure]:
    """Read every whole line, oldest first, repeated identities included.

    Raises:
        FileNotFoundError: There is no such file.
        ValueError: A line is whole but not a record, or was changed; its number is named.
    """
    records = []
    for number, line in enumerate(Path(path).read_bytes().split(b"\n"), start=1):
        if not line.strip():
            continue
        place = f"{path}, line {number}"
        try:
            content = json.loads(line)
        except (ValueError, RecursionError) as error:
            if _ENDS_WHOLE.search(line):
                raise ValueError(f"{place}: the line was changed ({error}); {_REMEDY}") from error
            warnings.warn(f"{place}: skipped a line torn by an interrupted run", stacklevel=2)
            continue
        records.append(_parse(content, place))
    return records


_ENDS_WHOLE = re.compile(rb'"checksum": "[0-9a-f]{16}"\}\s*$')
_REMEDY = "delete the line, and run the same command again to have it made anew"


def _parse(content: Any, place: str) -> Result | Failure:
    if not isinstance(content, dict) or content.get("kind") not in tuple(_KINDS):
        raise ValueError(f"{place}: expected a record of kind {' or '.join(_KINDS)}; {_REMEDY}")
    try:
        content = check_seal(content)
        record = _KINDS[content["kind"]]
        known = {f.name for f in fields(record)}  # a newer version may have written more
        return record(**{name: value for name, value in content.items() if name in known})
    except (TypeError, ValueError, RecursionError) as error:
        raise ValueError(f"{place}: {error}; {_REMEDY}") from error


def finished_keys(path: str | Path, versions: Mapping[str, str] | None = None) -> set[Key]:
    """Identities that a resumed run need not repeat: those whose latest line is a result. No file, no keys.

    Args:
        path: Of the records.
        versions: Entries that a record's `versions` must have, such as the checksum of a saved policy.
    """
    if not Path(path).exists():
        return set()
    latest = {record.key: record for record in read(path)}
    wanted = dict(versions or {}).items()
    return {key for key, r in latest.items() if isinstance(r, Result) and wanted <= r.versions.items()}


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

    @classmethod
    def read(cls, path: str | Path) -> Records:
        """Read the records of a run.

        Args:
            path: The run's folder, or the file itself.

        Raises:
            FileNotFoundError: There is no such file.
            ValueError: The file holds no record, or a line that is none.
        """
        path = Path(path)
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
        return {r.policy: r.kind for r in self.all}

    @property
    def budgets(self) -> tuple[float, ...]:
        """Every budget, ascending, [B]."""
        return tuple(sorted({r.budget for r in self.all}))

    def networks(self) -> dict[str, dict[str, list[int]]]:
        """Stratum -> network -> its seeds; failed runs count too, so that they are missed in `scores`."""
        found: dict[str, dict[str, set[int]]] = {}
        for r in sorted(self.all, key=lambda r: (_natural(r.stratum), _natural(r.network))):
            found.setdefault(r.stratum, {}).setdefault(r.network, set()).add(r.seed)
        return {stratum: {n: sorted(seeds) for n, seeds in nets.items()} for stratum, nets in found.items()}

    def scores(self, name: str = "retained_test") -> Scores:
        """Lay one number of the results out as runs x tasks.

        Args:
            name: A numeric field of `Result`; other names raise.
        """
        if name not in (*_RESULT_NUMBERS, "collapsed"):
            raise ValueError(f"unknown number {name!r}; known: {', '.join((*_RESULT_NUMBERS, 'collapsed'))}")
        networks, policies = self.networks(), tuple(self.kinds)
        width = max((len(seeds) for nets in networks.values() for seeds in nets.values()), default=1)
        rows = max((len(nets) for nets in networks.values()), default=0) * width
        place = {  # a run is known by its network and seed within its stratum
            (stratum, network, seed): (w * width + s, k)
            for k, (stratum, nets) in enumerate(networks.items())
            for w, (network, seeds) in enumerate(nets.items())
            for s, seed in enumerate(seeds)
        }
        values = np.full((len(policies), len(self.budgets), rows, len(networks)), np.nan)
        p_of = {policy: p for p, policy in enumerate(policies)}
        b_of = {budget: b for b, budget in enumerate(self.budgets)}
        for r in self.results:
            number = getattr(r, name)
            values[p_of[r.policy], b_of[r.budget], *place[r.stratum, r.network, r.seed]] = (
                np.nan if number is None else float(number)
            )
        return Scores(policies, self.budgets, tuple(networks), values, width)

    def labels(self) -> dict[str, str]:
        """Policy -> a short name: the last parts of a path, as many as make it unlike the others."""
        parts = {p: p.removesuffix(".zip").replace("\\", "/").split("/") for p in self.kinds}
        labels = {}
        for policy, own in parts.items():
            others = [other for p, other in parts.items() if p != policy]
            length = 2
            while length < len(own) and any(other[-length:] == own[-length:] for other in others):
                length += 1
            labels[policy] = "/".join(own[-length:])
        taken = list(labels.values())
        return {policy: label if taken.count(label) == 1 else policy for policy, label in labels.items()}


def _natural(text: str) -> list[tuple[int, float, str]]:
    """A sorting key by which latent_dim=8 comes before latent_dim=16."""
    words = text.replace("=", " ").replace(",", " ").split()
    return [(0, float(w), "") if w.replace(".", "", 1).isdigit() else (1, 0.0, w) for w in words]
