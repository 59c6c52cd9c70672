"""Layer attributes that repeat the size of a tensor, so that a cut layer prints, exports and runs as what it is."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

from torch import Tensor, nn

_TRANSPOSED = (nn.ConvTranspose1d, nn.ConvTranspose2d, nn.ConvTranspose3d)
_CONVOLUTION = nn.modules.conv._ConvNd

Refresh = Callable[[], None]


def refresher(module: nn.Module) -> Refresh | None:
    """A function that sets the size attributes of a module from its tensors; None where there are none to set.

    Made while the module is dense: whether a convolution is depthwise cannot be told any more from one that is cut.
    """
    if isinstance(module, _CONVOLUTION):
        depthwise = module.groups > 1 and module.in_channels == module.groups and not module.transposed
        return partial(_convolution, module, module.out_channels // module.in_channels if depthwise else 0)
    for kind, refresh in _REFRESH.items():
        if isinstance(module, kind):
            return partial(refresh, module)
    return None


def weight_of(module: nn.Module) -> nn.Parameter:
    """The parameter with the shape of a layer's weight; a computed weight is let be, as asking may have effects."""
    weight = module._parameters.get("weight")
    return max(module.parameters(), key=lambda p: (p.dim(), p.numel())) if weight is None else weight


def _convolution(module: Any, multiplier: int) -> None:
    """`multiplier` filters for each channel of a depthwise convolution; 0 for any other."""
    one, other = weight_of(module).shape[:2]
    if multiplier:
        module.groups = one // multiplier
    if module.transposed:
        module.in_channels, module.out_channels = one, other * module.groups
    else:
        module.out_channels, module.in_channels = one, other * module.groups


def _linear(module: Any) -> None:
    module.out_features, module.in_features = weight_of(module).shape


def _batch_norm(module: Any) -> None:
    tensor = module.running_mean if module.weight is None else module.weight
    if isinstance(tensor, Tensor):
        module.num_features = tensor.shape[0]


def _whole_norm(module: Any) -> None:
    if module.weight is not None:
        module.normalized_shape = tuple(module.weight.shape)


def _group_norm(module: Any) -> None:
    if module.weight is not None:
        module.num_channels = module.weight.shape[0]


def _prelu(module: Any) -> None:
    module.num_parameters = module.weight.shape[0]


def _embedding(module: Any) -> None:
    module.num_embeddings, module.embedding_dim = weight_of(module).shape


def _recurrent(module: Any) -> None:
    module.input_size = module.weight_ih_l0.shape[1]
    if module.proj_size:
        module.proj_size = module.weight_hh_l0.shape[1]
    module.hidden_size = module.weight_hh_l0.shape[0] // {"LSTM": 4, "GRU": 3}.get(module.mode, 1)


def _recurrent_cell(module: Any) -> None:
    module.input_size, module.hidden_size = module.weight_ih.shape[1], module.weight_hh.shape[1]


_REFRESH: dict[Any, Callable[[Any], None]] = {
    nn.Linear: _linear,
    nn.modules.batchnorm._NormBase: _batch_norm,
    (nn.LayerNorm, getattr(nn, "RMSNorm", nn.LayerNorm)): _whole_norm,
    nn.GroupNorm: _group_norm,
    nn.PReLU: _prelu,
    nn.Embedding: _embedding,
    nn.RNNBase: _recurrent,
    nn.RNNCellBase: _recurrent_cell,
}
