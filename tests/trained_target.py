"""A target whose network is trained already: two components with BatchNorm and dropout between them."""

import torch
from torch import nn

from prune_env.targets import DenseTraining, Target


def trained_model(seed=0):
    generator = torch.Generator().manual_seed(seed)
    model = nn.Module()
    model.body = nn.Sequential(nn.Linear(4, 12), nn.BatchNorm1d(12), nn.ReLU(), nn.Dropout(0.5))
    model.head = nn.Sequential(nn.Linear(12, 8), nn.ReLU(), nn.Linear(8, 1))
    for parameter in model.parameters():
        nn.init.uniform_(parameter, -0.5, 0.5, generator=generator)
    return model


class Trained(Target):
    """Pretends that `trained_model` is trained: its score counts from -10."""

    components = ("body", "head")
    dense_training = DenseTraining(steps=0, importance_passes=5)

    def __init__(self, weights=0):
        self._weights = weights  # decides the network, but no attribute says so

    def build(self, generator):
        return trained_model(self._weights)

    def trace(self, model):
        return model.head(model.body(torch.zeros(1, 4)))

    def batches(self, generator):
        while True:
            yield torch.rand(16, 4, generator=generator)

    def loss(self, model, x):
        return ((model.head(model.body(x)) - x.sum(1, keepdim=True)) ** 2).mean()

    def score(self, model, split):
        with torch.no_grad():
            return 10 - self.loss(model.eval(), torch.linspace(0, 1, 32).view(8, 4)).item()
