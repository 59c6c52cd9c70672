"""A table of widths and times, measured once on a machine, and the latency that it predicts at any widths.

The network is cut at random to many sizes and each is timed in turn with the dense one. A sum with non-negative
coefficients is fitted to the times: a constant, the multiply-accumulates of every layer, and the width of every group
(memory moved, element by element). It grows with every width, as a budget needs, and is checked on further random
networks, which the fit has not seen.

Letters: G groups, L layers, N networks.
"""

from __future__ import annotations

import platform
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
import torch
from scipy.optimize import nnls

from prune_env.dense import Network
from prune_env.export.latency import time_calls
from prune_env.export.stages import shapes_of
from prune_env.groups import CostModel, Surgeon
from prune_env.groups.tracing.replica import copied
from prune_env.isolation import isolated
from prune_env.parallel import cores
from prune_env.storage import DamagedFileError, cache_folder, config_hash, locked, read_sealed, write_sealed

FITTED, CHECKED = 40, 12
"""How many random networks the fit has, and how many it is checked on."""
_SECONDS = 0.15  # that each of them is timed, together with the dense network
_REMEDY = "it is measured again"


@dataclass(frozen=True)
class LatencyTable:
    """Times of one network at many widths, on one machine.

    Attributes:
        groups: Names of the groups, [G].
        dense: Time of the dense network [s].
        widths: Of the measured networks, int [N][G]; the last `CHECKED` are those that the fit is checked on.
        times: Measured [s], [N].
        coefficients: Of the fit [s], [1 + L + G].
        machine: Where it was measured.
    """

    groups: list[str]
    dense: float
    widths: list[list[int]]
    times: list[float]
    coefficients: list[float]
    machine: dict[str, str]

    def predict(self, cost: CostModel, widths: np.ndarray) -> np.ndarray:
        """Latency at widths int [..., G], as a time [s], [...]."""
        return _features(cost, widths) @ np.asarray(self.coefficients)

    def errors(self, cost: CostModel) -> np.ndarray:
        """Relative errors on the networks that the fit has not seen, [`CHECKED`]."""
        widths, times = np.asarray(self.widths[-CHECKED:]), np.asarray(self.times[-CHECKED:])
        return self.predict(cost, widths) / times - 1.0


@isolated()
def latency_table(network: Network, again: bool = False) -> LatencyTable:
    """The table of a network on this machine: from the cache, or measured now and cached.

    Args:
        network: The network; it is left as it is, whatever was cut.
        again: Measure it in any case.
    """
    path = cache_folder() / "latency" / f"{config_hash(_key(network))}.json"
    with locked(path):
        if path.is_file() and not again:
            try:
                return LatencyTable(**read_sealed(path, _REMEDY))
            except (DamagedFileError, TypeError):
                pass
        table = measure_table(network)
        write_sealed(path, asdict(table))
    return table


def measure_table(network: Network, fitted: int = FITTED, checked: int = CHECKED) -> LatencyTable:
    """Measure a table now.

    Args:
        network: The network; it is left as it is.
        fitted: Networks that the fit has.
        checked: Networks that it is checked on.
    """
    train_state, target = network.train_state, network.train_state.target
    memory = train_state.snapshot()
    network.restore()
    dense, cut = copied(train_state.model).eval(), copied(train_state.model).eval()
    train_state.restore(memory)
    surgeon = Surgeon(cut, network.grouping)
    start, random = surgeon.snapshot(), np.random.default_rng(0)
    widths = [network.grouping.widths, *_random_widths(network, fitted + checked - 1, random)]
    ratios, denses = [], []
    for chosen in widths:
        surgeon.restore(start)
        surgeon.cut(_first_channels(network, chosen))
        reference, mine = time_calls([lambda: target.deploy(dense), lambda: target.deploy(cut)], _SECONDS)
        ratios.append(mine.median / reference.median)
        denses.append(reference.median)
    time = float(np.median(denses))
    times = np.array(ratios) * time  # what slows the machine for a while slows both that took turns
    features = _features(network.cost, np.array(widths[:fitted]))
    scale = np.maximum(features.max(0), 1.0)
    weighted = features / scale / times[:fitted, None]  # relative errors count
    coefficients = nnls(weighted, np.ones(fitted), maxiter=100 * weighted.shape[1])[0] / scale
    return LatencyTable(
        list(network.grouping.names), time, [w.tolist() for w in widths], times.tolist(), coefficients.tolist(),
        machine_facts(),
    )  # fmt: skip


def _features(cost: CostModel, widths: np.ndarray) -> np.ndarray:
    """What a time is a sum of, [..., 1 + L + G]."""
    widths = np.asarray(widths, dtype=np.float64)
    return np.concatenate([np.ones((*widths.shape[:-1], 1)), cost.macs_by_layer(widths), widths], axis=-1)


def _random_widths(network: Network, count: int, random: np.random.Generator) -> Sequence[np.ndarray]:
    """Widths of random networks: a depth that all groups share, and each group's own beside it, on a log scale."""
    full, least = network.grouping.widths, network.grouping.least
    found = []
    for _ in range(count):
        share = np.exp(np.log(0.05) * (0.7 * random.random() + 0.3 * random.random(len(full))))
        found.append(np.maximum(np.round(full * share), least).astype(np.int64).clip(max=full))
    return found


def _first_channels(network: Network, widths: np.ndarray) -> torch.Tensor:
    numbers = np.concatenate([np.arange(n) for n in network.grouping.widths])
    return torch.from_numpy(numbers < np.repeat(widths, network.grouping.widths))


def machine_facts() -> dict[str, str]:
    """What decides times besides the network."""
    device = platform.processor() or platform.machine()
    return {"node": platform.node(), "processor": device, "cores": str(cores()), "torch": torch.__version__}


def _key(network: Network) -> dict[str, Any]:
    train_state = network.train_state
    groups = [[g.name, g.channels, [[s.tensor, s.dim] for s in g.slices]] for g in network.grouping]
    dense = network.cost.dense
    return {
        "target": type(train_state.target).__qualname__,
        "groups": groups,
        "tensors": sorted(shapes_of(train_state.model)),
        "cost": [int(dense.parameters), int(dense.macs)],
        "device": str(train_state.target.device),
        "machine": machine_facts(),
    }
