"""What reads a group's channels: weights of linear, convolution and recurrent layers, and the values they are given.

Letters: N rows, n positions along the dimension that reads (input channels), k entries of a kernel, O outputs.
"""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.utils.rnn import PackedSequence

from prune_env.groups import Surgeon

_CONVOLUTIONS = (nn.Conv1d, nn.Conv2d, nn.Conv3d)
_TRANSPOSED = (nn.ConvTranspose1d, nn.ConvTranspose2d, nn.ConvTranspose3d)
Given = dict[str, Tensor]
"""Name of a weight within its layer -> what it reads, [N, n]."""


@dataclass(frozen=True)
class Read:
    """A weight that reads channels of a group.

    Attributes:
        layer: Qualified name of the layer.
        key: Name of the weight in the layer.
        dim: The dimension of the weight along which it reads.
    """

    layer: str
    key: str
    dim: int

    @property
    def tensor(self) -> str:
        """Qualified name of the weight."""
        return f"{self.layer}.{self.key}"


def reads_of(surgeon: Surgeon) -> dict[str, list[Read]]:
    """Layer -> its weights that read channels of a group: linear, recurrent, and ungrouped convolution layers."""
    found: dict[str, list[Read]] = {}
    for tensor, dim in dict.fromkeys((s.tensor, s.dim) for g in surgeon.grouping for s in g.slices if s.role == "in"):
        name, _, key = tensor.rpartition(".")
        layer = surgeon.model.get_submodule(name)
        if dim == _reading_dim(layer, key):
            found.setdefault(name, []).append(Read(name, key, dim))
    return found


def _reading_dim(layer: nn.Module, key: str) -> int | None:
    if isinstance(layer, (nn.RNNBase, nn.RNNCellBase)):
        return 1 if key.startswith("weight") else None
    if key != "weight" or getattr(layer, "groups", 1) != 1:
        return None
    if isinstance(layer, _TRANSPOSED):
        return 0
    return 1 if isinstance(layer, (nn.Linear, *_CONVOLUTIONS)) else None


def matrix_of(layer: nn.Module, key: str) -> Tensor:
    """The weight as a matrix [O, n k] that multiplies rows of `patches_of`."""
    weight = getattr(layer, key)
    if isinstance(layer, _TRANSPOSED):  # every entry of its kernel is an output of its own
        return weight.flatten(1).t()
    return weight.flatten(1)


def assign_matrix(layer: nn.Module, key: str, matrix: Tensor) -> None:
    """Write a matrix [O, n k], as of `matrix_of`, into the weight."""
    weight = getattr(layer, key)
    with torch.no_grad():
        weight.copy_((matrix.t() if isinstance(layer, _TRANSPOSED) else matrix).reshape(weight.shape))


def given_to(layer: nn.Module, inputs: tuple[Any, ...]) -> Given:
    """What each weight of a layer reads when the layer is called with `inputs`."""
    if isinstance(layer, nn.RNNCellBase):
        return _cell(inputs)
    if isinstance(layer, nn.RNNBase):
        return dict(_recurrent(layer, inputs))
    return {"weight": inputs[0].movedim(_channels(layer), -1).flatten(0, -2)}


def patches_of(layer: nn.Module, inputs: tuple[Any, ...], most: int) -> Given:
    """The same with all k entries of a convolution's kernel, [N, n k]; at most `most` rows, evenly spread."""
    if not isinstance(layer, _CONVOLUTIONS):
        return {key: rows[_spread(len(rows), most)] for key, rows in given_to(layer, inputs).items()}
    x = inputs[0] if inputs[0].dim() == layer.weight.dim() else inputs[0].unsqueeze(0)
    size = layer.weight[0, 0].numel()
    single = torch.eye(size, dtype=x.dtype, device=x.device).view(size, 1, *layer.weight.shape[2:])
    alone = copy.copy(layer)  # the same padding and stride, channel by channel
    alone.groups = x.shape[1]
    patches = alone._conv_forward(x, single.repeat(x.shape[1], *[1] * (x.dim() - 1)), None)
    rows = patches.movedim(1, -1).flatten(0, -2)
    return {"weight": rows[_spread(len(rows), most)]}


def watch(
    layers: Mapping[str, nn.Module],
    passes: Iterable[Callable[[], Any]],
    visit: Callable[[str, nn.Module, tuple[Any, ...]], None],
) -> None:
    """Run the passes without gradients; `visit` gets the name, layer and inputs of every call of a layer.

    Args:
        layers: By name.
        passes: Each runs the model on a batch.
        visit: What is called.
    """

    def hook_of(name: str) -> Callable[[nn.Module, tuple[Any, ...]], None]:
        return lambda layer, inputs: visit(name, layer, inputs)

    handles = [layer.register_forward_pre_hook(hook_of(name)) for name, layer in layers.items()]
    try:
        with torch.no_grad():
            for run in passes:
                run()
    finally:
        for handle in handles:
            handle.remove()


def _channels(layer: nn.Module) -> int:
    """Dimension of the channels in the input, counted from the end: there may be no batch."""
    dimensions = layer.get_parameter("weight").dim()
    return -1 if dimensions == 2 else 1 - dimensions


def _spread(count: int, most: int) -> slice:
    return slice(None, None, max(1, -(-count // most)))


def _cell(inputs: tuple[Any, ...]) -> Given:
    x, state = inputs[0], inputs[1] if len(inputs) > 1 else None
    hidden = state[0] if isinstance(state, tuple) else state
    given = {"weight_ih": x, "weight_hh": torch.zeros_like(x[..., :0]) if hidden is None else hidden}
    return {key: rows.flatten(0, -2) if rows.dim() > 1 else rows[None] for key, rows in given.items() if rows.numel()}


def _recurrent(module: nn.RNNBase, inputs: tuple[Any, ...]) -> Iterator[tuple[str, Tensor]]:
    """What every layer and direction of a recurrent module reads, by running them one after another.

    Of packed sequences the input of the first layer is known alone.
    """
    x, state = inputs[0], inputs[1] if len(inputs) > 1 else None
    directions = ("", "_reverse")[: 2 if module.bidirectional else 1]
    if isinstance(x, PackedSequence):
        yield from ((f"weight_ih_l0{suffix}", x.data) for suffix in directions)
        return
    x = x.unsqueeze(1) if x.dim() == 2 else x.transpose(0, 1) if module.batch_first else x  # [T, B, n]
    states = None if state is None else [s.view(len(s), -1, s.shape[-1]) for s in _tuple(state)]
    for number in range(module.num_layers):
        outputs = []
        for d, suffix in enumerate(directions):
            steps = x.flip(0) if d else x
            index = number * len(directions) + d
            first = None if states is None else tuple(s[index : index + 1] for s in states)
            single = _single_layer(module, f"_l{number}{suffix}")
            after = single(steps, first if first is None or len(first) > 1 else first[0])[0]
            start = after[:1] * 0 if first is None else first[0]
            yield f"weight_ih_l{number}{suffix}", steps.flatten(0, 1)
            yield f"weight_hh_l{number}{suffix}", torch.cat([start, after[:-1]]).flatten(0, 1)
            outputs.append(after.flip(0) if d else after)
        x = torch.cat(outputs, -1)


def _tuple(state: Any) -> tuple[Tensor, ...]:
    return state if isinstance(state, tuple) else (state,)


def _single_layer(module: nn.RNNBase, suffix: str) -> nn.RNNBase:
    """One layer and direction of a recurrent module, which shares its parameters."""
    hidden = getattr(module, f"weight_hh{suffix}")
    options: dict[str, Any] = {"nonlinearity": module.nonlinearity} if isinstance(module, nn.RNN) else {}
    single = type(module)(  # on the meta device nothing is initialised, and no random numbers are drawn
        getattr(module, f"weight_ih{suffix}").shape[1],
        hidden.shape[1],
        bias=module.bias,
        device="meta",
        dtype=hidden.dtype,
        **options,
    )
    for kind in ("weight_ih", "weight_hh", *(("bias_ih", "bias_hh") if module.bias else ())):
        setattr(single, f"{kind}_l0", getattr(module, f"{kind}{suffix}"))
    return single
