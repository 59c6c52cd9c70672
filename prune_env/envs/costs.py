"""What a network costs, by name: what budgets count, sparsities are shares of, and objectives may ask for.

An entry of `COSTS` makes, for one dense network, a function from widths int [..., G] to costs [...]. It is called once
for each network, so it may measure something first.

Letters: G groups.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from prune_env.dense import Network
from prune_env.export.latency_table import latency_table
from prune_env.open_sets import add

CostFunction = Callable[[np.ndarray], Any]


def parameters(network: Network) -> CostFunction:
    """Parameters, exactly as counted on the cut network."""
    return lambda widths: network.cost(widths).parameters


def macs(network: Network) -> CostFunction:
    """Multiply-accumulates of one sample through what is deployed, exactly as counted on the cut network."""
    return lambda widths: network.cost(widths).macs


def latency(network: Network) -> CostFunction:
    """Latency of what is deployed, one sample on one thread of this machine [us], by a table measured once.

    It is rounded to a nanosecond.
    """
    table = latency_table(network)
    return lambda widths: np.round(1e6 * table.predict(network.cost, widths), 3)


PICOJOULES = {"mac": 4.6, "dram": 640.0, "sram": 5.0}
"""Energy of a 32-bit multiply-accumulate and of moving a 32-bit word [pJ], in 45 nm (Horowitz 2014; Han et al. 2015,
arXiv 1506.02626, table 1)."""


def energy(network: Network) -> CostFunction:
    """A proxy for the energy of one sample [nJ]: multiply-accumulates, and 32-bit words moved.

    4.6 pJ for each multiply-accumulate, 640 pJ for each parameter, read once from DRAM, and 2 x 5 pJ for each number
    that a layer computes, written to on-chip memory and read once. Nothing is measured, and no machine works like
    that; it says that moving weights costs more than using them (Yang et al. 2017, arXiv 1611.05128).
    """
    prices = PICOJOULES

    def predict(widths: np.ndarray) -> Any:
        cost = network.cost(widths)
        moved = prices["dram"] * cost.parameters + 2 * prices["sram"] * network.cost.activations(widths)
        return (prices["mac"] * cost.macs + moved) / 1e3

    return predict


COSTS: dict[str, Callable[[Network], CostFunction]] = {"parameters": parameters, "macs": macs}
"""Name -> cost of any network; all of them are known in every episode."""
MEASURED_COSTS: dict[str, Callable[[Network], CostFunction]] = {"latency": latency, "energy": energy}
"""Name -> cost that takes time to measure, or stands for one that does; it is known in episodes whose budget or
objective asks for it."""


def register_cost(name: str, cost: Callable[[Network], CostFunction]) -> None:
    """Make a cost known under a name.

    Raises:
        ValueError: If the name is taken.
    """
    add("cost", name, cost, COSTS)


def sparsity_name(cost: str) -> str:
    """What a sparsity is called in `info["reward_terms"]`: "sparsity" of the parameters, "sparsity_macs", ..."""
    return "sparsity" if cost == "parameters" else f"sparsity_{cost}"
