"""Networks drawn at random, together with the groups that they must have.

A network is a list of steps over a growing list of wires. While it is drawn, every wire carries the numbers of its
channels, and what an addition or a shared layer makes equal is noted: that gives the expected groups by other means
than the package's own.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import torch
import torch.nn.functional as F  # noqa: N812
from hypothesis import strategies as st
from torch import Tensor, nn

FIXED = -1
MOST_CHANNELS = 16
"""Of a wire that is concatenated or flattened: without a bound, concatenations of such grow beyond all memory."""
Draw = Callable[[Any], Any]
Step = Callable[["RandomNetwork", list[Tensor]], Tensor]


class RandomNetwork(nn.Module):
    """Steps over wires; layers are found by name, so that a deep copy uses its own."""

    def __init__(self, components: int):
        super().__init__()
        for i in range(components):
            setattr(self, f"c{i}", nn.ModuleDict())
        self.steps: list[Step] = []
        self.outputs: list[int] = []

    def forward(self, *inputs: Tensor) -> list[Tensor]:
        wires = list(inputs)
        for step in self.steps:
            wires.append(step(self, wires))
        return [wires[i] for i in self.outputs]


@dataclass
class Wire:
    """The channels of one tensor, and the number of positions of each behind the channel dimension."""

    channels: list[int]
    space: tuple[int, ...] = ()
    used: bool = False


@dataclass
class Builder:
    """Draws a network step by step.

    Attributes:
        exact: Whether removing channels is the same as setting their weights to zero.
    """

    draw: Draw
    network: RandomNetwork
    wires: list[Wire] = field(default_factory=list)
    parent: dict[int, int] = field(default_factory=dict)
    slots: list[tuple[str, str, list[int]]] = field(default_factory=list)
    layers: dict[str, tuple[str, list[int], list[int]]] = field(default_factory=dict)
    exact: bool = True

    # ------------------------------------------------------------------ channels
    def fresh(self, count: int) -> list[int]:
        start = len(self.parent)
        self.parent.update({i: i for i in range(start, start + count)})
        return list(range(start, start + count))

    def find(self, channel: int) -> int:
        while channel != FIXED and self.parent[channel] != channel:
            channel = self.parent[channel]
        return channel

    def unite(self, one: list[int], other: list[int]) -> None:
        for a, b in zip(one, other, strict=True):
            low, high = sorted((self.find(a), self.find(b)))
            if high != FIXED:
                self.parent[high] = low

    def expected(self) -> Counter[tuple[tuple[str, ...], int]]:
        """How often a prunable group with these members and so many channels must occur."""
        signature: dict[int, Counter[tuple[str, str]]] = {}
        for name, role, channels in self.slots:
            for channel in channels:
                signature.setdefault(self.find(channel), Counter())[name, role] += 1
        signature.pop(FIXED, None)
        sizes = Counter(frozenset(slots.items()) for slots in signature.values())
        return Counter(
            (tuple(sorted({self.member(name) for (name, _), _ in slots})), size)
            for slots, size in sizes.items()
            if size > 1
        )

    def member(self, name: str) -> str:
        """The layer, or for a bare parameter the module that holds it."""
        component, attribute = name.split(".")
        return component if attribute in getattr(self.network, component)._parameters else name

    # ------------------------------------------------------------------ layers
    def add(self, step: Step, channels: list[int], space: tuple[int, ...] = ()) -> int:
        self.network.steps.append(step)
        self.wires.append(Wire(channels, space))
        return len(self.wires) - 1

    def place(self, layer: nn.Module | nn.Parameter) -> str:
        component = self.draw(st.sampled_from([name for name, _ in self.network.named_children()]))
        name = f"l{len(self.slots)}"
        getattr(self.network, component).__setattr__(name, layer)
        return f"{component}.{name}"

    def producer(self, at: int, width: int, make: Callable[[int, int], nn.Module], *, inputs: list[int]) -> int:
        name = self.place(make(len(inputs), width))
        outputs = self.fresh(width)
        self.slots += [(name, "in", inputs), (name, "out", outputs)]
        self.layers[name] = (type(self.network.get_submodule(name)).__name__, inputs, outputs)
        return self.add(lambda m, w: m.get_submodule(name)(w[at]), outputs, self.wires[at].space)

    def through(self, at: int, layer: nn.Module) -> int:
        """A layer that scales every channel by parameters of its own."""
        name = self.place(layer)
        self.slots.append((name, "out", self.wires[at].channels))
        return self.add(lambda m, w: m.get_submodule(name)(w[at]), self.wires[at].channels, self.wires[at].space)

    def weighted(self, at: int, width: int) -> int:
        """A Linear or a convolution."""
        wire = self.wires[at]
        if not wire.space:
            return self.producer(at, width, nn.Linear, inputs=wire.channels)
        kernel = self.draw(st.sampled_from([1, 3]))
        make = lambda a, b: nn.Conv2d(a, b, kernel, padding=kernel // 2)  # noqa: E731
        return self.producer(at, width, make, inputs=wire.channels)

    # ------------------------------------------------------------------ steps
    def pick(self, accept: Callable[[Wire], bool] = lambda wire: True) -> int | None:
        """One of the wires, rather a late and an unused one."""
        fit = [i for i, wire in enumerate(self.wires) if accept(wire)]
        if not fit:
            return None
        at = fit[-1 - self.draw(st.integers(0, len(fit) - 1))]
        self.wires[at].used = True
        return at

    def partner(self, at: int) -> int:
        """A wire of the same shape, if need be a new one."""
        wire = self.wires[at]
        fit = [i for i, w in enumerate(self.wires) if (len(w.channels), w.space) == (len(wire.channels), wire.space)]
        other = fit[self.draw(st.integers(0, len(fit) - 1))]
        if other == at:
            other = self.weighted(at, len(wire.channels))
        self.wires[other].used = True
        return other

    def step(self) -> None:
        kind = self.draw(st.sampled_from(sorted(STEPS)))
        STEPS[kind](self)

    def finish(self) -> None:
        """Whatever is still unused gets a head, or is an output itself."""
        for at in [i for i, wire in enumerate(self.wires) if not wire.used]:
            if self.draw(st.integers(0, 5)):
                at = self.weighted(at, 3)
            self.unite(self.wires[at].channels, [FIXED] * len(self.wires[at].channels))
            self.network.outputs.append(at)


def _weighted(b: Builder) -> None:
    at = b.pick()
    b.weighted(at, b.draw(st.integers(2, 6)))


def _activation(b: Builder) -> None:
    at, wire = b.pick(), b.wires
    function = b.draw(st.sampled_from([torch.relu, torch.tanh, torch.sigmoid, F.gelu]))
    b.add(lambda m, w: function(w[at]), wire[at].channels, wire[at].space)


def _batch_norm(b: Builder) -> None:
    at = b.pick()
    width = len(b.wires[at].channels)
    b.through(at, nn.BatchNorm2d(width) if b.wires[at].space else nn.BatchNorm1d(width))


def _layer_norm(b: Builder) -> None:
    at = b.pick(lambda wire: not wire.space)
    b.through(at, nn.LayerNorm(len(b.wires[at].channels)))
    b.exact = False


def _prelu(b: Builder) -> None:
    at = b.pick()
    b.through(at, nn.PReLU(len(b.wires[at].channels)))


def _depthwise(b: Builder) -> None:
    at = b.pick(lambda wire: bool(wire.space))
    if at is not None:
        width = len(b.wires[at].channels)
        b.through(at, nn.Conv2d(width, width, 3, padding=1, groups=width))


def _vector(b: Builder) -> None:
    at = b.pick(lambda wire: not wire.space)
    name = b.place(nn.Parameter(torch.randn(len(b.wires[at].channels))))
    component, attribute = name.split(".")
    b.slots.append((name, "out", b.wires[at].channels))
    b.add(lambda m, w: w[at] * getattr(getattr(m, component), attribute), b.wires[at].channels)


def _pair(function: Callable[[Tensor, Tensor], Tensor]) -> Callable[[Builder], None]:
    def step(b: Builder) -> None:
        at = b.pick()
        other = b.partner(at)
        b.unite(b.wires[at].channels, b.wires[other].channels)
        b.add(lambda m, w: function(w[at], w[other]), b.wires[at].channels, b.wires[at].space)

    return step


def _concatenation(b: Builder) -> None:
    at = b.pick(narrow)
    if at is not None:
        space = b.wires[at].space
        more = b.draw(st.integers(1, 2))
        others = [b.pick(lambda wire: narrow(wire) and wire.space == space) for _ in range(more)]
        parts = b.draw(st.permutations([at, *others]))
        b.add(lambda m, w: torch.cat([w[i] for i in parts], 1), [c for i in parts for c in b.wires[i].channels], space)


def narrow(wire: Wire) -> bool:
    return len(wire.channels) <= MOST_CHANNELS


def _again(b: Builder) -> None:
    """A layer is used a second time, on another wire that fits or on its own output."""
    options = [
        (name, i)
        for name, (_, inputs, _) in b.layers.items()
        for i, wire in enumerate(b.wires)
        if len(wire.channels) == len(inputs) and bool(wire.space) == ("Conv" in b.layers[name][0])
    ]
    if options:
        name, at = b.draw(st.sampled_from(options))
        _, inputs, outputs = b.layers[name]
        b.wires[at].used = True
        b.unite(b.wires[at].channels, inputs)
        b.add(lambda m, w: m.get_submodule(name)(w[at]), outputs, b.wires[at].space)


def _gated_halves(b: Builder) -> None:
    at = b.pick()
    at = b.weighted(at, 2 * b.draw(st.integers(2, 3)))
    b.wires[at].used = True
    channels = b.wires[at].channels
    half = len(channels) // 2
    b.unite(channels[:half], channels[half:])
    b.add(lambda m, w: (h := w[at].chunk(2, 1))[0] * h[1].sigmoid(), channels[:half], b.wires[at].space)


def _flatten(b: Builder) -> None:
    at = b.pick(lambda wire: bool(wire.space) and narrow(wire))
    if at is not None:
        size = b.wires[at].space[0] * b.wires[at].space[1]
        b.add(lambda m, w: w[at].flatten(1), [c for c in b.wires[at].channels for _ in range(size)])


def _pool(b: Builder) -> None:
    at = b.pick(lambda wire: bool(wire.space))
    if at is not None:
        b.add(lambda m, w: w[at].mean((2, 3)), b.wires[at].channels)


def _excite(b: Builder) -> None:
    """Squeeze and excite: a gate for each channel, computed from all of them."""
    at = b.pick(lambda wire: bool(wire.space))
    if at is not None:
        wire = b.wires[at]
        mean = b.add(lambda m, w: w[at].mean((2, 3)), wire.channels)
        gate = b.weighted(b.weighted(mean, 2), len(wire.channels))
        for i in (mean, gate - 1, gate):
            b.wires[i].used = True
        b.unite(wire.channels, b.wires[gate].channels)
        b.add(lambda m, w: w[at] * w[gate].sigmoid()[:, :, None, None], wire.channels, wire.space)


def _detached(b: Builder) -> None:
    at = b.pick()
    b.add(lambda m, w: w[at].detach(), b.wires[at].channels, b.wires[at].space)


STEPS: dict[str, Callable[[Builder], None]] = {
    "weighted": _weighted,
    "weighted too": _weighted,
    "activation": _activation,
    "batch norm": _batch_norm,
    "layer norm": _layer_norm,
    "prelu": _prelu,
    "depthwise": _depthwise,
    "bare vector": _vector,
    "residual": _pair(torch.add),
    "gate": _pair(torch.mul),
    "concatenation": _concatenation,
    "recurrence": _again,
    "gated halves": _gated_halves,
    "flatten": _flatten,
    "pool": _pool,
    "squeeze-excite": _excite,
    "detached": _detached,
}


@dataclass(frozen=True)
class Drawn:
    """A network, the shapes of its inputs and what is expected of it."""

    network: RandomNetwork
    shapes: list[tuple[int, ...]]
    expected: Counter[tuple[tuple[str, ...], int]]
    exact: bool

    @property
    def components(self) -> tuple[str, ...]:
        return tuple(name for name, _ in self.network.named_children())

    def trace(self, model: nn.Module) -> Any:
        return model(*(torch.zeros(shape) for shape in self.shapes))


@st.composite
def networks(draw: Draw, most: int = 12) -> Drawn:
    """A network of up to `most` steps in two to four components, from flat inputs and an image."""
    torch.manual_seed(draw(st.integers(0, 2**16)))
    builder = Builder(draw, RandomNetwork(draw(st.integers(2, 4))))
    shapes: list[tuple[int, ...]] = [(2, 4), (2, 2)] + [(2, 3, 4, 4)] * draw(st.booleans())
    builder.wires += [Wire([FIXED] * shape[1], shape[2:]) for shape in shapes]
    _weighted(builder)
    for _ in range(draw(st.integers(3, most))):
        builder.step()
    builder.finish()
    with torch.no_grad():
        for tensor in [*builder.network.parameters(), *builder.network.buffers()]:
            if tensor.is_floating_point():
                positive = bool((tensor > 0).all())
                tensor.copy_(0.5 + torch.rand_like(tensor) if positive else tensor + 0.3 * torch.randn_like(tensor))
    return Drawn(builder.network.eval(), shapes, builder.expected(), builder.exact)
