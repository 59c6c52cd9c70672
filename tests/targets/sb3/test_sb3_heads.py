"""Distributions of actions against torch's own."""

import pytest
import torch
from torch import distributions

from prune_env.targets.sb3.heads import Bernoulli, Categorical, Gaussian, exploration_std


def _numbers(seed):
    return torch.randn(5, 3, generator=torch.Generator().manual_seed(seed))


PAIRS = {
    "gaussian": (
        lambda s: Gaussian(_numbers(s), _numbers(s + 1).exp()),
        lambda h: distributions.Independent(distributions.Normal(h.mean, h.std), 1),
    ),
    "categorical": (lambda s: Categorical(_numbers(s)), lambda h: distributions.Categorical(logits=h.logits)),
    "bernoulli": (
        lambda s: Bernoulli(_numbers(s)),
        lambda h: distributions.Independent(distributions.Bernoulli(logits=h.logits), 1),
    ),
}


@pytest.mark.parametrize("kind", PAIRS)
def test_divergence_and_likelihood_are_torchs(kind):
    make, reference = PAIRS[kind]
    one, other = make(0), make(10)
    wanted = distributions.kl_divergence(reference(one), reference(other))
    torch.testing.assert_close(one.divergence(other), wanted)
    assert one.divergence(one).abs().max() < 1e-6
    action = one.sample(torch.Generator().manual_seed(0))
    shift = (one.log_prob(action) - reference(one).log_prob(action.float())).unique()
    assert shift.max() - shift.min() < 1e-5  # the same up to a constant


@pytest.mark.parametrize("kind", PAIRS)
def test_samples_come_from_the_generator_alone_and_have_the_right_mean(kind):
    make, reference = PAIRS[kind]
    head = make(0)
    before = torch.get_rng_state()
    draws = torch.stack(
        [head.sample(generator) for generator in [torch.Generator().manual_seed(1)] for _ in range(4000)]
    )
    assert torch.equal(before, torch.get_rng_state())
    assert torch.equal(draws[0], head.sample(torch.Generator().manual_seed(1)))
    if kind == "categorical":
        shares = torch.stack([(draws == a).float().mean(0) for a in range(3)], dim=1)
        assert (shares - reference(head).probs).abs().max() < 0.04
    else:
        assert (draws.float().mean(0) - reference(head).mean).abs().max() < 0.06 * (1 + reference(head).stddev.max())


def test_modes():
    assert Categorical(torch.tensor([[0.0, 2.0, 1.0]])).mode().tolist() == [1]
    assert Bernoulli(torch.tensor([[0.5, -0.5]])).mode().tolist() == [[1, 0]]
    assert Gaussian(torch.tensor([[0.5]]), torch.ones(1, 1)).mode().tolist() == [[0.5]]


def test_exploration_is_that_of_gsde():
    from stable_baselines3.common.distributions import StateDependentNoiseDistribution

    log_std = torch.tensor([[-1.0], [0.0], [2.0]])
    for expln in (False, True):
        theirs = StateDependentNoiseDistribution(1, use_expln=expln)
        theirs.latent_sde_dim = 3
        torch.testing.assert_close(exploration_std(log_std, expln), theirs.get_std(log_std), atol=1e-5, rtol=1e-5)
