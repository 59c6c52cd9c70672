"""Layer attributes that repeat the size of a tensor, so that a cut layer prints, exports and runs as what it is."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.utils.parametrize import is_parametrized
from torch.nn.utils.prune import BasePruningMethod
from torch.nn.utils.spectral_norm import SpectralNorm
from torch.nn.utils.weight_norm import WeightNorm

from prune_env import open_sets

_CONVOLUTION = nn.modules.conv._ConvNd

Sizes = dict[str, Any]
Refresh = Callable[[], None]


def refresher(module: nn.Module) -> Refresh | None:
    """A function that sets the size attributes of a module from its tensors; None where there are none to set.

    They are plain attributes, so they are set past the checks of `Module.__setattr__`.

    Made while the module is dense: whether a convolution is depthwise cannot be told any more from one that is cut.
    """
    if isinstance(module, _CONVOLUTION):
        depthwise = module.groups > 1 and module.in_channels == module.groups
        read: Callable[[Any], Sizes] = partial(
            _convolution, multiplier=module.out_channels // module.in_channels if depthwise else 0
        )
    else:
        names = [f"{kind.__module__}.{kind.__qualname__}" for kind in type(module).__mro__]
        declared = [WIDTH_ATTRIBUTES[name] for name in names if name in WIDTH_ATTRIBUTES]
        known = declared + [read for kind, read in _READ.items() if isinstance(module, kind)]
        if not known:
            return None
        read = known[0]
    return partial(_refresh, module, read)


def declare_widths(kind: type[nn.Module] | str, read: Callable[[Any], Sizes]) -> None:
    """Say which attributes of a custom layer repeat sizes of its tensors, so that a cut can set them.

    Args:
        kind: The class, or its full name, `"package.module.Class"`, where it need not be imported. Subclasses follow.
        read: From a layer to its attributes, such as `lambda layer: {"width": layer.weight.shape[0]}`.

    Raises:
        ValueError: If the class has been declared with another function.
    """
    name = kind if isinstance(kind, str) else f"{kind.__module__}.{kind.__qualname__}"
    open_sets.add("layer", name, read, WIDTH_ATTRIBUTES)


def _refresh(module: nn.Module, read: Callable[[Any], Sizes]) -> None:
    module.__dict__.update(read(module))


def weight_of(module: nn.Module) -> Tensor | None:
    """A tensor with the shape of a layer's weight, whether that is a parameter, a buffer or computed from others.

    A parametrized weight is computed, in evaluation mode, as no tensor that it is computed from need have its shape.
    """
    for register in (module._parameters, module._buffers):
        for name in ("weight", "weight_orig", "weight_v"):  # those of torch.nn.utils.prune, spectral and weight norm
            if (tensor := register.get(name)) is not None:
                return tensor
    if is_parametrized(module, "weight"):
        return _computed(module.parametrizations["weight"])  # type: ignore[index, operator, unused-ignore]
    weight = vars(module).get("weight")
    return weight if isinstance(weight, Tensor) else None


def recomputer(module: nn.Module) -> Refresh | None:
    """A function that computes a weight anew that a hook computes before every call; None where there is none.

    Between a cut and the next call, the module would still show the weight from before the cut.
    """
    hooks = [h for h in module._forward_pre_hooks.values() if isinstance(h, tuple(_COMPUTE))]
    if not hooks:
        return None

    @torch.no_grad()
    def recompute() -> None:
        for hook in hooks:
            name, compute = next(x for kind, x in _COMPUTE.items() if isinstance(hook, kind))
            setattr(module, getattr(hook, name), compute(hook, module))

    return recompute


def _computed(parametrization: Any) -> Tensor:
    modes = [(m, m.training) for m in parametrization.modules()]
    try:
        with torch.no_grad():
            return parametrization.eval()()
    finally:
        for module, training in modes:
            module.training = training


def _shape(module: nn.Module) -> torch.Size:
    weight = weight_of(module)
    if weight is None:
        raise ValueError(f"a {type(module).__name__} has no weight whose shape tells its size")
    return weight.shape


def _convolution(module: nn.Module, multiplier: int) -> Sizes:
    """`multiplier` filters for each channel of a depthwise convolution; 0 for any other."""
    one, other = _shape(module)[:2]
    groups: Any = one // (1 if module.transposed else multiplier) if multiplier else module.groups
    if module.transposed:
        return {"in_channels": one, "out_channels": other * groups, "groups": groups}
    return {"out_channels": one, "in_channels": other * groups, "groups": groups}


def _linear(module: nn.Module) -> Sizes:
    out_features, in_features = _shape(module)
    return {"out_features": out_features, "in_features": in_features}


def _batch_norm(module: nn.Module) -> Sizes:
    tensor = weight_of(module) if module.affine else module._buffers["running_mean"]
    return {} if tensor is None else {"num_features": tensor.shape[0]}


def _whole_norm(module: nn.Module) -> Sizes:
    weight = weight_of(module)
    return {} if weight is None else {"normalized_shape": tuple(weight.shape)}


def _group_norm(module: nn.Module) -> Sizes:
    weight = weight_of(module)
    return {} if weight is None else {"num_channels": weight.shape[0]}


def _prelu(module: nn.Module) -> Sizes:
    return {"num_parameters": _shape(module)[0]}


def _embedding(module: nn.Module) -> Sizes:
    num_embeddings, embedding_dim = _shape(module)
    return {"num_embeddings": num_embeddings, "embedding_dim": embedding_dim}


def _recurrent(module: Any) -> Sizes:
    hidden = module.weight_hh_l0.shape[0] // {"LSTM": 4, "GRU": 3}.get(module.mode, 1)
    sizes = {"input_size": module.weight_ih_l0.shape[1], "hidden_size": hidden}
    return sizes | ({"proj_size": module.weight_hh_l0.shape[1]} if module.proj_size else {})


def _recurrent_cell(module: Any) -> Sizes:
    return {"input_size": module.weight_ih.shape[1], "hidden_size": module.weight_hh.shape[1]}


def _transposed_linear(module: nn.Module) -> Sizes:
    inputs, outputs = _shape(module)
    return {"nx": inputs, "nf": outputs}


def _graph_attention(module: Any) -> Sizes:
    """`att_src` has the shape [1, heads, channels of a head]."""
    return {"heads": module.att_src.shape[1], "out_channels": module.att_src.shape[2]}


WIDTH_ATTRIBUTES: dict[str, Callable[[Any], Sizes]] = {
    "transformers.pytorch_utils.Conv1D": _transposed_linear,
    "torch_geometric.nn.conv.gat_conv.GATConv": _graph_attention,
}
"""How the width attributes of custom layers are read, by the full name of their class; see `declare_widths`."""

_READ: dict[Any, Callable[[Any], Sizes]] = {
    nn.Linear: _linear,
    nn.modules.batchnorm._NormBase: _batch_norm,
    (nn.LayerNorm, getattr(nn, "RMSNorm", nn.LayerNorm)): _whole_norm,
    nn.GroupNorm: _group_norm,
    nn.PReLU: _prelu,
    nn.Embedding: _embedding,
    nn.RNNBase: _recurrent,
    nn.RNNCellBase: _recurrent_cell,
}

_COMPUTE: dict[type, tuple[str, Callable[[Any, nn.Module], Tensor]]] = {
    WeightNorm: ("name", lambda hook, module: hook.compute_weight(module)),
    SpectralNorm: ("name", lambda hook, module: hook.compute_weight(module, do_power_iteration=False)),
    BasePruningMethod: ("_tensor_name", lambda hook, module: hook.apply_mask(module)),
}
"""For each kind of hook of `torch.nn.utils` the attribute with the tensor's name, and how the tensor is computed."""
