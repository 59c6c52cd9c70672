"""vit-pytorch: vision transformers."""

from __future__ import annotations

from functools import partial

import vit_pytorch
from vit_pytorch.cvt import CvT
from zoo import add, made

VIT = {"image_size": 32, "patch_size": 8, "num_classes": 10, "dim": 64, "depth": 2, "heads": 4, "mlp_dim": 128}
add("vit-pytorch", "ViT", partial(made, vit_pytorch.ViT, 2, 3, 32, 32, **VIT, dim_head=16), least_share=0.95)
add("vit-pytorch", "SimpleViT", partial(made, vit_pytorch.SimpleViT, 2, 3, 32, 32, **VIT, dim_head=16), 0.9)
CVT = {f"s{i}_{k}": v for i in (1, 2, 3) for k, v in {"emb_dim": 16 * i, "heads": i, "depth": 1}.items()}
add("vit-pytorch", "CvT", partial(made, CvT, 2, 3, 32, 32, num_classes=10, **CVT))
