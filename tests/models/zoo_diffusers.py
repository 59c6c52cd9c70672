"""diffusers: denoisers and their autoencoder."""

from __future__ import annotations

import diffusers
import torch
from torch import nn
from zoo import Trace, add, precision_of


def _noise(model: nn.Module, *shape: int) -> torch.Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(2)).to(precision_of(model))


def _unet2d() -> tuple[nn.Module, Trace]:
    model = diffusers.UNet2DModel(
        sample_size=16,
        block_out_channels=(32, 64),
        layers_per_block=1,
        norm_num_groups=8,
        down_block_types=("DownBlock2D", "AttnDownBlock2D"),
        up_block_types=("AttnUpBlock2D", "UpBlock2D"),
    )
    return model, lambda m: m(_noise(m, 2, 3, 16, 16), torch.tensor([3, 7])).sample


def _unet2d_condition() -> tuple[nn.Module, Trace]:
    model = diffusers.UNet2DConditionModel(
        sample_size=16,
        block_out_channels=(32, 64),
        layers_per_block=1,
        norm_num_groups=8,
        cross_attention_dim=32,
        attention_head_dim=8,
        down_block_types=("CrossAttnDownBlock2D", "DownBlock2D"),
        up_block_types=("UpBlock2D", "CrossAttnUpBlock2D"),
    )
    return model, lambda m: m(_noise(m, 2, 4, 16, 16), torch.tensor([3, 7]), _noise(m, 2, 5, 32)).sample


def _autoencoder_kl() -> tuple[nn.Module, Trace]:
    model = diffusers.AutoencoderKL(
        block_out_channels=(32, 64),
        norm_num_groups=8,
        down_block_types=("DownEncoderBlock2D",) * 2,
        up_block_types=("UpDecoderBlock2D",) * 2,
    )

    def trace(m: nn.Module) -> tuple[torch.Tensor, ...]:
        latent = m.encode(_noise(m, 2, 3, 16, 16)).latent_dist
        return latent.mean, latent.logvar, m.decode(_noise(m, 2, 4, 8, 8)).sample

    return model, trace


def _dit() -> tuple[nn.Module, Trace]:
    model = diffusers.DiTTransformer2DModel(
        num_attention_heads=4, attention_head_dim=16, in_channels=4, num_layers=2, sample_size=8, norm_num_groups=8
    )
    labels, times = torch.tensor([1, 2]), torch.tensor([3, 7])
    return model, lambda m: m(_noise(m, 2, 4, 8, 8), timestep=times, class_labels=labels).sample


add("diffusers", "UNet2D", _unet2d)
add("diffusers", "UNet2DCondition", _unet2d_condition)
add("diffusers", "AutoencoderKL", _autoencoder_kl)
add("diffusers", "DiT", _dit)
