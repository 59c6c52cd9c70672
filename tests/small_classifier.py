"""A small trained network with BatchNorm, dropout, a residual and tied weights, and the functions that describe it."""

import torch
import torch.nn.functional as F  # noqa: N812
from torch import nn


class Classifier(nn.Module):
    def __init__(self):
        super().__init__()
        self.body = nn.Sequential(nn.Linear(8, 24), nn.BatchNorm1d(24), nn.ReLU(), nn.Dropout(0.1))
        self.block = nn.Sequential(nn.Linear(24, 16), nn.ReLU(), nn.Linear(16, 24))
        self.head = nn.Linear(24, 4)

    def forward(self, x):
        x = self.body(x)
        return self.head(F.relu(x + self.block(x)))

    def encode(self, x):
        return self.body(x)


GENERATOR = torch.Generator().manual_seed(0)
X = torch.randn(320, 8, generator=GENERATOR)
Y = (X @ torch.randn(8, 4, generator=GENERATOR)).argmax(1)


def loss(model, batch):
    return F.cross_entropy(model(batch[0]), batch[1])


def score(model, split):
    part = slice(192, 256) if split == "validation" else slice(256, 320)
    return (model(X[part]).argmax(1) == Y[part]).float().mean().item()


def batches():
    return [(X[i : i + 32], Y[i : i + 32]) for i in range(0, 192, 32)]


def trained(steps=150):
    with torch.random.fork_rng():
        torch.manual_seed(0)
        model = Classifier()
        optimizer = torch.optim.Adam(model.parameters(), lr=5e-3)
        for step in range(steps):
            optimizer.zero_grad()
            loss(model, batches()[step % 6]).backward()
            optimizer.step()
    return model.eval()


FUNCTIONS = {"example": X[:1], "loss": loss, "batches": batches(), "score": score}
