"""Processor time of a cut of every second channel and of a reset [s], as JSON; the version on the path is measured."""

import itertools
import json
import sys
import time

import torch
from torch import nn

from prune_env.groups import Surgeon, discover

ROUNDS = 15


def chain(widths: list[int]) -> nn.Sequential:
    """Linear, BatchNorm1d, ReLU; the last layer is bare."""
    layers: list[nn.Module] = []
    for a, b in itertools.pairwise(widths[:-1]):
        layers += [nn.Linear(a, b), nn.BatchNorm1d(b), nn.ReLU()]
    return nn.Sequential(*layers, nn.Linear(widths[-2], widths[-1]))


def convolutions(widths: list[int]) -> nn.Sequential:
    """Conv2d, BatchNorm2d, ReLU, and a head."""
    layers: list[nn.Module] = []
    for a, b in itertools.pairwise(widths):
        layers += [nn.Conv2d(a, b, 3, padding=1), nn.BatchNorm2d(b), nn.ReLU()]
    return nn.Sequential(*layers, nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(widths[-1], 10))


def main(kind: str) -> None:
    """For every line of the input print the least times of some rounds, for the model alone and with Adam's state."""
    torch.set_num_threads(1)
    torch.manual_seed(0)
    make, widths, shape = {
        "autoencoder": (chain, [784, 652, 520, 388, 256, 388, 520, 652, 784], (2, 784)),
        "deep": (chain, [32] * 130, (2, 32)),
        "convolutions": (convolutions, [3, 64, 64, 128, 128, 256, 256], (1, 3, 16, 16)),
    }[kind]
    model, x = nn.Sequential(make(widths)), torch.randn(shape)
    grouping = discover(model.eval(), lambda m: m(x), ["0"], verify=False)
    optimizer = torch.optim.Adam(model.parameters())
    model(x).sum().backward()
    optimizer.step()
    keep = torch.cat([torch.arange(group.channels) % 2 == 0 for group in grouping])
    for _ in sys.stdin:
        result = {}
        for name, optimizers in {"model alone": [], "with Adam": [optimizer]}.items():
            surgeon = Surgeon(model, grouping, optimizers)
            dense, cuts, resets = surgeon.snapshot(), [], []
            for _ in range(ROUNDS):
                begun = time.process_time()
                surgeon.cut(keep)
                between = time.process_time()
                surgeon.restore(dense)
                cuts.append(between - begun)
                resets.append(time.process_time() - between)
            result |= {f"{name}, cut": min(cuts), f"{name}, reset": min(resets)}
        print(json.dumps(result), flush=True)


if __name__ == "__main__":
    main(sys.argv[1])
