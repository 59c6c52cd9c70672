"""Networks drawn at random, together with the groups that they must have.

A network is a list of steps over a growing list of wires. While it is drawn, every wire carries the numbers of its
channels, and what an addition, a shared layer or a split into equal parts makes equal is noted: that gives the expected
groups, and what a cut network must compute, by other means than the package's own.
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
Kept = list[list[int]]
"""Positions that stay, of every wire."""
Reference = Callable[["RandomNetwork", list[Tensor], "Cut"], Tensor]


class RandomNetwork(nn.Module):
    """Steps over wires; layers are found by name, so that a deep copy uses its own."""

    def __init__(self, components: int):
        super().__init__()
        for i in range(components):
            setattr(self, f"c{i}", nn.ModuleDict())
        self.steps: list[Step] = []
        self.references: list[Reference | None] = []
        self.outputs: list[int] = []
        self.still = False
        """Whether noise is constant, so that two networks can be compared."""

    def forward(self, *inputs: Tensor) -> list[Tensor]:
        wires = list(inputs)
        for step in self.steps:
            wires.append(step(self, wires))
        return [wires[i] for i in self.outputs]

    def reference(self, inputs: list[Tensor], cut: Cut) -> list[Tensor]:
        """What the network computes on the channels that stay, step by step, from the dense weights."""
        wires = list(inputs)
        for step, reference in zip(self.steps, self.references, strict=True):
            wires.append(step(self, wires) if reference is None else reference(self, wires, cut))
        return [wires[i] for i in self.outputs]

    def noise(self, like: Tensor) -> Tensor:
        return torch.full_like(like, 0.5) if self.still else torch.randn_like(like)


@dataclass
class Wire:
    """The channels of one tensor, and the number of positions of each behind the channel dimension."""

    channels: list[int]
    space: tuple[int, ...] = ()
    used: bool = False


class Cut:
    """Which channels stay."""

    def __init__(self, builder: Builder, removed: set[int]):
        self._builder, self._removed = builder, removed

    def stay(self, channels: list[int]) -> Tensor:
        """Positions of the channels that stay, int64 [n]."""
        return torch.tensor(
            [i for i, c in enumerate(channels) if self._builder.find(c) not in self._removed], dtype=torch.long
        )


@dataclass
class Builder:
    """Draws a network step by step.

    Attributes:
        exact: Whether removing channels is the same as setting their weights to zero.
        sure: Whether all groups must be found; others may be locked instead.
    """

    draw: Draw
    network: RandomNetwork
    wires: list[Wire] = field(default_factory=list)
    parent: dict[int, int] = field(default_factory=dict)
    slots: list[tuple[str, str, list[int]]] = field(default_factory=list)
    layers: dict[str, tuple[str, list[int], list[int]]] = field(default_factory=dict)
    exact: bool = True
    sure: bool = True

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
    def add(
        self, step: Step, channels: list[int], space: tuple[int, ...] = (), reference: Reference | None = None
    ) -> int:
        """A step; without `reference` it computes the same on fewer channels."""
        self.network.steps.append(step)
        self.network.references.append(reference)
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
        return self.call(name, at, inputs, outputs)

    def call(self, name: str, at: int, inputs: list[int], outputs: list[int]) -> int:
        """A layer that sums over its inputs."""

        def reference(m: RandomNetwork, w: list[Tensor], cut: Cut) -> Tensor:
            return weighted_sum(m.get_submodule(name), w[at], cut.stay(inputs), cut.stay(outputs))

        return self.add(lambda m, w: m.get_submodule(name)(w[at]), outputs, self.wires[at].space, reference)

    def through(self, at: int, layer: nn.Module) -> int:
        """A layer that scales every channel by parameters of its own."""
        name = self.place(layer)
        channels = self.wires[at].channels
        self.slots.append((name, "out", channels))

        def reference(m: RandomNetwork, w: list[Tensor], cut: Cut) -> Tensor:
            return scaled(m.get_submodule(name), w[at], cut.stay(channels))

        return self.add(lambda m, w: m.get_submodule(name)(w[at]), channels, self.wires[at].space, reference)

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
            channels, space = self.wires[at].channels, self.wires[at].space
            self.unite(channels, [FIXED] * len(channels))
            if not self.draw(st.integers(0, 3)):
                at = self.add(masked_output(self.draw(st.sampled_from(FILLS)), at), channels, space)
            self.network.outputs.append(at)


FILLS = (-1e8, -torch.inf, torch.finfo(torch.float32).min)


def masked_output(fill: float, at: int) -> Step:
    """An output whose first channel is masked, as illegal actions are."""
    return lambda m, w: torch.cat([torch.full_like(w[at][:, :1], fill), w[at][:, 1:]], 1)


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
    channels = b.wires[at].channels
    b.slots.append((name, "out", channels))
    b.add(
        lambda m, w: w[at] * getattr(getattr(m, component), attribute),
        channels,
        reference=lambda m, w, cut: w[at] * getattr(getattr(m, component), attribute)[cut.stay(channels)],
    )


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
        b.call(name, at, inputs, outputs)


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


def _noise(b: Builder) -> None:
    """Dropout, a mask, or noise whose size depends on the network."""
    at = b.pick()
    kinds: list[Step] = [
        lambda m, w: F.dropout(w[at], 0.3, m.training and not m.still),
        lambda m, w: w[at] * (1 + 0.1 * m.noise(w[at])),
        lambda m, w: w[at] + m.noise(w[at]) * w[at].tanh(),
        lambda m, w: w[at] * (1 if m.still else torch.bernoulli(torch.full_like(w[at], 0.7))),
    ]
    b.add(b.draw(st.sampled_from(kinds)), b.wires[at].channels, b.wires[at].space)
    b.exact = False  # the masked network of other tests is not held still


def _normalised(b: Builder) -> None:
    """A normalisation by hand, with the unbiased deviation, the variance or the mean square."""
    at = b.pick(lambda wire: FIXED not in map(b.find, wire.channels))
    if at is None:
        return
    kinds: list[Step] = [
        lambda m, w: (w[at] - w[at].mean(1, keepdim=True)) / (w[at].std(1, keepdim=True) + 1e-3),
        lambda m, w: w[at] * (w[at].var(1, keepdim=True) + 1e-3).rsqrt(),
        lambda m, w: w[at] / (w[at].square().mean(1, keepdim=True) + 1e-3).sqrt(),
        lambda m, w: w[at] / (w[at].abs().sum(1, keepdim=True) / w[at].shape[1] + 1e-3),
        lambda m, w: w[at].softmax(1),
    ]
    kind = b.draw(st.sampled_from(kinds))
    if kind in kinds[:2] and len(b.wires[at].channels) == 2:  # unbiased: not finite with one channel, so both must stay
        b.sure = False
    b.add(kind, b.wires[at].channels, b.wires[at].space)
    b.exact = False


def _split(b: Builder, least: int = 2) -> tuple[int, int, bool]:
    """A layer whose channels are split in parts: its wire, their number or size, and whether the number is fixed.

    Args:
        b: The builder.
        least: Least size of a part.
    """
    parts, size = b.draw(st.integers(2, 4)), b.draw(st.integers(least, 4))
    fixed = b.draw(st.booleans())
    at = b.weighted(b.pick(), parts * size)
    b.wires[at].used = True
    table = [b.wires[at].channels[i * size : (i + 1) * size] for i in range(parts)]
    if fixed:  # every part loses the same positions
        for part in table[1:]:
            b.unite(table[0], part)
    else:  # the size is fixed, so parts go as a whole
        for part in table:
            b.unite([part[0]] * (size - 1), part[1:])
    return at, (parts if fixed else size), fixed


def viewed(x: Tensor, number: int, fixed: bool) -> Tensor:
    """[B, parts, size, ...]"""
    width = x.shape[1]
    return x.view(len(x), number, width // number, *x.shape[2:]) if fixed else x.view(len(x), -1, number, *x.shape[2:])


def _shuffle(b: Builder) -> None:
    at, number, fixed = _split(b, least=3)  # of two parts of two, one may go as a whole: what is left is in order
    channels = b.wires[at].channels
    size = len(channels) // number if fixed else number
    order = [channels[i] for j in range(size) for i in range(j, len(channels), size)]
    b.add(lambda m, w: viewed(w[at], number, fixed).transpose(1, 2).reshape(w[at].shape), order, b.wires[at].space)


def _simplices(b: Builder) -> None:
    """Softmax within each part, as in categorical latents."""
    at, number, fixed = _split(b)
    b.exact &= not fixed
    b.add(
        lambda m, w: viewed(w[at], number, fixed).softmax(2).reshape(w[at].shape),
        b.wires[at].channels,
        b.wires[at].space,
    )


def _attention(b: Builder) -> None:
    """Attention over the pixels of an image, with one head or more."""
    at = b.pick(lambda wire: bool(wire.space))
    if at is None:
        return
    heads, size, causal = b.draw(st.integers(1, 3)), b.draw(st.integers(2, 3)), b.draw(st.booleans())
    fixed = heads == 1 or b.draw(st.booleans())
    query, key, value = (b.producer(at, heads * size, pointwise_conv, inputs=b.wires[at].channels) for _ in range(3))
    of_query, of_key, of_value = (b.wires[i].channels for i in (query, key, value))
    b.unite(of_query, of_key)
    if fixed:
        for i in range(1, heads):
            for of in (of_query, of_value):
                b.unite(of[:size], of[i * size : (i + 1) * size])
    else:
        b.unite(of_query, of_value)
        for i in range(heads):
            part = of_query[i * size : (i + 1) * size]
            b.unite([part[0]] * (size - 1), part[1:])
    for i in (query, key, value):
        b.wires[i].used = True

    def step(m: RandomNetwork, w: list[Tensor]) -> Tensor:
        number = heads if fixed else size
        q, k, v = (viewed(w[i].flatten(2), number, fixed).transpose(2, 3) for i in (query, key, value))  # [B, h, T, d]
        scores = q @ k.transpose(2, 3) / q.shape[-1] ** 0.5
        if causal:
            scores = scores.masked_fill(torch.ones(scores.shape[-2:]).triu(1).bool(), torch.finfo(scores.dtype).min)
        mixed = (scores.softmax(-1) @ v).transpose(2, 3)
        return mixed.reshape(w[value].shape)

    b.add(step, of_value, b.wires[at].space)
    b.exact = False  # the scale depends on the width


def pointwise_conv(inputs: int, outputs: int) -> nn.Module:
    return nn.Conv2d(inputs, outputs, 1)


def _transposed(b: Builder) -> None:
    """The weights of a Linear are used a second time, the other way round."""
    options = [
        (name, i)
        for name, (kind, _, outputs) in b.layers.items()
        for i, wire in enumerate(b.wires)
        if kind == "Linear" and not wire.space and len(wire.channels) == len(outputs)
    ]
    if options:
        name, at = b.draw(st.sampled_from(options))
        _, inputs, outputs = b.layers[name]
        b.wires[at].used = True
        b.unite(b.wires[at].channels, outputs)

        def reference(m: RandomNetwork, w: list[Tensor], cut: Cut) -> Tensor:
            return w[at] @ m.get_submodule(name).weight[cut.stay(outputs)][:, cut.stay(inputs)]

        b.add(lambda m, w: F.linear(w[at], m.get_submodule(name).weight.t()), inputs, reference=reference)


def weighted_sum(layer: Any, x: Tensor, inputs: Tensor, outputs: Tensor) -> Tensor:
    """A Linear or a convolution with some of its channels."""
    weight, bias = layer.weight[outputs][:, inputs], layer.bias[outputs]
    return F.linear(x, weight, bias) if weight.dim() == 2 else F.conv2d(x, weight, bias, padding=layer.padding)


def scaled(layer: Any, x: Tensor, kept: Tensor) -> Tensor:
    """A normalisation, slope or depthwise convolution with some of its channels."""
    weight = layer.weight[kept]
    if isinstance(layer, nn.PReLU):
        return F.prelu(x, weight)
    if isinstance(layer, nn.Conv2d):
        return F.conv2d(x, weight, layer.bias[kept], padding=1, groups=len(kept))
    if isinstance(layer, nn.LayerNorm):
        return F.layer_norm(x, (len(kept),), weight, layer.bias[kept])
    mean, variance = layer.running_mean[kept], layer.running_var[kept]
    return F.batch_norm(x, mean, variance, weight, layer.bias[kept], training=layer.training)


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
    "noise": _noise,
    "normalisation by hand": _normalised,
    "channel shuffle": _shuffle,
    "simplices": _simplices,
    "attention": _attention,
    "weights used transposed": _transposed,
}


@dataclass(frozen=True)
class Drawn:
    """A network, the shapes of its inputs and what is expected of it."""

    network: RandomNetwork
    shapes: list[tuple[int, ...]]
    expected: Counter[tuple[tuple[str, ...], int]]
    builder: Builder

    @property
    def exact(self) -> bool:
        return self.builder.exact

    @property
    def sure(self) -> bool:
        return self.builder.sure

    def cut(self, grouping: Any, keep: Tensor) -> Cut:
        """The channels that go with those of a grouping; `keep` is over the dense channels, bool [W]."""
        of_tensor = {}
        for name, role, channels in self.builder.slots:
            for tensor in (name, f"{name}.weight"):
                of_tensor.setdefault((tensor, 0 if role == "out" else 1), channels)
        removed, offset = set(), 0
        for group in grouping:
            gone = ~keep[offset : offset + group.channels].numpy()
            offset += group.channels
            for s in group.slices:
                channels = of_tensor.get((s.tensor, s.dim), [])
                removed |= {self.builder.find(channels[p]) for p in s.positions[gone].ravel() if channels}
        assert FIXED not in removed
        return Cut(self.builder, removed)

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
    return Drawn(builder.network.eval(), shapes, builder.expected(), builder)
