"""What every operator of PyTorch does to labels: a table of names and rules (see `rule_context`).

The table may be incomplete, but must never be wrong: an operator without a rule is probed, and locks what it may mix.
"""

from __future__ import annotations

import functools
import re

import torch

from prune_env.groups.tracing import (
    elementwise_rules,
    index_rules,
    layout_rules,
    norm_rules,
    product_rules,
    reduction_rules,
    space_rules,
)
from prune_env.groups.tracing.rule_context import Rule

_NAMES: dict[Rule, str] = {
    layout_rules.keep: "clone detach detach_ alias _to_copy lift lift_fresh lift_fresh_copy contiguous positive "
    "zeros_like ones_like full_like empty_like rand_like randn_like randint_like fill fill_ zero zero_",
    layout_rules.reshape: "view _unsafe_view reshape _reshape_alias _reshape flatten unflatten",
    layout_rules.transpose: "t transpose swapaxes",
    layout_rules.permute: "permute",
    layout_rules.unsqueeze: "unsqueeze",
    layout_rules.squeeze: "squeeze",
    layout_rules.expand: "expand",
    layout_rules.select: "select",
    layout_rules.slice_: "slice",
    layout_rules.split: "split split_with_sizes chunk unsafe_split unsafe_split_with_sizes unsafe_chunk",
    layout_rules.unbind: "unbind",
    layout_rules.cat: "cat",
    layout_rules.stack: "stack",
    layout_rules.repeat: "repeat",
    layout_rules.constant: "zeros ones full empty new_zeros new_ones new_full new_empty new_empty_strided rand randn",
    layout_rules.flip: "flip",
    layout_rules.rot90: "rot90",
    layout_rules.roll: "roll",
    layout_rules.triangle: "tril triu",
    layout_rules.diagonal: "diagonal",
    layout_rules.diag_embed: "diag_embed",
    layout_rules.unfold: "unfold",
    layout_rules.view_as_real: "view_as_real",
    layout_rules.view_as_complex: "view_as_complex",
    layout_rules.as_strided: "as_strided",
    index_rules.index_select: "index_select",
    index_rules.index: "index _unsafe_index",
    index_rules.index_put: "index_put _unsafe_index_put",
    index_rules.take: "take",
    index_rules.gather: "gather",
    index_rules.scatter: "scatter scatter_add scatter_reduce index_add index_copy index_reduce index_fill",
    index_rules.write_part: "select_scatter slice_scatter",
    index_rules.masked_select: "masked_select",
    index_rules.masked_scatter: "masked_scatter",
    index_rules.nonzero: "nonzero",
    index_rules.embedding: "embedding",
    index_rules.embedding_bag: "_embedding_bag _embedding_bag_forward_only",
    index_rules.sort_into: "bucketize searchsorted",
    index_rules.is_in: "isin",
    index_rules.pack_padded: "_pack_padded_sequence",
    elementwise_rules.pointwise: "where lerp _prelu_kernel prelu masked_fill addcmul addcdiv copy copy_ hardswish gelu "
    "rsub floor_divide copysign abs threshold mish complex polar _conj _neg_view heaviside xlogy eq ne lt le gt ge "
    "normal bernoulli uniform exponential cauchy log_normal geometric random poisson "
    "binomial _standard_gamma rrelu_with_noise _masked_scale dropout celu elu selu",
    elementwise_rules.pointwise_several: "log_sigmoid_forward native_dropout frexp",
    elementwise_rules.softmax: "_softmax _log_softmax softmax log_softmax _safe_softmax",
    elementwise_rules.glu: "glu",
    elementwise_rules.loss: "mse_loss smooth_l1_loss huber_loss soft_margin_loss "
    "binary_cross_entropy binary_cross_entropy_with_logits",
    reduction_rules.reduce: "sum nansum mean amax amin prod var std logsumexp norm linalg_vector_norm any all "
    "count_nonzero",
    reduction_rules.reduce_pair: "var_mean std_mean aminmax",
    reduction_rules.rank: "max min argmax argmin median nanmedian mode kthvalue",
    reduction_rules.along: "cumsum cumprod logcumsumexp cummax cummin",
    reduction_rules.sort: "sort argsort topk",
    reduction_rules.multinomial: "multinomial",
    reduction_rules.trace: "trace",
    reduction_rules.distance: "dist",
    reduction_rules.class_loss: "nll_loss_forward nll_loss2d_forward",
    product_rules.product: "mm bmm mv dot vdot",
    product_rules.product_plus: "addmm baddbmm addmv _sparse_addmm",
    product_rules.outer_plus: "addr",
    product_rules.batch_sum_plus: "addbmm",
    product_rules.convolution: "convolution",
    product_rules.trilinear: "_trilinear",
    product_rules.cross: "linalg_cross",
    product_rules.pairwise_distance: "_cdist_forward _euclidean_dist",
    product_rules.condensed_distance: "_pdist_forward",
    product_rules.attention: "_scaled_dot_product_flash_attention_for_cpu _scaled_dot_product_flash_attention "
    "_scaled_dot_product_efficient_attention _scaled_dot_product_cudnn_attention "
    "_scaled_dot_product_fused_attention_overrideable",
    norm_rules.batch_norm: "native_batch_norm _native_batch_norm_legit _native_batch_norm_legit_no_training "
    "cudnn_batch_norm miopen_batch_norm _batch_norm_with_update _batch_norm_no_update batch_norm",
    norm_rules.layer_norm: "native_layer_norm _fused_rms_norm rms_norm",
    norm_rules.group_norm: "native_group_norm",
    norm_rules.weight_norm: "_weight_norm_interface",
    norm_rules.renorm: "renorm",
    space_rules.pad: "constant_pad_nd",
    space_rules.windows: "im2col",
    space_rules.from_windows: "col2im",
    space_rules.pixel_shuffle: "pixel_shuffle",
    space_rules.pixel_unshuffle: "pixel_unshuffle",
    space_rules.channel_shuffle: "channel_shuffle native_channel_shuffle",
    space_rules.sample_grid: "grid_sampler_2d grid_sampler_3d",
    space_rules.affine_grid: "affine_grid_generator",
    space_rules.fourier: "_fft_c2c _fft_r2c _fft_c2r",
}
RULES = {name: rule for rule, names in _NAMES.items() for name in names.split()}
_SPATIAL = re.compile("(max_pool|max_unpool|avg_pool|upsample|reflection_pad|replication_pad)[^0-9]*([123])d")
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
    names, otherwise = _lookup(func)
    return next((RULES[name] for name in names if name in RULES), otherwise)


@functools.cache
def _lookup(func: torch._ops.OpOverload) -> tuple[tuple[str, ...], Rule | None]:
    """The names under which the table may have an operator, and the rule that holds if it has none of them."""
    library, _, name = func._schema.name.partition("::")
    otherwise = elementwise_rules.pointwise if torch.Tag.pointwise in func.tags else None
    if library != "aten":
        return (), otherwise
    spatial = _SPATIAL.search(name)
    names = (name, name.removesuffix("_"), name.removesuffix("_copy"))
    return names, space_rules.spatial(int(spatial.group(2))) if spatial else otherwise


def moves_only(func: torch._ops.OpOverload) -> bool:
    """Whether an operator only moves values, so that a network may run more or fewer of its kind when it is cut."""
    return rule_of(func) in _FREE
