"""segmentation-models-pytorch."""

from __future__ import annotations

from functools import partial

import segmentation_models_pytorch as smp
from zoo import add, made

for name in ("Unet", "FPN", "DeepLabV3Plus"):
    options = {"encoder_name": "resnet18", "encoder_weights": None, "classes": 3}
    add("segmentation", name, partial(made, getattr(smp, name), 2, 3, 64, 64, **options))
