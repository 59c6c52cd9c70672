"""World models and audio, written out where no small package has them."""

from __future__ import annotations

from collections.abc import Iterable
from functools import partial

import torch
from torch import nn
from zoo import Trace, add, on_input, precision_of

from prune_env.targets.tdmpc import TDMPC


class RecurrentStateSpace(nn.Module):
    """Dreamer's recurrent state space model: a GRU, categorical latents in parts, decoder and reward."""

    def __init__(self, observation: int = 12, action: int = 3, hidden: int = 48, parts: int = 4, classes: int = 8):
        super().__init__()
        self.parts, self.classes, latent = parts, classes, parts * classes
        self.encoder = nn.Sequential(nn.Linear(observation, 64), nn.LayerNorm(64), nn.SiLU())
        self.inputs = nn.Sequential(nn.Linear(latent + action, 64), nn.SiLU())
        self.cell = nn.GRUCell(64, hidden)
        self.posterior = nn.Sequential(nn.Linear(hidden + 64, 64), nn.SiLU(), nn.Linear(64, latent))
        self.prior = nn.Sequential(nn.Linear(hidden, 64), nn.SiLU(), nn.Linear(64, latent))
        self.decoder = nn.Sequential(nn.Linear(hidden + latent, 64), nn.SiLU(), nn.Linear(64, observation))
        self.reward = nn.Sequential(nn.Linear(hidden + latent, 64), nn.SiLU(), nn.Linear(64, 1))

    def probabilities(self, logits: torch.Tensor) -> torch.Tensor:
        return logits.unflatten(-1, (self.parts, self.classes)).softmax(-1).flatten(-2)

    def forward(self, observations: torch.Tensor, actions: torch.Tensor) -> list[torch.Tensor]:
        h = observations.new_zeros(observations.shape[1], self.cell.hidden_size)
        z = observations.new_zeros(observations.shape[1], self.parts * self.classes)
        outputs = []
        for x, a in zip(observations, actions, strict=True):
            h = self.cell(self.inputs(torch.cat([z, a], -1)), h)
            z = self.probabilities(self.posterior(torch.cat([h, self.encoder(x)], -1)))
            state = torch.cat([h, z], -1)
            outputs += [self.decoder(state), self.reward(state), self.probabilities(self.prior(h))]
        return outputs


def _dreamer() -> tuple[nn.Module, Trace]:
    generator = torch.Generator().manual_seed(2)
    x, a = torch.randn(3, 2, 12, generator=generator), torch.randn(3, 2, 3, generator=generator)
    return RecurrentStateSpace(), lambda m: m(x.to(precision_of(m)), a.to(precision_of(m)))


def _tdmpc(obs: str) -> tuple[nn.Module, Trace]:
    target = TDMPC(obs=obs)
    return target.build(torch.Generator().manual_seed(0)), target.trace


class ConvTasNet(nn.Module):
    """The separation network of Conv-TasNet: dilated depthwise blocks with skips, masks for two sources."""

    def __init__(self, filters: int = 32, width: int = 48, blocks: Iterable[int] = (1, 2, 4)):
        super().__init__()
        self.encoder = nn.Conv1d(1, filters, 16, 8, bias=False)
        self.norm = nn.GroupNorm(1, filters)
        self.blocks = nn.ModuleList(
            nn.Sequential(
                nn.Conv1d(filters, width, 1),
                nn.PReLU(),
                nn.GroupNorm(1, width),
                nn.Conv1d(width, width, 3, padding=d, dilation=d, groups=width),
                nn.PReLU(),
                nn.GroupNorm(1, width),
                nn.Conv1d(width, filters, 1),
            )
            for d in blocks
        )
        self.masks = nn.Conv1d(filters, 2 * filters, 1)
        self.decoder = nn.ConvTranspose1d(filters, 1, 16, 8, bias=False)

    def forward(self, wave: torch.Tensor) -> torch.Tensor:
        codes = self.encoder(wave)
        x = self.norm(codes)
        for block in self.blocks:
            x = x + block(x)
        masks = self.masks(x).sigmoid().unflatten(1, (2, -1))
        return self.decoder((masks * codes[:, None]).flatten(0, 1))


add("world models", "Dreamer's RSSM", _dreamer)
add("world models", "TD-MPC, state", partial(_tdmpc, "state"))
add("audio", "Conv-TasNet", lambda: (ConvTasNet(), on_input(2, 1, 400)))
