"""What every registered measure, criterion and repair must do, those of other packages included."""

import copy

import pytest
import torch

from prune_env.dense.train_state import TrainState
from prune_env.importance import CRITERIA, MEASURES, PAPER_MEASURES, ImportanceTracker, Measure, register_measure
from prune_env.repair import REPAIRS, Repair, register_repair
from prune_env.targets import Autoencoder
from prune_env.training import train


@pytest.fixture(scope="module")
def trained():
    state = TrainState.fresh(Autoencoder(latent_dim=4, images=256), torch.Generator().manual_seed(0))
    learn(state, 5)
    return state


@pytest.fixture
def train_state(trained):
    return copy.deepcopy(trained)


def learn(state, steps):
    batches = state.target.batches(torch.Generator().manual_seed(1))
    train(state.target, state.model, state.optimizers, batches, steps, state.observers)


def cut(state):
    keep = torch.ones(len(state.surgeon.present), dtype=torch.bool)
    keep[1::3] = False
    state.surgeon.cut(keep)
    for observer in state.observers:
        observer.after_surgery(keep)
    return keep


def both(tracker, name):
    return tracker.groups((name,))[0], tracker.channel(name)


@pytest.fixture
def maximum():
    """A measure that a user adds, with a state of its own."""

    class Largest(Measure):
        label, meaning, statistics = "largest", "largest mean |gradient| so far", ("mean_abs",)

        def initial_state(self, entries, device):
            return {"largest": torch.zeros(entries, device=device)}

        def value(self, statistics, state, config):
            torch.maximum(state["largest"], statistics["mean_abs"], out=state["largest"])
            return state["largest"]

    register_measure("largest", Largest())
    yield "largest"
    del MEASURES["largest"]


# ---------------------------------------------------------------------- measures
@pytest.mark.parametrize("name", MEASURES)
def test_a_measure_is_finite_deterministic_and_says_what_it_is(train_state, name):
    groups, channels = both(train_state.tracker, name)
    assert groups.shape == (len(train_state.surgeon.grouping),) and channels.shape == train_state.surgeon.present.shape
    assert torch.isfinite(groups).all() and torch.isfinite(channels).all()
    assert (groups != 0).all() if MEASURES[name].signed else (groups > 0).all()
    assert MEASURES[name].label and MEASURES[name].meaning
    again = TrainState.fresh(Autoencoder(latent_dim=4, images=256), torch.Generator().manual_seed(0))
    learn(again, 5)
    assert torch.equal(groups, both(again.tracker, name)[0])


@pytest.mark.parametrize("name", MEASURES)
def test_a_measure_survives_a_cut_and_a_round_trip(train_state, name):
    groups, channels = both(train_state.tracker, name)
    dense = train_state.tracker.state_dict()
    keep = cut(train_state)
    assert torch.equal(both(train_state.tracker, name)[0], groups)
    assert torch.equal(both(train_state.tracker, name)[1], channels[keep])
    other = ImportanceTracker(train_state.surgeon)
    other.load_state_dict(train_state.tracker.state_dict())
    learn(train_state, 2)
    values = both(train_state.tracker, name)
    train_state.observers[-1] = other  # the optimizer has moved on: only the shapes are compared
    learn(train_state, 2)
    assert [t.shape for t in both(other, name)] == [t.shape for t in values]
    assert all(torch.equal(dense[key], value) for key, value in dense.items())  # a copy, not a view


@pytest.mark.parametrize("name", MEASURES)
def test_a_measure_alone_is_the_same_to_the_last_bit(name):
    """Its value must not depend on what else is measured."""
    alone, all_of_them = (
        TrainState.fresh(Autoencoder(latent_dim=4, images=256), torch.Generator().manual_seed(0)) for _ in range(2)
    )
    alone.tracker.track([name])
    for state in (alone, all_of_them):
        learn(state, 3)
        cut(state)
        learn(state, 2)
    assert all(
        torch.equal(a, b) for a, b in zip(both(alone.tracker, name), both(all_of_them.tracker, name), strict=True)
    )


def test_a_measure_that_a_checkpoint_lacks_starts_unmeasured(train_state, maximum):
    old = train_state.tracker.state_dict()
    assert not any(maximum in key for key in old)
    fresh = ImportanceTracker(train_state.surgeon)
    fresh.load_state_dict(old)
    assert torch.equal(fresh.groups(), train_state.tracker.groups())
    assert fresh.groups((maximum,)).tolist() == [[0.0] * len(train_state.surgeon.grouping)]
    train_state.observers[-1] = fresh
    learn(train_state, 2)
    assert (fresh.groups((maximum,)) > 0).all()
    assert {f"ema.{maximum}", f"{maximum}.largest"} <= set(fresh.state_dict())


def test_what_is_not_tracked_is_not_known(train_state):
    tracker = train_state.tracker
    tracker.track(PAPER_MEASURES)
    assert (tracker.channel("taylor") > 0).any()  # known from before; it is tracked from now on
    learn(train_state, 1)
    assert tracker.measures == (*PAPER_MEASURES, "taylor")
    assert (tracker.channel("taylor") > 0).any()
    with pytest.raises(ValueError, match=r"'fisher_weight' was not tracked .* name it in `measures`"):
        tracker.channel("fisher_weight")


def test_measures_are_registered_once_and_ask_for_what_there_is(maximum):
    with pytest.raises(ValueError, match="already registered"):
        register_measure(maximum, Measure.__new__(type(MEASURES["fisher"])))
    wrong = type("Wrong", (Measure,), {"statistics": ("hessian",)})()
    with pytest.raises(ValueError, match=r"hessian.*mean_abs"):
        register_measure("wrong", wrong)
    with pytest.raises(ValueError, match="identifier"):
        register_measure("ema", wrong)
    with pytest.raises(ValueError, match="did you mean 'fisher'"):
        ImportanceTracker.track(object.__new__(ImportanceTracker), ["fischer"])


# ---------------------------------------------------------------------- criteria
@pytest.mark.parametrize("name", CRITERIA)
def test_a_criterion_has_a_finite_value_for_each_channel_before_and_after_a_cut(train_state, name):
    for _ in range(2):
        values, again = (CRITERIA[name].values(train_state.context(torch.Generator().manual_seed(0))) for _ in range(2))
        assert values.shape == train_state.surgeon.present.shape
        assert torch.isfinite(values).all() and values.unique().numel() > 1
        assert CRITERIA[name].signed or (values >= 0).all()
        assert torch.equal(values, again)
        cut(train_state)


@pytest.mark.parametrize("name", CRITERIA)
def test_a_criterion_changes_nothing(train_state, name):
    before = {key: tensor.clone() for key, tensor in train_state.state().items()}
    CRITERIA[name].values(train_state.context(torch.Generator().manual_seed(0)))
    assert all(torch.equal(before[key], tensor) for key, tensor in train_state.state().items())


# ---------------------------------------------------------------------- repairs
@pytest.mark.parametrize("name", REPAIRS)
def test_a_repair_leaves_a_finite_model_and_repeats_itself(train_state, name):
    results = []
    for state in (train_state, copy.deepcopy(train_state)):
        batches = state.target.batches(torch.Generator().manual_seed(2))
        keep = torch.ones(len(state.surgeon.present), dtype=torch.bool)
        keep[1::3] = False
        REPAIRS[name].before_cut(state.target, state.surgeon, keep, batches)
        state.surgeon.cut(keep)
        for observer in state.observers:
            observer.after_surgery(keep)
        REPAIRS[name].after_cut(state.target, state.model, batches)
        learn(state, 1)
        results.append(state.model.state_dict())
    first, second = results
    assert all(torch.isfinite(tensor).all() and torch.equal(tensor, second[key]) for key, tensor in first.items())


def test_a_repair_is_registered_once():
    with pytest.raises(ValueError, match="already registered"):
        register_repair("none", Repair())
