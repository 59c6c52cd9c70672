"""Everything that trains, measures, cuts and repairs follows the model's device and never waits for it.

Shown on the device "meta", where tensors have no values: whatever reads one raises. A dispatch mode sees every operator
and refuses those that mix devices or make the host wait.
"""

import pytest
import torch
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

from prune_env.dense.train_state import TrainState
from prune_env.importance import CRITERIA, MEASURES
from prune_env.open_sets import configured
from prune_env.repair import REPAIRS
from prune_env.targets import Autoencoder, make_target
from prune_env.targets.tdmpc import TDMPC, Planner
from prune_env.targets.tdmpc.rollout import planning_actor
from prune_env.training import train

aten = torch.ops.aten
MOVES = {aten._to_copy, aten.copy_}
WAITS = {aten._local_scalar_dense, aten.nonzero, aten.masked_select, aten.equal}


class OneDevice(TorchDispatchMode):
    """Refuse operators over tensors of two devices (numbers may lie anywhere), and those that read a device."""

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        tensors = [t for t in tree_leaves((args, kwargs or {})) if isinstance(t, torch.Tensor)]
        devices = {t.device.type for t in tensors if t.dim()}
        packet = func.overloadpacket
        assert packet in MOVES or len(devices) <= 1, f"{func} mixes {devices}"
        if "meta" in devices | {t.device.type for t in tensors}:
            assert packet not in WAITS, f"{func} waits for the device"
            assert packet is not aten.index or all(t.dtype != torch.bool for t in tensors), "a mask is counted"
        return func(*args, **(kwargs or {}))


class PlainAutoencoder(Autoencoder):
    """Adam is not fused: there is no fused kernel for "meta"."""

    def optimizers(self, model):
        return [torch.optim.Adam(model.parameters(), lr=self.learning_rate)]


class PlainTDMPC(TDMPC):
    """Adam is not fused, as above."""

    def optimizers(self, model):
        return [torch.optim.Adam(o.param_groups[0]["params"], lr=1e-3) for o in super().optimizers(model)]


TARGETS = {
    "autoencoder": lambda: PlainAutoencoder(latent_dim=4),
    "controller": lambda: PlainTDMPC(batch_size=8, width=16),
    "controller from pixels": lambda: PlainTDMPC(obs="pixels", batch_size=8, width=16, shift=2),
    "controller with its replay on the CPU": lambda: PlainTDMPC(obs="pixels", batch_size=8, shift=2, replay="cpu"),
}


@pytest.fixture(params=TARGETS)
def train_state(request, monkeypatch):
    monkeypatch.setattr("prune_env.training.float", lambda total: 0.0, raising=False)  # the one read, at the end
    # Simulators, which are no part of an update, read the actions of all episodes.
    monkeypatch.setattr("prune_env.targets.tdmpc.rollout._to_host", lambda x: torch.zeros(x.shape))
    return TrainState.fresh(TARGETS[request.param](), torch.Generator().manual_seed(0), device="meta")


def keep_half(train_state):
    keep = torch.ones(len(train_state.surgeon.present), dtype=torch.bool)
    keep[::2] = False
    return keep


def cut(train_state, keep):
    train_state.surgeon.cut(keep)
    for observer in train_state.observers:
        observer.after_surgery(keep)


def learn(train_state, batches, steps=2):
    train(train_state.target, train_state.model, train_state.optimizers, batches, steps, train_state.observers)


def test_the_mode_sees_what_it_must_see():
    device, host = torch.zeros(2, 2, device="meta"), torch.zeros(2, 2)
    for wrong in (lambda: torch.mm(device, host), lambda: device.mul_(host), lambda: device.sum().item()):
        with OneDevice(), pytest.raises((AssertionError, RuntimeError, NotImplementedError)):
            wrong()


@pytest.mark.parametrize("repair", REPAIRS)
def test_train_measure_repair_cut_and_restore(train_state, repair):
    batches = train_state.target.batches(torch.Generator().manual_seed(0))
    with OneDevice():
        learn(train_state, batches)
        assert {t.device.type for t in train_state.tracker.groups(tuple(MEASURES))} == {"meta"}
        dense = train_state.snapshot()
        keep = keep_half(train_state)
        REPAIRS[repair].before_cut(train_state.target, train_state.surgeon, keep, batches)
        cut(train_state, keep)
        REPAIRS[repair].after_cut(train_state.target, train_state.model, batches)
        learn(train_state, batches)
        train_state.restore(dense)
        learn(train_state, batches)
    assert {p.device.type for p in train_state.model.parameters()} == {"meta"}
    assert len(train_state.surgeon.present) == len(keep)


QUICKLY = {"lasso": "lasso:path=2,iterations=2", "hessian": "hessian:probes=1"}


@pytest.mark.parametrize("name", CRITERIA)
@pytest.mark.parametrize("train_state", ["autoencoder", "controller"], indirect=True)
def test_criteria(train_state, name):
    if name == "discrimination" and isinstance(train_state.target, TDMPC):
        return  # there are no classes
    with OneDevice():
        learn(train_state, train_state.target.batches(torch.Generator().manual_seed(0)))
        criterion = configured("criterion", QUICKLY.get(name, name), CRITERIA)
        values = criterion.values(train_state.context(torch.Generator().manual_seed(0)))
    assert values.shape == train_state.surgeon.present.shape


@pytest.mark.parametrize("noisy", [False, True])
@pytest.mark.parametrize("train_state", ["controller"], indirect=True)
def test_planning_draws_on_the_cpu_and_never_waits(train_state, noisy):
    target, planner = train_state.target, Planner(noisy=noisy)
    actor = planning_actor(train_state.model, planner, torch.Generator().manual_seed(0))
    with OneDevice():
        for _ in range(2):
            assert actor(torch.zeros(3, *target.task.observation_shape)).shape == (3, 1)


def test_examples_hold_their_data_on_the_device():
    target = make_target("multipath")
    target.to("meta")
    batch = next(target.batches(torch.Generator().manual_seed(0)))
    assert {t.device.type for t in (*batch.inputs, *batch.answers)} == {"meta"}
