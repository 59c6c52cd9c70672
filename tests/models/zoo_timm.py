"""timm: image classifiers."""

from __future__ import annotations

from functools import partial
from typing import Any

import timm
from timm.models.mlp_mixer import MlpMixer
from zoo import Make, add, made


def _timm(name: str, size: int, **options: Any) -> Make:
    return partial(made, partial(timm.create_model, name), 2, 3, size, size, num_classes=10, **options)


TINY = {"img_size": 32, "patch_size": 8, "depth": 2, "embed_dim": 64, "num_heads": 4}

for name in ("resnet18", "resnet10t", "regnetx_002", "efficientnet_lite0", "ghostnet_050", "mobilenetv2_050"):
    add("timm", name, _timm(name, 64))
for name in ("mobilenetv3_small_050", "mobilenetv3_small_100"):
    add("timm", name, _timm(name, 64), least_share=0.95)
add("timm", "resnext26ts", _timm("resnext26ts", 64))
add("timm", "repvgg_a0", _timm("repvgg_a0", 64))
add("timm", "densenet121", _timm("densenet121", 64, growth_rate=8, block_config=(2, 2, 2)))
add("timm", "convnext_atto", _timm("convnext_atto", 64, depths=(1, 1, 2, 1), dims=(16, 32, 48, 64)))
add("timm", "vit_tiny_patch16_224", _timm("vit_tiny_patch16_224", 32, **TINY), least_share=0.95)
add("timm", "deit_tiny_distilled", _timm("deit_tiny_distilled_patch16_224", 32, **TINY))
add(
    "timm",
    "swin_tiny",
    _timm(
        "swin_tiny_patch4_window7_224",
        32,
        img_size=32,
        patch_size=2,
        window_size=4,
        embed_dim=16,
        depths=(2, 2),
        num_heads=(2, 4),
    ),
    least_share=0.9,
)
add("timm", "levit_128s", _timm("levit_128s", 64, img_size=64))
add("timm", "mobilevit_xxs", _timm("mobilevit_xxs", 64))
MIXER = {"img_size": 32, "patch_size": 8, "num_blocks": 2, "embed_dim": 64, "num_classes": 10}
add("timm", "MlpMixer", partial(made, MlpMixer, 2, 3, 32, 32, **MIXER))
add("timm", "poolformer_s12", _timm("poolformer_s12", 64))
