"""What every operator of PyTorch does to labels: a table of names and rules.

A rule gets the propagation `p`, the operator's arguments by name `a` and its output `out` (a tuple, where it has
several), tells the ledger what it learns, and returns the dimensions of the output, or a list of those of every output.
An operator without a rule locks whatever reaches it, so the table may be incomplete, but must never be wrong.
"""

from __future__ import annotations

import re

import torch

from prune_env.groups.tracing import layout_rules, math_rules
from prune_env.groups.tracing.math_rules import Rule

_NAMES: dict[Rule, str] = {
    layout_rules.keep: "clone detach detach_ alias _to_copy lift_fresh lift_fresh_copy contiguous positive zeros_like "
    "ones_like full_like empty_like rand_like randn_like bernoulli fill_ zero_ normal_ uniform_",
    layout_rules.reshape: "view _unsafe_view reshape _reshape_alias flatten unflatten",
    layout_rules.transpose: "t transpose swapaxes",
    layout_rules.permute: "permute",
    layout_rules.unsqueeze: "unsqueeze",
    layout_rules.squeeze: "squeeze",
    layout_rules.expand: "expand",
    layout_rules.select: "select",
    layout_rules.slice_: "slice narrow",
    layout_rules.split: "split split_with_sizes chunk unsafe_split unsafe_split_with_sizes unsafe_chunk",
    layout_rules.unbind: "unbind",
    layout_rules.cat: "cat",
    layout_rules.stack: "stack",
    layout_rules.repeat: "repeat",
    layout_rules.index_select: "index_select",
    layout_rules.index: "index",
    layout_rules.constant: "zeros ones full empty new_zeros new_ones new_full new_empty rand randn",
    math_rules.pointwise: "where lerp _prelu_kernel prelu masked_fill addcmul addcdiv normal copy_",
    math_rules.softmax: "_softmax _log_softmax softmax log_softmax _safe_softmax dropout celu elu selu",
    math_rules.glu: "glu",
    math_rules.reduce: "sum mean amax amin prod var std logsumexp norm linalg_vector_norm any all",
    math_rules.reduce_pair: "var_mean std_mean aminmax",
    math_rules.rank: "max min argmax argmin median",
    math_rules.along: "cumsum cumprod sort argsort",
    math_rules.product: "mm bmm mv dot vdot",
    math_rules.product_plus: "addmm baddbmm addmv",
    math_rules.convolution: "convolution",
    math_rules.embedding: "embedding",
    math_rules.batch_norm: "native_batch_norm _native_batch_norm_legit _native_batch_norm_legit_no_training "
    "cudnn_batch_norm _batch_norm_with_update _batch_norm_no_update batch_norm",
    math_rules.layer_norm: "native_layer_norm _fused_rms_norm rms_norm",
    math_rules.group_norm: "native_group_norm",
    math_rules.pad: "constant_pad_nd",
    math_rules.weight_norm: "_weight_norm_interface",
}
RULES = {name: rule for rule, names in _NAMES.items() for name in names.split()}
_SPATIAL = re.compile("(max_pool|avg_pool|upsample|reflection_pad|replication_pad)[^0-9]*([123])d")
_FREE = {  # PyTorch may put in or leave out these when a size changes
    *(
        layout_rules.keep,
        layout_rules.reshape,
        layout_rules.transpose,
        layout_rules.permute,
        layout_rules.unsqueeze,
        layout_rules.squeeze,
        layout_rules.expand,
    ),
    layout_rules.constant,
}


def rule_of(func: torch._ops.OpOverload) -> Rule | None:
    """The rule of an operator, if it is understood."""
    name = func._schema.name.removeprefix("aten::")
    if known := RULES.get(name) or RULES.get(name.removesuffix("_")):
        return known
    if spatial := _SPATIAL.search(name):
        return math_rules.spatial(int(spatial.group(2)))
    return math_rules.pointwise if torch.Tag.pointwise in func.tags else None


def moves_only(func: torch._ops.OpOverload) -> bool:
    """Whether an operator only moves values, so that a network may run more or fewer of its kind when it is cut."""
    return rule_of(func) in _FREE
