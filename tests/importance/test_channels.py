"""Sums over channels against the slow, obvious way of summing."""

import pytest
import torch

from prune_env.dense.train_state import TrainState
from prune_env.importance import ChannelSums
from prune_env.importance.channels import reach
from prune_env.importance.measures import REDUCED
from prune_env.targets import make_target


def obvious(surgeon, scope):
    """Entry by entry, in double precision: sums of |g|, g^2, w g, (w g)^2 and 1 for every present channel, [5, W]."""
    named = dict(surgeon.model.named_parameters())
    place = {int(channel): i for i, channel in enumerate(surgeon.present)}
    sums = torch.zeros(5, len(place), dtype=torch.float64)
    for name, dim in reach(surgeon, scope):
        w, g = named[name].detach().double(), named[name].grad.double()
        for position, channel in enumerate(surgeon.owner(name, dim).tolist()):
            if channel >= 0:
                wi, gi = w.select(dim, position), g.select(dim, position)
                values = (gi.abs(), gi**2, wi * gi, (wi * gi) ** 2, torch.ones_like(gi))
                sums[:, place[channel]] += torch.stack([v.sum() for v in values])
    return sums


@pytest.mark.parametrize("one_call", [True, False])
@pytest.mark.parametrize("scope", ["root", "group"])
@pytest.mark.parametrize("target", ["autoencoder", "complex-cnn"])
def test_sums_equal_the_obvious_ones(target, scope, one_call, monkeypatch):
    made = make_target(target)
    state = TrainState.fresh(made, torch.Generator().manual_seed(0))
    keep = torch.ones(len(state.surgeon.present), dtype=torch.bool)
    keep[::5] = False
    state.surgeon.cut(keep)
    made.loss(state.model, next(made.batches(torch.Generator().manual_seed(0)))).backward()
    monkeypatch.setattr("prune_env.importance.channels._ONE_CALL_ENTRIES", 2**17 if one_call else 0)
    sums = ChannelSums(state.surgeon, scope)
    expected = obvious(state.surgeon, scope)
    found = sums.gradient_sums([p.grad for p in sums.parameters]).double()
    scale = expected[0] * 1e-5  # sums of signed values cancel
    assert ((found[2] - expected[2]).abs() <= scale).all()
    for row in (0, 1, 3):
        assert torch.allclose(found[row], expected[row], rtol=1e-5), list(REDUCED)[row]
    assert torch.equal(sums.counts.double(), expected[4])
    weights = sums.sum([p.grad for p in sums.parameters], "absolute").double()
    assert torch.allclose(weights, expected[0], rtol=1e-5)


def test_what_is_not_asked_for_is_zero_and_changes_nothing_else():
    made = make_target("autoencoder")
    state = TrainState.fresh(made, torch.Generator().manual_seed(0))
    made.loss(state.model, next(made.batches(torch.Generator().manual_seed(0)))).backward()
    sums, names = ChannelSums(state.surgeon), list(REDUCED)
    gradients = [p.grad for p in sums.parameters]
    everything = sums.gradient_sums(gradients)
    for name in names:
        alone = sums.gradient_sums(gradients, (name,))
        for row, other in enumerate(names):
            assert torch.equal(alone[row], everything[row] if other == name else torch.zeros(sums.width))


def test_parts_of_the_parameters_add_up():
    made = make_target("autoencoder")
    state = TrainState.fresh(made, torch.Generator().manual_seed(0))
    made.loss(state.model, next(made.batches(torch.Generator().manual_seed(0)))).backward()
    whole = ChannelSums(state.surgeon)
    ids = [id(p) for p in whole.parameters]
    parts = [ChannelSums(state.surgeon, only=set(part)) for part in (ids[:5], ids[5:], [])]
    found = sum(part.gradient_sums([p.grad for p in part.parameters]) for part in parts)
    assert torch.allclose(found, whole.gradient_sums([p.grad for p in whole.parameters]), rtol=1e-6)
