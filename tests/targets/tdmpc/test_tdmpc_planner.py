"""The planner against the literal one, episode by episode; warm start, bounds and broken networks."""

import pytest
import torch
from literal_tdmpc import LiteralTDMPC
from test_tdmpc_update import controller

from prune_env.targets.tdmpc import Plan, Planner, UpdateConfig, networks
from prune_env.targets.tdmpc import planner as planner_module
from prune_env.targets.tdmpc.rollout import planning_actor


class Noise:
    """Normal numbers for E episodes together, or the same ones for one of them."""

    def __init__(self, episodes, seed=0, only=None):
        self.episodes, self.only = episodes, only
        self.generator = torch.Generator().manual_seed(seed)

    def batched(self, shape, device, generator):
        return torch.randn(shape, generator=self.generator)  # [H, E, N, A] or [E * N, A]

    def single(self, *shape):
        if len(shape) == 3:
            drawn = torch.randn((shape[0], self.episodes, *shape[1:]), generator=self.generator)
            return drawn[:, self.only]
        drawn = torch.randn((self.episodes * shape[0], shape[1]), generator=self.generator)
        return drawn.view(self.episodes, *shape)[self.only]


@pytest.fixture
def net():
    return controller("state")


def observations(count, seed=0):
    return torch.randn(count, 5, generator=torch.Generator().manual_seed(seed))


@pytest.mark.parametrize("warm", [False, True])
@pytest.mark.parametrize("horizon", [1, 4])
def test_agrees_with_the_literal_plan(net, monkeypatch, warm, horizon):
    planner = Planner(samples=60, iterations=4, elites=9, horizon=horizon, proposals=0.1)
    literal, seen = LiteralTDMPC(net, UpdateConfig()), observations(3)
    before = torch.randn(horizon, 3, 2, generator=torch.Generator().manual_seed(5))
    last = Plan(torch.zeros(3, 2), before) if warm else None
    monkeypatch.setattr(planner_module, "_normal", Noise(3).batched)
    plan = planner(net, net.encoder(seen), last, torch.Generator().manual_seed(0))
    for e in range(3):
        start = before[:, e] if warm else None
        candidates, chances, mean = literal.plan(seen[e : e + 1], start, planner, Noise(3, only=e).single)
        torch.testing.assert_close(plan.mean[:, e], mean, atol=1e-5, rtol=0)
        near = (candidates - plan.action[e]).abs().amax(1) < 1e-5
        assert chances[near].sum() > 0  # what is done is one of the elites


def test_elites_are_done_as_often_as_they_weigh(net, monkeypatch):
    """Many episodes that see the same, with the same noise: the shares of their actions are the elites' weights."""
    planner, count = Planner(samples=16, iterations=1, elites=3, proposals=0.0, temperature=0.3), 3000
    drawn = torch.randn(3, 1, 16, 2, generator=torch.Generator().manual_seed(3))
    end = torch.randn(1, 16, 2, generator=torch.Generator().manual_seed(4))

    def normal(shape, device, generator):
        return drawn.expand(shape) if len(shape) == 4 else end.expand(shape[0] // 16, 16, 2).reshape(shape)

    monkeypatch.setattr(planner_module, "_normal", normal)
    z = net.encoder(observations(1))
    plan = planner(net, z.expand(count, -1), None, torch.Generator().manual_seed(0))
    literal = LiteralTDMPC(net, UpdateConfig())
    candidates, chances, _ = literal.plan(
        observations(1), None, planner, lambda *shape: drawn[:, 0] if len(shape) == 3 else end[0, : shape[0]]
    )
    for action in candidates:
        share = ((plan.action - action).abs().amax(1) < 1e-5).float().mean()
        same = (candidates - action).abs().amax(1) < 1e-5  # clamped ones may coincide
        assert share == pytest.approx(float(chances[same].sum()), abs=0.04)
    assert chances.min() > 0.05


def test_the_next_plan_starts_from_the_last_one_moved_on(net):
    mean = torch.randn(3, 2, 2, generator=torch.Generator().manual_seed(0))
    still = Planner(momentum=1.0)  # the mean is kept as it was given
    z = net.encoder(observations(2))
    plan = still(net, z, Plan(torch.zeros(2, 2), mean), torch.Generator().manual_seed(0))
    assert torch.equal(plan.mean[:2], mean[1:]) and torch.equal(plan.mean[2], torch.zeros(2, 2))
    assert torch.equal(still(net, z, None, torch.Generator().manual_seed(0)).mean, torch.zeros(3, 2, 2))


def test_actions_stay_within_bounds_even_with_noise(net):
    with torch.no_grad():  # a reward that cannot have enough of the first action
        net.reward[0].weight[:, -2:] = 3.0
    noisy = Planner(std=1.5, noisy=True)
    plan = noisy(net, net.encoder(observations(200)), None, torch.Generator().manual_seed(0))
    assert plan.action.abs().max() == 1.0


def test_the_same_generator_gives_the_same_plan(net):
    z = net.encoder(observations(4))
    plans = [Planner()(net, z, None, torch.Generator().manual_seed(s)).action for s in (0, 0, 1)]
    assert torch.equal(plans[0], plans[1]) and not torch.equal(plans[0], plans[2])


def test_an_actor_remembers_the_plan_of_every_episode(net):
    seen = observations(2)
    actor = planning_actor(net, Planner(), torch.Generator().manual_seed(0))
    with torch.no_grad():
        actions = [actor(seen), actor(seen)]
        generator = torch.Generator().manual_seed(0)
        first = Planner()(net, networks.encode(seen, net.encoder)[0], None, generator)
        second = Planner()(net, networks.encode(seen, net.encoder)[0], first, generator)
    assert torch.equal(actions[0], first.action) and torch.equal(actions[1], second.action)


def test_bfloat16_is_another_way_to_the_same_kind_of_plan(net):
    plan = Planner(bfloat16=True)(net, net.encoder(observations(3)), None, torch.Generator().manual_seed(0))
    assert plan.action.dtype == torch.float32 and plan.action.abs().max() <= 1
    exact = Planner()(net, net.encoder(observations(3)), None, torch.Generator().manual_seed(0))
    assert (plan.mean - exact.mean).abs().mean() < 0.2


def test_wide_networks_in_chunks_give_the_same_plan(net, monkeypatch):
    plans = []
    for floats in (2**18, 16 * 50):  # at width 16: all at once, and 50 rows at a time
        monkeypatch.setattr(networks, "_FLOATS", floats)
        plans.append(Planner()(net, net.encoder(observations(3)), None, torch.Generator().manual_seed(0)))
    torch.testing.assert_close(plans[0].mean, plans[1].mean, atol=1e-5, rtol=0)


@pytest.mark.parametrize("noisy", [False, True])
@pytest.mark.parametrize(
    ("component", "output"),
    [*((name, "nan") for name in ("dynamics", "reward", "pi", "q1", "q2")), ("dynamics", "inf"), ("reward", "inf")],
)
def test_a_network_whose_output_is_not_finite_leaves_no_plan(net, component, output, noisy):
    with torch.no_grad():
        net.get_submodule(component)[-1].bias.fill_(float(output))
    plan = Planner(noisy=noisy)(net, net.encoder(observations(2)), None, torch.Generator().manual_seed(0))
    assert plan.action.shape == (2, 2) and plan.action.isnan().all()


@pytest.mark.parametrize("broken", [float("nan"), float("inf"), -float("inf")])
def test_an_episode_without_a_plan_leaves_the_others_theirs(net, broken):
    z = net.encoder(observations(3))
    damaged = z.clone()
    damaged[1] = broken
    plans = [Planner()(net, latents, None, torch.Generator().manual_seed(0)).action for latents in (z, damaged)]
    assert plans[1][1].isnan().all() and plans[0].isfinite().all()
    assert torch.equal(plans[0][[0, 2]], plans[1][[0, 2]])


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_a_sequence_without_a_finite_value_is_not_done(net, monkeypatch, value):
    apply_chunked = planner_module.apply_chunked

    def forward_is_broken(head, rows):
        result = apply_chunked(head, rows)
        return result.where(rows[:, -2:-1] <= 0, value) if head is net.reward else result - 5

    monkeypatch.setattr(planner_module, "apply_chunked", forward_is_broken)
    planner = Planner(horizon=1, proposals=0.0)
    plan = planner(net, net.encoder(observations(50)), None, torch.Generator().manual_seed(0))
    assert (plan.action[:, 0] <= 0).all() and plan.mean.isfinite().all()


@pytest.mark.parametrize(
    "wrong",
    [
        *({"samples": 0}, {"iterations": 0}, {"elites": 65}, {"horizon": 0}, {"samples": 2.5}, {"proposals": -0.1}),
        *({"proposals": float("nan")}, {"temperature": -1}, {"momentum": 1.1}, {"std": 3}, {"discount": 0}),
    ],
)
def test_impossible_constants_are_refused(wrong):
    with pytest.raises(ValueError, match=next(iter(wrong))):
        Planner(**wrong)
