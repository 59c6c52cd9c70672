"""Discovery, cutting and restoring against torch-pruning, side by side in one run: `make perf`."""

from __future__ import annotations

import copy
import itertools
import resource
import time
import warnings
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import torch
import torch.nn.functional as F  # noqa: N812
import torch_pruning as tp
from torch import Tensor, nn

from prune_env.groups import CostModel, Grouping, Surgeon, discover

pytestmark = pytest.mark.perf


# ---------------------------------------------------------------- networks
class Autoencoder(nn.Module):
    """The paper's: 784-652-520-388-256 and back."""

    def __init__(self) -> None:
        super().__init__()
        widths = [784, 652, 520, 388, 256]
        self.encoder, self.decoder = self.chain(widths), self.chain(widths[::-1])

    @staticmethod
    def chain(widths: list[int]) -> nn.Sequential:
        layers: list[nn.Module] = []
        for a, b in itertools.pairwise(widths[:-1]):
            layers += [nn.Linear(a, b), nn.BatchNorm1d(b), nn.ReLU()]
        return nn.Sequential(*layers, nn.Linear(widths[-2], widths[-1]))

    def forward(self, x: Tensor) -> Tensor:
        return self.decoder(self.encoder(x)).sigmoid()


class Controller(nn.Module):
    """The shape of TD-MPC from pixels: 1,548,360 parameters, every part reads the latent state."""

    def __init__(self) -> None:
        super().__init__()
        convolutions = [
            nn.Conv2d(9, 32, 7, 2),
            nn.Conv2d(32, 32, 5, 2),
            nn.Conv2d(32, 32, 3, 2),
            nn.Conv2d(32, 32, 3, 2),
        ]
        self.encoder = nn.Sequential(
            *(m for c in convolutions for m in (c, nn.ReLU())), nn.Flatten(), nn.Linear(288, 50)
        )
        self.dynamics, self.reward, self.pi = self.mlp(51, 50), self.mlp(51, 1), self.mlp(50, 1)
        self.q1, self.q2 = self.mlp(51, 1, norm=True), self.mlp(51, 1, norm=True)

    @staticmethod
    def mlp(inputs: int, outputs: int, norm: bool = False) -> nn.Sequential:
        first = [nn.Linear(inputs, 512), nn.LayerNorm(512), nn.Tanh()] if norm else [nn.Linear(inputs, 512), nn.ELU()]
        return nn.Sequential(*first, nn.Linear(512, 512), nn.ELU(), nn.Linear(512, outputs))

    def forward(self, pixels: Tensor, action: Tensor) -> list[Tensor]:
        z, outputs = self.encoder(pixels), []
        for _ in range(2):
            za = torch.cat([z, action], -1)
            outputs += [self.reward(za), self.pi(z), self.q1(za), self.q2(za)]
            z = self.dynamics(za)
        return outputs


class Block(nn.Module):
    def __init__(self, a: int, b: int, stride: int):
        super().__init__()
        self.c1, self.n1 = nn.Conv2d(a, b, 3, stride, 1, bias=False), nn.BatchNorm2d(b)
        self.c2, self.n2 = nn.Conv2d(b, b, 3, 1, 1, bias=False), nn.BatchNorm2d(b)
        projection = nn.Sequential(nn.Conv2d(a, b, 1, stride, bias=False), nn.BatchNorm2d(b))
        self.short = projection if a != b else nn.Identity()

    def forward(self, x: Tensor) -> Tensor:
        return F.relu(self.n2(self.c2(F.relu(self.n1(self.c1(x))))) + self.short(x))


class ResNet(nn.Module):
    def __init__(self, widths: tuple[int, ...], blocks: int):
        super().__init__()
        self.stem = nn.Sequential(nn.Conv2d(3, widths[0], 3, 1, 1, bias=False), nn.BatchNorm2d(widths[0]), nn.ReLU())
        ins = [widths[0], *(w for w in widths for _ in range(blocks))]
        self.body = nn.Sequential(*(Block(a, b, 1 if a == b else 2) for a, b in itertools.pairwise(ins)))
        self.head = nn.Linear(widths[-1], 10)

    def forward(self, x: Tensor) -> Tensor:
        return self.head(self.body(self.stem(x)).mean((2, 3)))


class Deep(nn.Module):
    def __init__(self, depth: int, width: int = 32):
        super().__init__()
        self.body = nn.Sequential(*(m for _ in range(depth - 1) for m in (nn.Linear(width, width), nn.ReLU())))
        self.head = nn.Linear(width, width)

    def forward(self, x: Tensor) -> Tensor:
        return self.head(self.body(x))


NETWORKS: dict[str, tuple[Callable[[], nn.Module], list[tuple[int, ...]]]] = {
    "paper autoencoder, 2.3 M": (Autoencoder, [(1, 784)]),
    "TD-MPC from pixels, 1.5 M": (Controller, [(1, 9, 84, 84), (1, 1)]),
    "ResNet-18, 11 M": (lambda: ResNet((64, 128, 256, 512), 2), [(1, 3, 32, 32)]),
    "ResNet-56, 0.9 M": (lambda: ResNet((16, 32, 64), 9), [(1, 3, 32, 32)]),
}


# ---------------------------------------------------------------- opponents
@dataclass
class Arena:
    """One network with everything that is timed."""

    model: nn.Module
    inputs: list[Tensor]
    grouping: Grouping

    @classmethod
    def of(cls, name: str) -> Arena:
        make, shapes = NETWORKS[name]
        return cls.around(make(), shapes)

    @classmethod
    def around(cls, model: nn.Module, shapes: list[tuple[int, ...]]) -> Arena:
        inputs = [torch.randn(shape) for shape in shapes]
        return cls(model, inputs, discover(model, lambda m: m(*inputs), cls.components(model)))

    @staticmethod
    def components(model: nn.Module) -> tuple[str, ...]:
        return tuple(name for name, _ in model.named_children())

    def trace(self, model: nn.Module) -> Any:
        return model(*self.inputs)

    def keep(self, groups: slice = slice(None)) -> Tensor:
        """Every second channel of the groups goes, none of the others."""
        masks = [torch.ones(group.channels, dtype=torch.bool) for group in self.grouping]
        for mask in masks[groups]:
            mask[1::2] = False
        return torch.cat(masks)

    def torch_pruning(self, groups: slice = slice(None)) -> None:
        """What it takes to cut a copy of the dense network with torch-pruning."""
        model = copy.deepcopy(self.model)
        graph = self.torch_pruning_build(model)
        for group in self.grouping.groups[groups]:
            layer = model.get_submodule(group.root)
            gone = group.root_slices[0].positions[1::2].ravel().tolist()
            graph.get_pruning_group(layer, graph.get_pruner_of_module(layer).prune_out_channels, gone).prune()

    def torch_pruning_build(self, model: nn.Module | None = None) -> tp.DependencyGraph:
        model = model or self.model
        return tp.DependencyGraph().build_dependency(
            model, self.inputs[0], forward_fn=lambda m, _: self.trace(m), verbose=False
        )


def seconds(run: Callable[[], Any], rounds: int, before: Callable[[], Any] = lambda: None) -> float:
    """Median time of a call [s]; `before` puts things back and is not timed."""
    times = []
    for _ in range(rounds):
        before()
        begun = time.perf_counter()
        run()
        times.append(time.perf_counter() - begun)
    return sorted(times)[rounds // 2]


def adam_with_state(model: nn.Module) -> torch.optim.Optimizer:
    optimizer = torch.optim.Adam(model.parameters())
    for parameter in model.parameters():
        parameter.grad = torch.zeros_like(parameter)
    optimizer.step()
    optimizer.zero_grad()
    return optimizer


# ---------------------------------------------------------------- the contest
@pytest.mark.parametrize("name", NETWORKS)
def test_cut_and_restore_against_torch_pruning(name: str) -> None:
    warnings.simplefilter("ignore")
    arena = Arena.of(name)
    build_ours = seconds(lambda: discover(arena.model, arena.trace, arena.components(arena.model)), 3)
    build_unproved = seconds(lambda: discover(arena.model, arena.trace, arena.components(arena.model), verify=False), 3)
    build_theirs = seconds(lambda: list(arena.torch_pruning_build().get_all_groups()), 3)
    theirs = seconds(arena.torch_pruning, 5)
    theirs_one = seconds(lambda: arena.torch_pruning(slice(1, 2)), 5)
    copying = seconds(lambda: copy.deepcopy(arena.model), 5)
    ours = {}
    for kind, optimizers in {"model alone": [], "with Adam": [adam_with_state(arena.model)]}.items():
        surgeon = Surgeon(arena.model, arena.grouping, optimizers)
        dense, every, one = surgeon.snapshot(), arena.keep(), arena.keep(slice(1, 2))
        back = lambda s=surgeon, d=dense: s.restore(d)  # noqa: E731
        ours[kind] = (
            seconds(lambda s=surgeon, k=every: s.cut(k), 15, back),
            seconds(lambda s=surgeon, k=one: s.cut(k), 15, back),
            seconds(back, 15),
        )
    print(f"\n{name}: {len(arena.grouping)} groups")
    print(
        f"  discovery {1e3 * build_ours:8.1f} ms ({1e3 * build_unproved:.1f} ms without proofs); "
        f"torch-pruning's graph and groups {1e3 * build_theirs:.1f} ms"
    )
    for kind, (cut, cut_one, restore) in ours.items():
        print(
            f"  {kind:11s}: full cut {1e3 * cut:6.2f} ms ({theirs / cut:5.1f} x), one group {1e3 * cut_one:6.2f} ms "
            f"({theirs_one / cut_one:5.1f} x), reset {1e3 * restore:6.2f} ms"
        )
    print(
        f"  torch-pruning, copy + build + prune: full cut {1e3 * theirs:.1f} ms, one group {1e3 * theirs_one:.1f} ms; "
        f"a copy alone {1e3 * copying:.1f} ms"
    )
    assert theirs / ours["model alone"][0] >= 5
    assert theirs_one / ours["model alone"][1] >= 5


def test_growth_with_depth() -> None:
    """Following channels is linear in depth; the proof by permutation has the logarithm of the groups in addition."""
    warnings.simplefilter("ignore")
    print("\ndepth   follow    discover   cut + restore   torch-pruning: build   copy + build + prune  [ms]")
    rows = {}
    for depth in (4, 16, 64, 256):
        arena = Arena.around(Deep(depth), [(1, 32)])
        surgeon = Surgeon(arena.model, arena.grouping)
        dense, keep = surgeon.snapshot(), arena.keep()
        rounds = 9 if depth < 64 else 3
        rows[depth] = [
            1e3 * seconds(run, rounds)
            for run in (
                lambda: CostModel(arena.model, arena.grouping, arena.trace),  # noqa: B023
                lambda: discover(arena.model, arena.trace, ("body", "head")),  # noqa: B023
                lambda: (surgeon.cut(keep), surgeon.restore(dense)),  # noqa: B023
                lambda: list(arena.torch_pruning_build().get_all_groups()),  # noqa: B023
                arena.torch_pruning,
            )
        ]
        print(f"{depth:5d}  " + "  ".join(f"{ms:11.2f}" for ms in rows[depth]))
    follow, discovery, surgery, build, prune = (rows[256][i] / rows[64][i] for i in range(5))
    print(f"64 to 256 layers: x {follow:.1f}, {discovery:.1f}, {surgery:.1f}; torch-pruning x {build:.1f}, {prune:.1f}")
    assert follow < 4 * 1.6
    assert surgery < 4 * 1.6
    assert discovery < 4 * (17 / 13) * 1.6


@pytest.mark.skipif(not Path("/proc/self/statm").exists(), reason="resident memory is read from /proc")
def test_peak_memory_over_two_thousand_cycles() -> None:
    """Resident memory is read in every cycle: the peak that the system keeps would be that of the tests before."""
    arena = Arena.of("TD-MPC from pixels, 1.5 M")
    surgeon = Surgeon(arena.model, arena.grouping, [adam_with_state(arena.model)])
    dense, generator = surgeon.snapshot(), torch.Generator().manual_seed(0)
    first = torch.cat([torch.arange(group.channels) == 0 for group in arena.grouping])
    resident = []
    for _ in range(2000):
        surgeon.cut(first | (torch.rand(len(first), generator=generator) < 0.7))
        resident.append(resident_memory())
        surgeon.restore(dense)
        resident.append(resident_memory())
    early, late = max(resident[:200]), max(resident[200:])
    print(f"\npeak memory in cycles 1-100 of cut and reset: {early:.1f} MiB, in cycles 101-2,000: {late:.1f} MiB")
    assert late - early < 0.02 * early


def resident_memory() -> float:
    """Resident memory of this process [MiB]."""
    pages = int(Path("/proc/self/statm").read_text().split()[1])
    return pages * resource.getpagesize() / 2**20
