"""What every operator of PyTorch does to labels: a table of names and rules.

A rule gets the propagation `p`, the operator's arguments by name `a` and its output `out` (a tuple, where it has
several), tells the ledger what it learns, and returns the dimensions of the output, or a list of those of every output.
An operator without a rule locks whatever reaches it, so the table may be incomplete, but must never be wrong.
"""

from __future__ import annotations

import re

import torch

from prune_env.groups import computing, moving
from prune_env.groups.computing import Rule

_NAMES: dict[Rule, str] = {
    moving.keep: "clone detach detach_ alias _to_copy lift_fresh lift_fresh_copy contiguous positive zeros_like "
    "ones_like full_like empty_like rand_like randn_like bernoulli fill_ zero_ normal_ uniform_",
    moving.reshape: "view _unsafe_view reshape _reshape_alias flatten unflatten",
    moving.transpose: "t transpose swapaxes",
    moving.permute: "permute",
    moving.unsqueeze: "unsqueeze",
    moving.squeeze: "squeeze",
    moving.expand: "expand",
    moving.select: "select",
    moving.slice_: "slice narrow",
    moving.split: "split split_with_sizes chunk unsafe_split unsafe_split_with_sizes unsafe_chunk",
    moving.unbind: "unbind",
    moving.cat: "cat",
    moving.stack: "stack",
    moving.repeat: "repeat",
    moving.index_select: "index_select",
    moving.index: "index",
    moving.constant: "zeros ones full empty new_zeros new_ones new_full new_empty rand randn",
    computing.pointwise: "where lerp _prelu_kernel prelu masked_fill addcmul addcdiv normal copy_",
    computing.softmax: "_softmax _log_softmax softmax log_softmax _safe_softmax dropout celu elu selu",
    computing.glu: "glu",
    computing.reduce: "sum mean amax amin prod var std logsumexp norm linalg_vector_norm any all",
    computing.reduce_pair: "var_mean std_mean aminmax",
    computing.rank: "max min argmax argmin median",
    computing.along: "cumsum cumprod sort argsort",
    computing.product: "mm bmm mv dot vdot",
    computing.product_plus: "addmm baddbmm addmv",
    computing.convolution: "convolution",
    computing.embedding: "embedding",
    computing.batch_norm: "native_batch_norm _native_batch_norm_legit _native_batch_norm_legit_no_training "
    "cudnn_batch_norm _batch_norm_with_update _batch_norm_no_update batch_norm",
    computing.layer_norm: "native_layer_norm _fused_rms_norm rms_norm",
    computing.group_norm: "native_group_norm",
    computing.pad: "constant_pad_nd",
    computing.weight_norm: "_weight_norm_interface",
}
RULES = {name: rule for rule, names in _NAMES.items() for name in names.split()}
_SPATIAL = re.compile("(max_pool|avg_pool|upsample|reflection_pad|replication_pad)[^0-9]*([123])d")
_FREE = {  # PyTorch may put in or leave out these when a size changes
    *(moving.keep, moving.reshape, moving.transpose, moving.permute, moving.unsqueeze, moving.squeeze, moving.expand),
    moving.constant,
}


def rule_of(func: torch._ops.OpOverload) -> Rule | None:
    """The rule of an operator, if it is understood."""
    name = func._schema.name.removeprefix("aten::")
    if known := RULES.get(name) or RULES.get(name.removesuffix("_")):
        return known
    if spatial := _SPATIAL.search(name):
        return computing.spatial(int(spatial.group(2)))
    return computing.pointwise if torch.Tag.pointwise in func.tags else None


def moves_only(func: torch._ops.OpOverload) -> bool:
    """Whether an operator only moves values, so that a network may run more or fewer of its kind when it is cut."""
    return rule_of(func) in _FREE
