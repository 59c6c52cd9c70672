"""The fast update against the literal one, number by number, and what it tells whoever watches."""

import copy

import pytest
import torch
from literal_tdmpc import LiteralTDMPC, shifted

from prune_env.targets.tdmpc import Batch, UpdateConfig
from prune_env.targets.tdmpc.fused import chain, chain_backward
from prune_env.targets.tdmpc.gradients import can_skip_autograd
from prune_env.targets.tdmpc.losses import model_loss, policy_loss
from prune_env.targets.tdmpc.networks import COMPONENTS, ControllerNet, explore, pixel_encoder, state_encoder
from prune_env.targets.tdmpc.replay import _shifted_by_index, _shifted_slices, stack_frames
from prune_env.targets.tdmpc.update import update

HORIZON, SIZE, ACTIONS = 3, 80, 2  # more images than one chunk holds


def controller(observation, seed=0):
    generator = torch.Generator().manual_seed(seed)
    encoder = state_encoder(5, 12, 8) if observation == "state" else pixel_encoder(3, 16, 4, (5, 3), 8)
    net = ControllerNet(encoder, 8, ACTIONS, 16, generator)
    with torch.no_grad():  # heads that start at zero would hide mistakes
        for head in (net.reward, net.q1, net.q2):
            head[-1].weight.normal_(generator=generator)
    for name, network in net.target_networks:
        network.load_state_dict(net.get_submodule(name).state_dict())
    return net


def batch_of(observation, seed):
    g = torch.Generator().manual_seed(seed)
    if observation == "state":
        seen = torch.randn(HORIZON + 1, SIZE, 5, generator=g)
    else:
        seen = torch.randint(256, (HORIZON + 1, SIZE, 3, 16, 16), dtype=torch.uint8, generator=g)
    action = 2 * torch.rand(HORIZON, SIZE, ACTIONS, generator=g) - 1
    reward = 3 * torch.rand(HORIZON, SIZE, 1, generator=g)
    return Batch(seen[0], seen[1:], action, reward), torch.randn(2 * HORIZON + 1, SIZE, ACTIONS, generator=g)


def optimizers_of(net):
    rest = [p for name, p in net.named_parameters() if not name.startswith("pi.")]
    return torch.optim.Adam(rest, lr=1e-3, fused=True), torch.optim.Adam(net.pi.parameters(), lr=1e-3, fused=True)


def ignore(optimizer):
    pass


@pytest.mark.parametrize("observation", ["state", "pixels"])
@pytest.mark.parametrize("clip", [10.0, 0.5])
def test_agrees_with_the_literal_update(observation, clip):
    net, config = controller(observation), UpdateConfig(clip=clip, tau=0.1)
    literal = LiteralTDMPC(net, config)
    model_optimizer, pi_optimizer = optimizers_of(net)
    for step in range(6):
        batch, noise = batch_of(observation, step)
        ours = update(net, model_optimizer, pi_optimizer, batch, noise, ignore, config)
        assert float(ours) == pytest.approx(literal.update(*batch, noise), rel=1e-5)
    for name, p in literal.model.named_parameters():
        torch.testing.assert_close(net.get_parameter(name), p, rtol=0, atol=1e-5, msg=name)
    for name, network in net.target_networks:
        for key, p in literal.slow.get_submodule(name).named_parameters():
            torch.testing.assert_close(network.get_parameter(key), p, rtol=0, atol=1e-5, msg=f"slow {name}.{key}")
    assert int(net.updates) == 6


def test_updates_change_everything_but_by_little():
    net = controller("state")
    before = copy.deepcopy(net)
    batch, noise = batch_of("state", 0)
    update(net, *optimizers_of(net), batch, noise, ignore, UpdateConfig())
    moved = {name: (p - before.get_parameter(name)).abs().max() for name, p in net.named_parameters()}
    assert all(0 < m < 2e-3 for m in moved.values()), moved
    for name, network in net.target_networks:  # a hundredth of the way
        now, then = net.get_submodule(name), before.get_submodule(name)
        for p, new, old in zip(network.parameters(), now.parameters(), then.parameters(), strict=True):
            torch.testing.assert_close(p, old + 0.01 * (new - old))


def test_slow_copies_move_every_second_update():
    net = controller("state")
    optimizers, moved = optimizers_of(net), []
    for step in range(4):
        before = copy.deepcopy(net.target_network("q1")).state_dict()
        batch, noise = batch_of("state", step)
        update(net, *optimizers, batch, noise, ignore, UpdateConfig())
        moved.append(any(not torch.equal(t, before[k]) for k, t in net.target_network("q1").state_dict().items()))
    assert moved == [True, False, True, False]


def test_each_optimizer_is_shown_its_own_complete_gradients_once():
    net = controller("state")
    model_optimizer, pi_optimizer = optimizers_of(net)
    batch, noise = batch_of("state", 0)
    reference = copy.deepcopy(net)
    loss, _ = model_loss(reference, batch, noise[:HORIZON], UpdateConfig())
    (loss / HORIZON).backward()
    shown = []

    def evaluation(optimizer):
        shown.append((optimizer, {n: p.grad.clone() for n, p in net.named_parameters() if p.grad is not None}))

    update(net, model_optimizer, pi_optimizer, batch, noise, evaluation, UpdateConfig(clip=1e-3))
    assert [optimizer for optimizer, _ in shown] == [model_optimizer, pi_optimizer]
    (_, first), (_, second) = shown
    assert {n.partition(".")[0] for n in first} == {"encoder", "dynamics", "reward", "q1", "q2"}
    for name, gradient in first.items():  # not yet clipped
        torch.testing.assert_close(gradient, reference.get_parameter(name).grad)
    changed = {n.partition(".")[0] for n, g in second.items() if n not in first}
    assert changed == {"pi"} and all(second[f"pi.{n}"].abs().sum() > 0 for n, _ in net.pi.named_parameters())


def test_the_loss_is_the_formula_by_hand():
    """One step, one sample, identity-like networks: every number can be checked with a pencil."""
    net = ControllerNet(torch.nn.Sequential(torch.nn.Linear(1, 1)), 1, 1, 1, torch.Generator().manual_seed(0))
    with torch.no_grad():
        for p in [*net.parameters(), *(p for _, network in net.target_networks for p in network.parameters())]:
            p.zero_()
        net.encoder[0].weight.fill_(1.0)  # z = observation; the slow encoder says 0
        for head, bias in ((net.dynamics, 0.5), (net.reward, 2.0), (net.q1, 3.0), (net.q2, 4.0)):
            head[-1].bias.fill_(bias)
        net.target_network("q1")[-1].bias.fill_(7.0)
        net.target_network("q2")[-1].bias.fill_(6.0)
    one = torch.ones(1, 1)
    batch = Batch(one, one.expand(1, 1, 1), one.expand(1, 1, 1), one.expand(1, 1, 1))
    loss, latents = model_loss(net, batch, torch.zeros(1, 1, 1), UpdateConfig(discount=0.5))
    # latents 0.5 against 0; reward 2 against 1; values 3 and 4 against 1 + 0.5 * 6
    assert loss.item() == pytest.approx(2 * 0.25 + 0.5 * 1 + 0.1 * (1 + 0))
    torch.testing.assert_close(latents, torch.tensor([1.0, 0.5]).view(2, 1, 1))
    # minus min(3, 4) at both latents, the second at half the weight
    assert policy_loss(net, latents, torch.zeros(2, 1, 1), UpdateConfig()).item() == pytest.approx(-4.5)


def test_no_sample_weighs_more_than_the_limit():
    net = controller("state")
    batch, noise = batch_of("state", 0)
    loss, _ = model_loss(net, batch._replace(reward=batch.reward + 1e6), noise[:HORIZON], UpdateConfig())
    assert loss.item() < 2.6 * 1e4 + 1


def test_bfloat16_is_near():
    net = controller("pixels")
    batch, noise = batch_of("pixels", 0)
    exact, _ = model_loss(net, batch, noise[:HORIZON], UpdateConfig())
    rough, _ = model_loss(net, batch, noise[:HORIZON], UpdateConfig(bfloat16=True))
    assert rough.item() == pytest.approx(exact.item(), rel=0.05)


def test_noise_is_cut_and_actions_stay_within_bounds():
    actions = torch.tensor([0.0, 0.0, 0.9, -0.9], requires_grad=True)
    noisy = explore(actions, torch.tensor([1.0, 100.0, 100.0, -100.0]), 0.05)
    torch.testing.assert_close(noisy, torch.tensor([0.05, 0.3, 1.0, -1.0]), atol=2e-6, rtol=0)
    noisy.sum().backward()
    assert torch.equal(actions.grad, torch.ones(4))


# ---------------------------------------------------------------------- frames
def test_stacking_takes_the_frames_up_to_each_observation():
    frames = torch.arange(2 * 5, dtype=torch.uint8).view(2, 5, 1, 1, 1)
    seen = stack_frames(frames, 3)
    assert seen.shape == (3, 2, 3, 1, 1)
    assert seen[:, 0].flatten(1).tolist() == [[0, 1, 2], [1, 2, 3], [2, 3, 4]]


@pytest.mark.parametrize(("size", "pad"), [(16, 1), (21, 3)])
def test_shifted_copies_are_the_papers_shifts(size, pad):
    frames = torch.randint(256, (5, 4, 2, size, size), dtype=torch.uint8, generator=torch.Generator().manual_seed(0))
    ours = stack_frames(frames, 3, pad, torch.Generator().manual_seed(1))
    shift = torch.randint(2 * pad + 1, (2, 5, 2), generator=torch.Generator().manual_seed(1))
    for i, plain in enumerate(stack_frames(frames, 3)):
        expected = shifted(plain.float(), shift[i], pad)
        torch.testing.assert_close(ours[i].float(), expected, atol=0.02, rtol=0)


@pytest.mark.parametrize(("channels", "stack", "pad"), [(1, 1, 2), (3, 3, 4), (2, 3, 8)])
def test_a_device_shifts_frames_as_the_cpu_does(channels, stack, pad):
    generator = torch.Generator().manual_seed(0)
    frames = torch.randint(256, (5, 3 + stack, channels, 16, 16), dtype=torch.uint8, generator=generator)
    shifts = torch.randint(2 * pad + 1, (4, 5, 2), generator=generator)
    ours, expected = _shifted_by_index(frames, stack, pad, shifts), _shifted_slices(frames, stack, pad, shifts)
    assert torch.equal(ours, expected)
    assert ours[1:].flatten(0, 1).is_contiguous(memory_format=torch.channels_last)


# ---------------------------------------------------------------------- chains of layers
def narrower(head, keep):
    """The same kind of head with its second hidden layer cut to `keep` channels: every Parameter is a new object."""
    second, last = head[-3], head[-1]
    second.weight, second.bias = (torch.nn.Parameter(p.detach()[keep]) for p in (second.weight, second.bias))
    last.weight = torch.nn.Parameter(last.weight.detach()[:, keep])
    return head


@pytest.mark.parametrize("part", ["encoder", "dynamics", "reward", "pi", "q1"])
@pytest.mark.parametrize("cut", [False, True])
def test_a_chain_and_its_way_back_are_what_autograd_finds(part, cut):
    """In float64; also after the layers were cut behind a chain that has run."""
    layers = controller("state").get_submodule(part).double()
    generator = torch.Generator().manual_seed(1)
    rows = torch.randn(7, layers[0].in_features, dtype=torch.float64, generator=generator, requires_grad=True)
    with torch.no_grad():
        chain(layers, rows)
    if cut:
        narrower(layers, [0, 3, 4, 9])
    plain = layers(rows)
    weight = torch.randn(plain.shape, dtype=torch.float64, generator=generator)
    expected = torch.autograd.grad((weight * plain).sum(), [rows, *layers.parameters()])
    tape, columns = [], slice(1, 3)
    with torch.no_grad():
        torch.testing.assert_close(chain(layers, rows, tape), plain, rtol=1e-12, atol=1e-12)
        torch.testing.assert_close(chain_backward(tape, weight, columns, learn=True), expected[0][:, columns])
    for p, gradient in zip(layers.parameters(), expected[1:], strict=True):
        torch.testing.assert_close(p.grad, gradient, rtol=1e-10, atol=1e-12)


def test_layers_learn_from_all_their_passes_and_only_when_asked():
    layers = controller("state").q1
    rows = torch.randn(6, layers[0].in_features)
    layers(rows).sum().backward()
    expected = [p.grad for p in layers.parameters()]
    layers.zero_grad()
    with torch.no_grad():
        for part in rows.split(2):
            for learn in (True, False):
                tape = []
                outputs = chain(layers, part, tape)
                chain_backward(tape, torch.ones_like(outputs), slice(0), learn)
    for p, gradient in zip(layers.parameters(), expected, strict=True):
        torch.testing.assert_close(p.grad, gradient)


@torch.no_grad()
def test_a_chain_passes_broken_numbers_on_and_refuses_other_layers():
    layers = controller("state").q1
    assert chain(layers, torch.full((1, layers[0].in_features), torch.nan)).isnan().all()
    with pytest.raises(TypeError, match="ReLU"):
        chain(torch.nn.Sequential(torch.nn.Linear(2, 2), torch.nn.ReLU()), torch.ones(1, 2))


def gradients_of_an_update(net, batch, noise, config):
    """The loss, and every gradient that is there before either step."""
    seen = []

    def evaluation(optimizer):
        seen.append({name: p.grad.clone() for name, p in net.named_parameters() if p.grad is not None})

    return update(net, *optimizers_of(net), batch, noise, evaluation, config), seen


@pytest.mark.parametrize("observation", ["state", "pixels"])
@pytest.mark.parametrize(
    ("config", "near"),
    [(UpdateConfig(), 1e-5), (UpdateConfig(reward=400.0, rho=0.9), 1e-5), (UpdateConfig(bfloat16=True), 0.05)],
    ids=["usual", "at the limit", "bfloat16"],
)
def test_written_out_gradients_are_those_of_autograd(observation, config, near):
    """Also where the losses of some samples reach their limit."""
    written, differentiated = controller(observation), controller(observation)
    for head in (differentiated.dynamics, differentiated.pi):
        head[0].register_forward_hook(lambda *ignored: None)  # layers that are watched are called as they are
    assert can_skip_autograd(written) and not can_skip_autograd(differentiated)
    batch, noise = batch_of(observation, 0)
    batch = batch._replace(reward=batch.reward * torch.linspace(0, 200, SIZE).view(1, SIZE, 1))
    loss, ours = gradients_of_an_update(written, batch, noise, config)
    expected, theirs = gradients_of_an_update(differentiated, batch, noise, config)
    assert loss.item() == pytest.approx(expected.item(), rel=near)
    for mine, other in zip(ours, theirs, strict=True):
        assert mine.keys() == other.keys()
        for name, gradient in mine.items():
            assert (gradient - other[name]).norm() <= near * other[name].norm(), name
    assert {name.partition(".")[0] for name in ours[1]} == set(COMPONENTS)


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU")
@pytest.mark.parametrize("observation", ["state", "pixels"])
@pytest.mark.parametrize(("config", "near"), [(UpdateConfig(), 1e-4), (UpdateConfig(bfloat16=True), 0.05)])
def test_gradients_on_a_gpu_are_those_of_the_cpu(observation, config, near):
    host, device = controller(observation), controller(observation).to("cuda")
    for _, network in device.target_networks:
        network.to("cuda")
    batch, noise = batch_of(observation, 0)
    loss, expected = gradients_of_an_update(host, batch, noise, config)
    there, gradients = gradients_of_an_update(device, Batch(*(x.cuda() for x in batch)), noise.cuda(), config)
    assert there.item() == pytest.approx(loss.item(), rel=near)
    for ours, theirs in zip(gradients, expected, strict=True):
        for name, gradient in theirs.items():
            assert (ours[name].cpu() - gradient).norm() <= near * gradient.norm(), name
