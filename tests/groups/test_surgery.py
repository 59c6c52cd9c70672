from __future__ import annotations

import copy
import gc
import pickle
import weakref
from typing import Any

import pytest
import torch
from constructs import BY_NAME, CASES, grouping_of
from networks import Case, lin, masked, net, of, random_inputs, seq, trained
from torch import Tensor, nn

from prune_env.groups import Grouping, Surgeon, discover

SHARED = BY_NAME["concatenation of two, normalised"]
OPTIMIZERS: dict[str, dict[str, Any]] = {
    "SGD": {"momentum": 0.9},
    "Adam": {"amsgrad": True},
    "AdamW": {},
    "RMSprop": {"momentum": 0.9, "centered": True},
    "Adagrad": {},
    "Adadelta": {},
    "Adamax": {},
    "NAdam": {},
    "RAdam": {},
    "ASGD": {},
    "Rprop": {},
    "Adafactor": {},
}


def make(case: Case, optimizer: str = "Adam", **options: Any) -> tuple[nn.Module, Grouping, torch.optim.Optimizer]:
    """A network that has been trained for two steps, its groups and its optimizer."""
    model = trained(case)
    grouping = grouping_of(case.name)
    made = getattr(torch.optim, optimizer)(model.parameters(), lr=0.01, **options)
    for _ in range(2):
        train(case, model, [made])
    return model, grouping, made


def train(case: Case, model: nn.Module, optimizers: list[torch.optim.Optimizer]) -> None:
    for optimizer in optimizers:
        optimizer.zero_grad()
    outputs = model(*random_inputs(case))
    torch.utils._pytree.tree_map(lambda t: t.square().sum() if t is not None else 0, outputs)
    sum(t.square().sum() for t in torch.utils._pytree.tree_leaves(outputs) if t is not None).backward()
    for optimizer in optimizers:
        optimizer.step()


def random_keep(surgeon: Surgeon, seed: int = 0, share: float = 0.5) -> Tensor:
    """A mask that leaves at least one channel, at random places, of every group."""
    generator = torch.Generator().manual_seed(seed)
    order = torch.rand(len(surgeon.present), generator=generator)
    keep = order < share
    for g in range(len(surgeon.grouping)):
        mine = (surgeon.group_of == g).nonzero().flatten()
        keep[mine[order[mine].argmin()]] = True
    return keep


def everything(model: nn.Module, optimizer: torch.optim.Optimizer) -> dict[str, Tensor]:
    """Copies of all tensors of model and optimizer, under names."""
    tensors = {name: t.detach().clone() for name, t in model.state_dict().items()}
    for name, parameter in model.named_parameters():
        for key, value in optimizer.state[parameter].items():
            tensors[f"{name}/{key}"] = value.clone() if isinstance(value, Tensor) else torch.tensor(value)
    return tensors


def assert_equal(one: dict[str, Tensor], other: dict[str, Tensor]) -> None:
    assert one.keys() == other.keys()
    for name in one:
        assert torch.equal(one[name], other[name]), name


def by_hand(tensor: Tensor, name: str, grouping: Grouping, keep: Tensor) -> Tensor:
    """Slices with plain Python: the positions of every removed channel are left out."""
    offset = 0
    gone: dict[int, set[int]] = {}
    for group in grouping:
        for s in group.slices:
            if s.tensor == name:
                for c in range(group.channels):
                    if not keep[offset + c]:
                        gone.setdefault(s.dim, set()).update(s.positions[c].tolist())
        offset += group.channels
    for dim, positions in gone.items():
        if tensor.shape[dim] > 1 or 0 in positions:
            left = [i for i in range(tensor.shape[dim]) if i not in positions]
            tensor = tensor[(slice(None),) * dim + (left,)]
    return tensor


# ---------------------------------------------------------------- cutting
def test_a_cut_by_hand() -> None:
    model = net(lambda s, x: s.b(s.a(x)), a=lin(2, 3), b=lin(3, 1))()
    with torch.no_grad():
        model.a.weight.copy_(torch.tensor([[1.0, 2.0], [3.0, 4.0], [5.0, 6.0]]))
        model.a.bias.copy_(torch.tensor([7.0, 8.0, 9.0]))
        model.b.weight.copy_(torch.tensor([[10.0, 11.0, 12.0]]))
    surgeon = Surgeon(model, discover(model, lambda m: m(torch.zeros(1, 2)), ("a", "b")))
    surgeon.cut(torch.tensor([True, False, True]))
    assert model.a.weight.tolist() == [[1.0, 2.0], [5.0, 6.0]]
    assert model.a.bias.tolist() == [7.0, 9.0]
    assert model.b.weight.tolist() == [[10.0, 12.0]]
    assert str(model.a) == "Linear(in_features=2, out_features=2, bias=True)"
    assert surgeon.present.tolist() == [0, 2]
    assert surgeon.widths.tolist() == [2]
    assert surgeon.owner("b.weight", 1).tolist() == [0, 2]


@pytest.mark.parametrize("optimizer", [name for name in OPTIMIZERS if hasattr(torch.optim, name)])
def test_optimizer_state_follows(optimizer: str) -> None:
    model, grouping, made = make(SHARED, optimizer, **OPTIMIZERS[optimizer])
    before = everything(model, made)
    surgeon = Surgeon(model, grouping, [made])
    keep = random_keep(surgeon)
    surgeon.cut(keep)
    after = everything(model, made)
    assert any("/" in name and tensor.dim() for name, tensor in after.items())
    names = dict(model.named_parameters())
    for name, tensor in before.items():
        owner = name.split("/")[0]
        if "/" in name and tensor.dim() != names[owner].dim():
            assert torch.equal(after[name], tensor)  # the count of steps
        else:
            assert torch.equal(after[name], by_hand(tensor, owner, grouping, keep)), name
    train(SHARED, model, [made])


def test_several_optimizers_and_target_networks() -> None:
    build = net(lambda s, x: s.b(s.enc2(s.enc(x))), enc=seq(lin(4, 6), nn.ReLU, lin(6, 5)), enc2=lin(5, 5), b=lin(5, 3))
    model = build()
    grouping = discover(model, lambda m: m(torch.zeros(1, 4)), ("enc", "enc2", "b"))
    optimizers = [torch.optim.Adam(model.enc.parameters()), torch.optim.SGD([*model.enc2.parameters()], 0.1)]
    whole, part = copy.deepcopy(model), copy.deepcopy(model.enc)
    surgeon = Surgeon(model, grouping, optimizers, target_networks=[("", whole), ("enc", part)])
    snapshot = surgeon.snapshot()
    surgeon.cut(random_keep(surgeon))
    for name, tensor in model.state_dict().items():
        assert torch.equal(tensor, whole.state_dict()[name])
    for name, tensor in model.enc.state_dict().items():
        assert torch.equal(tensor, part.state_dict()[name])
    assert str(part) == str(model.enc)
    assert [p for o in optimizers for s in o.param_groups for p in s["params"]] == [
        *model.enc.parameters(),
        *model.enc2.parameters(),
    ]
    surgeon.restore(snapshot)
    assert part[0].weight.shape == (6, 4)
    assert str(whole) == str(build())


def test_a_frozen_parameter_stays_frozen() -> None:
    model, grouping, _ = make(SHARED)
    model.a.weight.requires_grad_(False)
    surgeon = Surgeon(model, grouping)
    snapshot = surgeon.snapshot()
    for act in (lambda: surgeon.cut(random_keep(surgeon)), lambda: surgeon.restore(snapshot)):
        act()
        assert not model.a.weight.requires_grad
        assert model.a.bias.requires_grad


def test_cutting_twice_is_cutting_once() -> None:
    one, grouping, one_optimizer = make(SHARED)
    other, _, other_optimizer = make(SHARED)
    first, second = Surgeon(one, grouping, [one_optimizer]), Surgeon(other, grouping, [other_optimizer])
    keep = random_keep(first, share=0.7)
    again = torch.ones(int(keep.sum()), dtype=torch.bool)
    again[1] = False
    first.cut(keep)
    first.cut(again)
    both = keep.clone()
    both[keep.nonzero().flatten()[1]] = False
    second.cut(both)
    assert_equal(everything(one, one_optimizer), everything(other, other_optimizer))
    assert torch.equal(first.present, second.present)
    for key in [(s.tensor, s.dim) for group in grouping for s in group.slices]:
        assert torch.equal(first.owner(*key), second.owner(*key))


def test_a_graph_from_before_the_cut_can_still_go_backward() -> None:
    model, grouping, _ = make(SHARED)
    weight = model.a.weight
    weight.grad = None
    loss = model(*random_inputs(SHARED)).sum()
    Surgeon(model, grouping).cut(torch.tensor([True, False] + [True] * 9))
    loss.backward()
    assert weight.grad is not None
    assert model.a.weight.grad is None


def test_tied_tensors_stay_tied() -> None:
    case = BY_NAME["tied weights"]

    class Tied(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.a, self.b = nn.Linear(4, 6, bias=False), nn.Linear(6, 4)
            self.c = nn.Linear(4, 6, bias=False)
            self.c.weight = self.a.weight

        def forward(self, x: Tensor) -> Tensor:
            return self.b(self.a(x) * self.c(x))

    model = Tied()
    surgeon = Surgeon(model, discover(model, case.trace, ("a", "b", "c")))
    snapshot = surgeon.snapshot()
    surgeon.cut(torch.arange(6) != 2)
    assert model.a.weight is model.c.weight
    assert str(model.c) == "Linear(in_features=4, out_features=5, bias=False)"
    surgeon.restore(snapshot)
    assert model.a.weight is model.c.weight
    assert model.c.weight.shape == (6, 4)


# ---------------------------------------------------------------- every construct
@pytest.mark.parametrize("case", [case for case in CASES if case.prunable], ids=lambda case: case.name)
def test_a_cut_network_computes_what_the_masked_one_does(case: Case) -> None:
    model = trained(case)
    grouping = grouping_of(case.name)
    surgeon = Surgeon(model, grouping, [optimizer := torch.optim.Adam(model.parameters())])
    snapshot, shapes, words = surgeon.snapshot(), [p.shape for p in model.parameters()], str(model)
    keep = random_keep(surgeon)
    reference = masked(model, grouping, keep)
    surgeon.cut(keep)
    inputs = random_inputs(case)
    flat = torch.utils._pytree.tree_leaves
    if case.exact:
        for x, y in zip(flat(model(*inputs)), flat(reference(*inputs)), strict=True):
            if x is not None:
                torch.testing.assert_close(x, y, rtol=1e-4, atol=1e-5)
    if not any(p.is_inference() for p in [t for t in flat(model(*inputs)) if t is not None]):
        train(case, model, [optimizer])
    for module in model.modules():
        if isinstance(module, (nn.Linear, nn.modules.conv._ConvNd)) and "parametrizations" not in dict(
            module.named_children()
        ):
            assert type(module)(**_arguments(module)).weight.shape == module.weight.shape
    surgeon.restore(snapshot)
    assert [p.shape for p in model.parameters()] == shapes
    assert str(model) == words


def _arguments(module: nn.Module) -> dict[str, Any]:
    names = ("in_features", "out_features", "in_channels", "out_channels", "kernel_size", "groups")
    return {name: getattr(module, name) for name in names if hasattr(module, name)}


# ---------------------------------------------------------------- restoring
def test_restore_is_bit_for_bit_and_can_be_repeated() -> None:
    model, grouping, optimizer = make(SHARED, "AdamW")
    scheduler = torch.optim.lr_scheduler.StepLR(optimizer, 1)
    surgeon = Surgeon(model, grouping, [optimizer])
    before, snapshot = everything(model, optimizer), surgeon.snapshot()
    for seed in range(3):
        surgeon.cut(random_keep(surgeon, seed, 0.7))
        train(SHARED, model.train(), [optimizer])
        scheduler.step()
        surgeon.cut(random_keep(surgeon, seed + 10, 0.7))
        surgeon.restore(snapshot)
        assert_equal(everything(model, optimizer), before)
        assert optimizer.param_groups[0]["lr"] == 0.01
        assert surgeon.present.tolist() == list(range(11))
        assert surgeon.widths.tolist() == [6, 5]


def test_a_snapshot_of_a_cut_network_restores_that() -> None:
    model, grouping, optimizer = make(SHARED)
    surgeon = Surgeon(model, grouping, [optimizer])
    dense = surgeon.snapshot()
    surgeon.cut(random_keep(surgeon, 0, 0.5))
    present, before, narrow = surgeon.present.clone(), everything(model, optimizer), surgeon.snapshot()
    surgeon.restore(dense)
    surgeon.restore(narrow)
    assert torch.equal(surgeon.present, present)
    assert_equal(everything(model, optimizer), before)
    assert model.a.out_features == model.a.weight.shape[0] < 6
    surgeon.cut(random_keep(surgeon, 1, 0.3))
    train(SHARED, model, [optimizer])


def test_a_snapshot_is_a_copy_and_picklable() -> None:
    model, grouping, optimizer = make(SHARED)
    surgeon = Surgeon(model, grouping, [optimizer])
    before, snapshot = everything(model, optimizer), pickle.loads(pickle.dumps(surgeon.snapshot()))
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.zero_()
            optimizer.state[parameter]["exp_avg"].zero_()
    surgeon.restore(snapshot)
    assert_equal(everything(model, optimizer), before)


def test_a_deep_copy_of_a_surgeon_cuts_the_copy_of_its_model() -> None:
    model, grouping, optimizer = make(SHARED)
    surgeon = Surgeon(model, grouping, [optimizer])
    before, other = everything(model, optimizer), copy.deepcopy(surgeon)
    other.cut(random_keep(other))
    assert other.model.a.out_features == len(other.model.a.weight) < 6
    train(SHARED, other.model, other.optimizers)
    assert_equal(everything(model, optimizer), before)
    surgeon.cut(random_keep(surgeon))
    assert model.a.weight.shape == other.model.a.weight.shape


def test_an_optimizer_without_state_has_none_after_restore() -> None:
    model = trained(SHARED)
    optimizer = torch.optim.Adam(model.parameters())
    surgeon = Surgeon(model, grouping_of(SHARED.name), [optimizer])
    snapshot = surgeon.snapshot()
    train(SHARED, model, [optimizer])
    surgeon.restore(snapshot)
    assert len(optimizer.state) == 0


def test_nothing_is_kept_of_what_was_cut() -> None:
    model, grouping, optimizer = make(SHARED)
    surgeon = Surgeon(model, grouping, [optimizer])
    snapshot = surgeon.snapshot()
    old = [weakref.ref(p) for p in model.parameters()]
    surgeon.cut(torch.tensor([True, False] * 5 + [True]))
    gc.collect()
    assert sum(ref() is not None for ref in old) == 1  # the bias of the output
    surgeon.restore(snapshot)
    gc.collect()
    assert all(ref() is None for ref in old)


def test_a_recurrent_layer_uses_its_new_weights() -> None:
    model = net(lambda s, x: s.b(s.a(x)[0]), a=of(nn.GRU, 4, 6, batch_first=True), b=lin(6, 3))()
    grouping = discover(model, lambda m: m(torch.zeros(2, 5, 4)), ("a", "b"))
    surgeon = Surgeon(model, grouping)
    surgeon.cut(torch.arange(6) > 2)
    assert str(model.a) == "GRU(4, 3, batch_first=True)"
    before = model(torch.ones(2, 5, 4))
    with torch.no_grad():
        model.a.weight_hh_l0.add_(1.0)
    assert not torch.equal(model(torch.ones(2, 5, 4)), before)


# ---------------------------------------------------------------- refusing
def test_a_wrong_mask_is_refused_and_changes_nothing() -> None:
    model, grouping, optimizer = make(SHARED)
    surgeon = Surgeon(model, grouping, [optimizer], min_channels=2)
    before = everything(model, optimizer)
    with pytest.raises(ValueError, match=r"shape \(11,\)"):
        surgeon.cut(torch.ones(10, dtype=torch.bool))
    with pytest.raises(ValueError, match=r"bool"):
        surgeon.cut(torch.ones(11))
    with pytest.raises(ValueError, match=r"'c' would keep 1 of 5 channels; it must keep at least 2"):
        surgeon.cut(torch.tensor([True] * 7 + [False] * 4))
    assert_equal(everything(model, optimizer), before)
    assert len(surgeon.present) == 11


def test_a_group_below_the_minimum_keeps_what_it_has() -> None:
    model, grouping, _ = make(SHARED)
    surgeon = Surgeon(model, grouping, min_channels=6)
    with pytest.raises(ValueError, match="must keep at least 5"):
        surgeon.cut(torch.tensor([True] * 10 + [False]))


def test_what_does_not_fit_together_is_refused() -> None:
    model, grouping, _ = make(SHARED)
    with pytest.raises(ValueError, match="LBFGS"):
        Surgeon(model, grouping, [torch.optim.LBFGS(model.parameters())])
    with pytest.raises(ValueError, match="shares"):
        Surgeon(model, grouping, target_networks=[("a", model.a)])
    with pytest.raises(ValueError, match="another shape"):
        Surgeon(model, grouping, target_networks=[("a", nn.Linear(4, 7))])
    with pytest.raises(ValueError, match="lacks"):
        Surgeon(nn.Linear(4, 4), grouping)
    Surgeon(model, grouping).cut(torch.tensor([True, False] * 5 + [True]))
    with pytest.raises(ValueError, match="cut already"):
        Surgeon(model, grouping)
