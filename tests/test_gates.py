"""Gates on channels: a closed gate is the cut, gradients against finite differences, and every rule by hand."""

import copy
import math

import numpy as np
import pytest
import torch
from torch import nn

from prune_env.baselines import GateTraining
from prune_env.dense.train_state import TrainState
from prune_env.gates import GATES, ChannelGates, GateRule, GateState, register_gates
from prune_env.targets import make_target
from prune_env.training import train

EXACT = ["autoencoder", "tdmpc", "simple", "recursive", "branched", "multipath", "tdmpc-style", "complex-cnn"]


class Fixed(GateRule):
    """Gates that are given."""

    def __init__(self, values):
        self.given = values

    def gates(self, theta, state):
        return self.given.to(theta.dtype)


def state_of(name="autoencoder", **options):
    state = TrainState.fresh(make_target(name, **options), torch.Generator().manual_seed(0))
    torch.manual_seed(0)
    with torch.no_grad():
        for p in state.model.parameters():
            if p.dim() == 1:
                p.add_(0.1 * torch.randn_like(p))
    return state


def gates_on(state, rule, steps=10, keep=0.5, too_much=lambda _: True):
    width = len(state.surgeon.present)
    shares = torch.full((width,), 1 / width)
    return ChannelGates(state.surgeon, rule, steps, torch.Generator().manual_seed(0), shares, keep, too_much)


def some_closed(state):
    closed = torch.rand(len(state.surgeon.present), generator=torch.Generator().manual_seed(1)) < 0.4
    for g in range(len(state.surgeon.grouping)):
        members = (state.surgeon.group_of == g).nonzero()[:, 0]
        closed[members[:2]] = False
    return closed


def traced(state):
    """Outputs of all entry points for random inputs: the target traces zeros, so weights and biases decide."""
    outputs = state.target.trace(state.model.eval())
    return outputs if isinstance(outputs, (list, tuple)) else [outputs]


@pytest.mark.parametrize("name", EXACT)
def test_a_closed_gate_is_the_cut(name):
    """The trace, and the loss on a training batch, are the same with gates closed as after the cut."""
    results = []
    for cut in (False, True):
        state = state_of(name)
        closed = some_closed(state)
        if cut:
            state.cut(~closed)
            gates = None
        else:
            gates = gates_on(state, Fixed((~closed).float())).__enter__()
        batch = next(state.target.batches(torch.Generator().manual_seed(2)))
        fixed = torch.Generator().manual_seed(3)
        if name == "tdmpc":
            random = torch.Generator().manual_seed(0)
            x = torch.randn(16, state.model.encoder[0].in_features, generator=random)
            z = state.model.encoder(x)
            za = torch.cat([z, torch.ones(16, state.model.action_dim)], 1)
            heads = [getattr(state.model, n)(za) for n in ("reward", "q1", "q2")]
            outputs = [*heads, state.model.act(z)]
        else:
            outputs = [*traced(state), state.target.loss(state.model.eval(), batch)[None]]
        results.append([o.detach() for o in outputs])
        del gates, fixed
    for gated, small in zip(*results, strict=True):
        if gated.shape == small.shape:  # latents among the outputs of a trace have fewer channels
            assert torch.allclose(gated, small, rtol=1e-5, atol=1e-6)
    assert any(a.shape == b.shape for a, b in zip(*results, strict=True))


def test_training_with_closed_gates_is_training_after_the_cut():
    """Whole steps, BatchNorm in training mode. A large eps: biases in front of it have gradients of rounding alone."""
    models = []
    for cut in (False, True):
        state = state_of(latent_dim=4)
        closed = some_closed(state)
        state.optimizers[0].param_groups[0]["eps"] = 1e-2
        batches = state.target.batches(torch.Generator().manual_seed(2))
        if cut:
            state.cut(~closed)
            train(state.target, state.model, state.optimizers, batches, 3)
        else:
            with gates_on(state, Fixed((~closed).float())) as gates:
                train(state.target, state.model, state.optimizers, batches, 3, [gates])
            state.cut(~closed)
        models.append(state.model.state_dict())
    for key, tensor in models[0].items():
        assert torch.allclose(tensor, models[1][key], rtol=1e-4, atol=1e-6), key


@pytest.mark.parametrize("name", ["autoencoder", "tdmpc"])
def test_gate_gradients_are_finite_differences(name):
    """dL/dgate of the training step's loss, in double precision; TD-MPC computes its gradients without autograd."""
    options = {"latent_dim": 4} if name == "autoencoder" else {"latent_dim": 6, "width": 12, "encoder_width": 10}
    state = state_of(name, **options)
    values = 0.5 + torch.rand(len(state.surgeon.present), generator=torch.Generator().manual_seed(4))
    target, model = state.target, state.model
    replay = next(target.batches(torch.Generator().manual_seed(0)))
    target.collect(model, replay)
    if name == "tdmpc":
        model.reward[-1].weight.data.normal_(generator=torch.Generator().manual_seed(5))

    dense = copy.deepcopy(state)

    def loss_at(gates):
        other = copy.deepcopy(dense)
        with gates_on(other, Fixed(gates)):
            pair = target.losses(other.model.eval(), replay)
        return pair[0][0].detach().double()

    if name == "tdmpc":
        generator, model_state = replay.generator, copy.deepcopy(replay.generator.get_state())
    gates = gates_on(state, Fixed(values))
    with gates:
        if name == "tdmpc":
            generator.set_state(model_state)
        ((loss, parameters), *_) = target.losses(model.eval(), replay)
        for p, g in zip(parameters, torch.autograd.grad(loss, parameters, allow_unused=True), strict=True):
            p.grad = g
        gates.after_backward(torch.optim.SGD(list(parameters), lr=0.0))
        found = gates._gradient.clone()
    wrong = 0
    for c in range(0, len(values), max(1, len(values) // 12)):
        ends = []
        for sign in (1, -1):
            if name == "tdmpc":
                generator.set_state(model_state)
            moved = values.clone()
            moved[c] += sign * 1e-2
            ends.append(loss_at(moved))
        expected = float(ends[0] - ends[1]) / 2e-2
        if name == "tdmpc" and state.surgeon.grouping.groups[int(state.surgeon.group_of[c])].name.startswith("pi"):
            continue  # trained by another loss
        wrong += abs(float(found[c]) - expected) > 0.05 * abs(expected) + 2e-5
    assert not wrong


def four(**more):
    """Four channels of one group."""
    ones = torch.ones(4)
    base = {"norms": ones, "noise": ones * 0.5, "progress": 0.0, "keep": 0.5, "mask": ones > 0, "slopes": ones * 0}
    return GateState(**{**base, **more})


THETA = torch.tensor([-3.0, -1.0, 0.5, 3.0])


def test_hard_concrete_by_hand():
    rule, u = GATES["l0"], torch.tensor([0.5, 0.9, 0.2, 0.5])
    expected = []
    for theta, noise in zip(THETA.tolist(), u.tolist(), strict=True):
        s = 1 / (1 + math.exp(-(math.log(noise / (1 - noise)) + theta) / (2 / 3)))
        expected.append(min(1.0, max(0.0, 1.2 * s - 0.1)))
    assert rule.gates(THETA, four(noise=u)).tolist() == pytest.approx(expected, abs=1e-6)
    assert expected[0] == 0 and 0 < expected[1] < 1
    likely = [1 / (1 + math.exp(-(t - 2 / 3 * math.log(0.1 / 1.1)))) for t in THETA.tolist()]
    assert rule.penalty(THETA, four()).tolist() == pytest.approx(likely)
    closed = rule.final(THETA, four()) == 0
    assert torch.equal(closed, rule.openness(THETA, four()) <= 0) and closed.tolist() == [True, False, False, False]


def test_the_hard_concrete_penalty_is_the_share_of_open_samples():
    rule, noise = GATES["l0"], torch.rand(200_000, generator=torch.Generator().manual_seed(0)).clamp(1e-6, 1 - 1e-6)
    theta = torch.full_like(noise, -0.7)
    share = (rule.gates(theta, four(noise=noise)) > 0).float().mean()
    assert float(share) == pytest.approx(float(rule.penalty(theta[:1], four())), abs=5e-3)


def test_gumbel_by_hand_and_against_two_gumbel_variables():
    rule = GATES["gumbel"]
    cold = four(progress=1.0, noise=torch.tensor([0.5, 0.8, 0.5, 0.5]))
    expected = [1 / (1 + math.exp(-(t + n) / 0.1)) for t, n in zip(THETA.tolist(), [0, math.log(4), 0, 0], strict=True)]
    assert rule.gates(THETA, cold).tolist() == pytest.approx(expected, rel=1e-4)
    generator = torch.Generator().manual_seed(0)
    u, first, second = (torch.rand(200_000, generator=generator).clamp(1e-6, 1 - 1e-6) for _ in range(3))
    theta = torch.full_like(u, 0.4)
    mine = rule.gates(theta, four(noise=u))
    gumbel = [-torch.log(-torch.log(v)) for v in (first, second)]
    theirs = torch.softmax(torch.stack([0.4 + gumbel[0], gumbel[1]]), 0)[0]
    for level in (0.25, 0.5, 0.75):
        assert float((mine < level).float().mean()) == pytest.approx(float((theirs < level).float().mean()), abs=6e-3)


def test_variational_dropout_by_hand():
    rule = GATES["variational"]
    noise = torch.tensor([0.5, 0.8413447, 0.1586553, 0.5])  # 0, 1, -1 and 0 standard deviations
    assert rule.gates(THETA, four(noise=noise)).tolist() == pytest.approx(
        [1.0, 1 + math.exp(0.5), 1 - math.exp(-0.25), 1.0], abs=1e-4
    )
    theta, alpha = 0.5, math.exp(-0.5)
    sigmoid = 1 / (1 + math.exp(-(1.8732 + 1.48695 * math.log(alpha))))
    expected = -(0.63576 * sigmoid - 0.5 * math.log(1 + 1 / alpha) - 0.63576)
    assert float(rule.penalty(torch.tensor([theta]), four())) == pytest.approx(expected, abs=1e-5)
    assert rule.final(torch.tensor([-3.1, -2.9]), four()).tolist() == [0.0, 1.0]


def test_soft_threshold_by_hand_shrinks_norms():
    """Norms 0.2, 0.5, 1 and 2 at the threshold sigmoid(0) = 0.5 leave 0, 0, 0.5 and 1.5."""
    norms, rule = torch.tensor([0.2, 0.5, 1.0, 2.0]), GATES["str"]
    gates = rule.gates(torch.zeros(4), four(norms=norms))
    assert (gates * norms).tolist() == pytest.approx([0.0, 0.0, 0.5, 1.5])
    assert torch.equal(gates > 0, rule.openness(torch.zeros(4), four(norms=norms)) > 0)
    assert rule.penalty(THETA, four()).tolist() == (-THETA).tolist()


def test_slimming_by_hand():
    rule = GATES["slimming"]
    assert rule.gates(THETA, four()).tolist() == THETA.tolist()
    assert rule.penalty(THETA, four()).tolist() == rule.openness(THETA, four()).tolist() == THETA.abs().tolist()


def test_dynamic_surgery_by_hand_splices():
    """The threshold is the median, 2.5: below 2.25 gates close, above 2.75 they open, in between they stay."""
    rule = GATES["dynamic-surgery"]
    state = four(norms=torch.tensor([1.0, 2.4, 2.6, 4.0]), progress=0.5, mask=torch.tensor([True, True, False, False]))
    rule.update(state)
    assert state.mask.tolist() == [False, True, False, True]
    state.norms = torch.tensor([5.0, 2.4, 2.6, 2.0])
    rule.update(state)
    assert state.mask.tolist() == [True, True, False, False]
    early = four(norms=torch.tensor([1.0, 2.4, 2.6, 4.0]))
    rule.update(early)
    assert bool(early.mask.all())


def test_rigl_by_hand_drops_and_grows():
    """Two of four are open; at the beginning 0.3 of them, 1, changes place."""
    rule = GATES["rigl"]
    state = four(norms=torch.tensor([3.0, 2.0, 1.0, 0.5]), slopes=torch.tensor([9.0, 9.0, 0.1, 0.2]))
    rule.initial(state)
    assert state.mask.tolist() == [True, True, False, False]
    state.step = 10
    rule.update(state)
    assert state.mask.tolist() == [True, False, False, True]
    state.step = 11
    before = state.mask.clone()
    rule.update(state)
    assert torch.equal(state.mask, before)


def test_dense_gradients_reach_spliced_weights_only():
    for name, learns in (("dynamic-surgery", True), ("rigl", False)):
        state = state_of(latent_dim=4)
        gates = gates_on(state, GATES[name])
        gates.state.mask = ~some_closed(state)
        owner = gates._owners["encoder.3.weight", 1]
        closed = (~gates.state.mask)[owner]
        before = state.model.encoder[3].weight.detach().clone()
        with gates:
            train(state.target, state.model, state.optimizers, state.target.batches(torch.Generator()), 1, [gates])
            moved = (gates._plain["encoder.3.weight"] - before)[:, closed].abs().sum()
        assert (float(moved) > 0) == learns


def test_gradients_of_soft_thresholded_weights_are_finite_differences():
    """The gate depends on the weights' norm: the gradient goes through it."""
    torch.manual_seed(0)
    state = state_of(latent_dim=4)
    gates = gates_on(state, GATES["str"])
    with torch.no_grad():
        gates.theta.fill_(-0.5)
    batch = next(state.target.batches(torch.Generator().manual_seed(0)))
    name, weight, dense = "encoder.3.weight", state.model.encoder[3].weight, copy.deepcopy(state.model)

    def loss_at(move):
        other = copy.deepcopy(dense).double().eval()
        layer = other.encoder[3].weight
        key = gates._owners[name, 1]
        with torch.no_grad():
            layer += move
            for k in gates._keys:
                if k[0] != name:
                    other.get_parameter(k[0]).mul_(gates._factor(k[0]))
            norms = layer.norm(dim=0) / gates._unit[key]
            layer.mul_((1 - torch.sigmoid(torch.tensor(-0.5, dtype=torch.float64)) / norms).clamp(min=0))
            return float(state.target.loss(other, batch.double()))

    with gates:
        state.model.eval()
        state.optimizers[0].zero_grad()
        state.target.loss(state.model, batch).backward()
        plain = weight.grad.clone()
        gates.after_backward(state.optimizers[0])
        found = weight.grad.clone()
    weight.grad = None
    without = plain * gates._factor(name)  # as if gates did not depend on the weights
    largest = found.abs().flatten().argsort(descending=True)[:6].tolist()
    differ = 0
    for i, j in (divmod(k, found.shape[1]) for k in largest):
        move = torch.zeros_like(found)
        move[i, j] = 1e-4
        expected = (loss_at(move) - loss_at(-move)) / 2e-4
        assert float(found[i, j]) == pytest.approx(expected, rel=0.02)
        differ += abs(float(without[i, j]) - expected) > 0.05 * abs(expected)
    assert differ


def test_a_rule_is_registered_once():
    with pytest.raises(ValueError, match="already registered"):
        register_gates("l0", GateRule())


# ---------------------------------------------------------------------- as policies
@pytest.fixture(scope="module")
def env():
    import gymnasium as gym

    options = {"latent_dim": 4, "dense_steps": 120, "learning_rate": 0.005, "steps_per_round": 2}
    return gym.make("PruneEnv/Autoencoder-v1", **options, rounds=1, budget=0.5).unwrapped


@pytest.mark.parametrize("rule", GATES)
def test_every_rule_meets_the_budget_counts_its_steps_and_decides_which_channels_go(env, rule):
    finals = []
    for _ in range(2):
        observation, _ = env.reset(seed=0)
        policy = GateTraining(env, rule=rule, steps=12)
        policy.attach(env.view)
        ratios, _ = policy.predict(observation)
        openness, groups = env.episode._openness, env.network.group_of
        assert np.isfinite(openness).all() and env.episode.gradients == 12
        present, before = env.network.train_state.surgeon.present.numpy(), env.episode.widths
        _, _, _, _, info = env.step(ratios)
        gone = np.setdiff1d(present, env.network.train_state.surgeon.present.numpy())
        for g in range(len(before)):
            stays = np.setdiff1d(np.flatnonzero(groups == g), gone)
            mine = gone[groups[gone] == g]
            assert not len(mine) or openness[mine].max() <= openness[stays].min()
        assert 0.5 <= info["sparsities"]["parameters"] < 0.56
        finals.append(info["reward_terms"]["retained"])
        assert env.episode._openness is None
    assert finals[0] == finals[1]


def test_weights_end_multiplied_by_their_gates(env):
    """What the network computes with its final gates, it computes without them when training is over."""
    state = state_of(latent_dim=4)
    gates = gates_on(state, GATES["slimming"])
    batches = state.target.batches(torch.Generator().manual_seed(0))
    with gates:
        train(state.target, state.model, state.optimizers, batches, 4, [gates])
        during = state.model.eval()(next(batches).clone() * 0 + 0.3)
    after = state.model.eval()(torch.full((64, 64), 0.3))
    assert torch.allclose(during, after, atol=1e-6)
    assert not any(isinstance(m, nn.Module) and m._forward_hooks for m in state.model.modules())
