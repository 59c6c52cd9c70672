"""torch_geometric: graph networks."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

import torch
import torch_geometric.nn as gnn
from torch import nn
from zoo import Trace, add, precision_of

EDGES = torch.tensor([[0, 1, 2, 3, 4, 5, 0, 2, 1], [1, 2, 3, 4, 5, 0, 3, 5, 4]])


def _graph(model: Callable[..., nn.Module], **options: Any) -> tuple[nn.Module, Trace]:
    nodes = torch.randn(6, 12, generator=torch.Generator().manual_seed(2))
    network = model(12, 32, 3, out_channels=4, **options)
    return network, lambda m: m(nodes.to(precision_of(m)), EDGES)


add("torch_geometric", "GAT", partial(_graph, gnn.GAT, heads=4), 0.8)
add("torch_geometric", "GCN", partial(_graph, gnn.GCN))
add("torch_geometric", "GIN", partial(_graph, gnn.GIN))
