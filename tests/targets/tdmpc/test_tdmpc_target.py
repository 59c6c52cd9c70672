"""TD-MPC as a target: sizes, groups, target_networks, episodes, scores, determinism, and that it learns to swing up."""

import copy
import json
import math
import pickle
from dataclasses import fields, replace

import pytest
import torch

from prune_env.groups import Surgeon, discover
from prune_env.importance import CosineL1, ImportanceTracker
from prune_env.targets.tdmpc import RECIPES, TDMPC, Planner, Recipe
from prune_env.targets.tdmpc.recipes import VARIANTS
from prune_env.training import train

SMALL = {"width": 16, "latent_dim": 8, "encoder_width": 16, "batch_size": 8, "starts": 2, "action_repeat": 20}
PAPER = {
    "obs": "pixels",
    "image": 84,
    "gray": False,
    "filters": 32,
    "kernels": (7, 5, 3, 3),
    "latent_dim": 50,
    "width": 512,
}


def generator(seed=0):
    return torch.Generator().manual_seed(seed)


def train_state(target, seed=0):
    """Model, optimizers and batches, drawn from one generator."""
    g = generator(seed)
    model = target.build(g)
    return model, target.optimizers(model), target.batches(g)


def state_of(net):
    """A copy of all tensors of a controller and of its slow copies, by name."""
    modules = {"model": net, **{f"network.{prefix}": network for prefix, network in net.target_networks}}
    return {
        f"{m}.{name}": tensor.clone() for m, module in modules.items() for name, tensor in module.state_dict().items()
    }


@pytest.fixture(scope="module", params=["state", "pixels"])
def small(request):
    extra = {"filters": 4} if request.param == "pixels" else {}
    return TDMPC(obs=request.param, **SMALL, **extra)


# ---------------------------------------------------------------------- sizes and groups
def test_the_papers_sizes_give_the_papers_number_of_parameters():
    model = TDMPC(**PAPER).build(generator())
    assert sum(p.numel() for p in model.parameters()) == 1_548_360
    convolutions = [sum(p.numel() for p in model.encoder[i].parameters()) for i in (3, 5, 7)]
    assert convolutions == [25_632, 9_248, 9_248]
    for part in (model.dynamics, model.reward, model.pi):
        assert sum(p.numel() for p in part[2].parameters()) == 262_656
    assert sum(p.numel() for p in model.pi[0].parameters()) == 26_112
    assert sum(p.numel() for p in model.q1[0].parameters()) == 26_624


def test_groups_are_fourteen_hidden_layers_and_one_latent():
    target = TDMPC(obs="pixels", filters=4, kernels=(7, 5, 3, 3), image=84, width=16, latent_dim=8)
    grouping = discover(target.build(generator()), target.trace, target.components)
    kinds = [group.kind for group in grouping]
    assert kinds.count("component") == 14 and kinds.count("coupling") == 1
    (latent,) = [group for group in grouping if group.kind == "coupling"]
    assert latent.channels == 8 and set(latent.components) == set(target.components)
    assert len({s.tensor.rpartition(".")[0] for s in latent.slices}) == 7


def test_state_groups():
    target = TDMPC(**SMALL)
    grouping = discover(target.build(generator()), target.trace, target.components)
    assert sorted(group.channels for group in grouping) == [8] + [16] * 11  # latent; encoder 1, five others 2 each


def test_twins_are_no_children_and_start_as_copies(small):
    model = small.build(generator())
    assert [name for name, _ in model.named_children()] == list(small.components)
    assert [prefix for prefix, _ in small.target_networks(model)] == ["encoder", "q1", "q2"]
    for prefix, network in small.target_networks(model):
        for p, q in zip(network.parameters(), model.get_submodule(prefix).parameters(), strict=True):
            assert torch.equal(p, q) and p is not q and not p.requires_grad
    there = copy.deepcopy(model)
    assert there.target_network("q1") is not model.target_network("q1")


def test_the_same_seed_builds_the_same_model(small):
    first, second, other = (small.build(generator(s)).state_dict() for s in (0, 0, 1))
    assert all(torch.equal(t, second[k]) for k, t in first.items())
    assert any(not torch.equal(t, other[k]) for k, t in first.items())


# ---------------------------------------------------------------------- training
def test_trains_is_cut_with_its_twins_goes_on_and_is_restored(small):
    model, optimizers, batches = train_state(small)
    grouping = discover(model, small.trace, small.components)
    surgeon = Surgeon(model, grouping, optimizers, small.target_networks(model))
    observers = [CosineL1(surgeon, small.dense_training.steps_per_epoch), ImportanceTracker(surgeon)]
    assert train(small, model, optimizers, batches, 4, observers) > 0
    assert bool((observers[1].groups() > 0).all())  # both backward passes arrive: pi's groups too
    dense, before = surgeon.snapshot(), state_of(model)

    keep = torch.cat([torch.arange(group.channels) % 2 == 0 for group in grouping])
    surgeon.cut(keep)
    for observer in observers:
        observer.after_surgery(keep)
    for prefix, network in small.target_networks(model):
        shapes = [p.shape for p in model.get_submodule(prefix).parameters()]
        assert [p.shape for p in network.parameters()] == shapes
    latent = model.pi[0].in_features
    assert latent == 4 and model.target_network("q1")[0].in_features == latent + 1
    loss = train(small, model, optimizers, batches, 4, observers)
    assert loss > 0 and int(model.updates) == 8
    assert small.score(model, "validation") < 0

    surgeon.restore(dense)
    after = state_of(model)
    assert all(torch.equal(tensor, after[name]) for name, tensor in before.items())


def test_cut_twins_are_what_their_dense_selves_would_be():
    """A value function and its copy, cut alike, differ by the same numbers as before, in the rows that stay."""
    target = TDMPC(**SMALL)
    model, optimizers, batches = train_state(target)
    train(target, model, optimizers, batches, 3)
    grouping = discover(model, target.trace, target.components)
    dense = copy.deepcopy(model)
    surgeon = Surgeon(model, grouping, optimizers, target.target_networks(model))
    g = next(i for i, group in enumerate(grouping) if group.root == "q1.0")
    keep = (surgeon.group_of != g) | (torch.arange(len(surgeon.group_of)) % 2 == 0)
    stays = keep[surgeon.group_of == g]
    surgeon.cut(keep)
    assert torch.equal(model.target_network("q1")[0].weight, dense.target_network("q1")[0].weight[stays])
    assert torch.equal(model.target_network("q1")[3].weight, dense.target_network("q1")[3].weight[:, stays])
    assert torch.equal(model.q1[0].weight, dense.q1[0].weight[stays])
    assert torch.equal(model.target_network("q2")[0].weight, dense.target_network("q2")[0].weight)


def test_an_epoch_is_some_new_episodes_and_some_updates(monkeypatch):
    target = TDMPC(**SMALL, first_episodes=3, episodes_per_epoch=2, steps_per_epoch=5)
    assert target.dense_training.steps_per_epoch == 5
    model, optimizers, batches = train_state(target)
    replay, added = next(batches), []
    for _ in range(11):
        train(target, model, optimizers, batches, 1)
        added.append(replay.episodes_added)
    assert next(batches) is replay
    assert added == [3] * 5 + [5] * 5 + [7]


def test_the_end_of_an_epoch_is_met_once_however_often_the_replay_is_drawn_from():
    target = TDMPC(**SMALL, first_episodes=3, episodes_per_epoch=2, steps_per_epoch=5)
    model, optimizers, batches = train_state(target)
    train(target, model, optimizers, batches, 5)
    for _ in range(3):  # as the repair of a cut does
        target.collect(model, next(batches))
        target.loss(model, next(batches))
    train(target, model, optimizers, batches, 1)
    assert next(batches).episodes_added == 5


def test_a_loss_collects_nothing():
    target = TDMPC(**SMALL, first_episodes=3, steps_per_epoch=5)
    model, optimizers, batches = train_state(target)
    with pytest.raises(RuntimeError, match=r"holds no episode yet: .*collect"):
        target.loss(model, next(batches))
    train(target, model, optimizers, batches, 5)
    target.loss(model, next(batches))  # at the end of an epoch, when episodes are due
    assert next(batches).episodes_added == 3


def test_a_trained_controller_fills_a_new_replay_by_itself():
    """After a cut nobody wants random episodes; an untrained controller has nothing better."""
    target = TDMPC(**SMALL)
    model, optimizers, batches = train_state(target)
    train(target, model, optimizers, batches, 1)
    untrained = next(batches)._held.actions[:6]
    with torch.no_grad():
        model.updates.fill_(10**6)
        model.pi[-1].weight.zero_()
        model.pi[-1].bias.fill_(0.2)
    batches = target.batches(generator(1))
    target.collect(model, next(batches))
    own = next(batches)._held.actions[:6]
    assert untrained.std() > 0.5 and abs(untrained.mean()) < 0.2
    assert own.std() < 0.07 and float(own.mean()) == pytest.approx(0.197, abs=0.02)


def test_exploration_ends():
    recipe = TDMPC().recipe
    assert [recipe.exploration(n) for n in (0, 1500, 3000, 10**6)] == pytest.approx([0.5, 0.275, 0.05, 0.05])


# ---------------------------------------------------------------------- scores
def test_splits_have_their_own_starts_and_scores_are_repeated(small):
    model = small.build(generator())
    for controller in ("planner", "policy"):
        scores = {split: small.mean_return(model, split, controller, 2) for split in ("train", "validation", "test")}
        assert len(set(scores.values())) == 3
        assert small.mean_return(model, "test", controller, 2) == scores["test"]
    assert small.metrics(model, "test") == {
        "planner_return": small.score(model, "test"),
        "policy_return": small.mean_return(model, "test", "policy", 2),
    }


def test_the_floor_is_random_actions():
    target = TDMPC(starts=200)
    assert -1400 < target.floor("validation") < -1000
    assert target.floor("test") == target.floor("test") != target.floor("validation")


def test_the_policy_cannot_feel_damage_that_the_planner_feels():
    policy, planner = TDMPC(**SMALL, controller="policy"), TDMPC(**SMALL)
    model = policy.build(generator())
    before = policy.score(model, "test"), planner.score(model, "test")
    with torch.no_grad():
        model.reward[-1].weight.normal_(std=10.0, generator=generator())
    assert policy.score(model, "test") == before[0] and planner.score(model, "test") != before[1]


@pytest.mark.parametrize("controller", ["planner", "policy"])
@pytest.mark.parametrize("component", ["encoder", "pi", "all"])
def test_a_collapsed_controller_has_no_finite_score(small, controller, component):
    model = small.build(generator())
    broken = model if component == "all" else model.get_submodule(component)
    with torch.no_grad():
        for p in broken.parameters():
            p.fill_(float("nan"))
    assert not math.isfinite(small.mean_return(model, "test", controller, 2))


def test_a_planner_whose_dynamics_collapsed_has_no_finite_score(small):
    model = small.build(generator())
    with torch.no_grad():
        model.dynamics[-1].bias[0] = float("nan")
    assert not math.isfinite(small.mean_return(model, "test", "planner", 2))


def test_the_same_seed_gives_the_same_returns_bit_for_bit(small):
    def run(seed):
        model, optimizers, batches = train_state(small, seed)
        loss = train(small, model, optimizers, batches, 12)
        return loss, small.score(model, "test"), small.mean_return(model, "test", "policy", 2), state_of(model)

    first = run(3)
    torch.rand(7)  # nothing depends on the global generator
    second, other = run(3), run(4)
    assert first[:3] == second[:3] != other[:3]
    assert all(torch.equal(tensor, second[3][name]) for name, tensor in first[3].items())


# ---------------------------------------------------------------------- options
def test_can_be_sent_to_another_process(small):
    there = pickle.loads(pickle.dumps(small))
    assert there.settings() == small.settings()
    model = small.build(generator())
    assert there.score(model, "test") == small.score(model, "test")


def test_settings_are_json_and_say_nothing_of_who_is_scored():
    settings = TDMPC(width=32).settings()
    assert json.loads(json.dumps(settings))["width"] == 32
    assert settings == TDMPC(width=32, controller="policy", starts=3, planner={"samples": 32}).settings()
    assert settings != TDMPC(width=33).settings()


def test_the_planner_looks_as_far_as_the_model_was_trained_to():
    target = TDMPC(horizon=4, discount=0.9, planner={"samples": 32, "iterations": 2})
    assert target.planner == Planner(samples=32, iterations=2, horizon=4, discount=0.9)
    assert TDMPC(kernels=[3, 3]).recipe.kernels == (3, 3)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"task": "acrobot"}, "pendulum from state"),
        ({"controller": "human"}, "planner, policy"),
        ({"widht": 32}, "unknown option 'widht'; did you mean 'width'"),
        ({"width": 0}, r"width must be a whole number in \[1, inf\), got 0"),
        ({"starts": 0}, r"starts must be a whole number in \[1, inf\), got 0"),
        ({"learning_rate": 0.0}, r"learning_rate must be a number in \(0, inf\), got 0.0"),
        ({"tau": 2.0}, r"tau must be a number in \(0, 1\], got 2.0"),
        ({"td_encoder": "both"}, "td_encoder must be 'online' or 'target', got 'both'"),
        ({"width": 3.5}, r"width must be a whole number in \[1, inf\), got 3.5"),
        ({"latent_dim": True}, r"latent_dim must be a whole number in \[1, inf\), got True"),
        ({"learning_rate": float("nan")}, "learning_rate must be a number in .*, got nan"),
        ({"learning_rate": "fast"}, "learning_rate must be a number in .*, got 'fast'"),
        ({"std": -1}, r"std must be a number in \[0, 2\], got -1"),
        ({"first_std": -2}, r"first_std must be a number in \[0, 2\], got -2"),
        ({"gray": "maybe"}, "gray must be True or False, got 'maybe'"),
        ({"bfloat16": 1}, "bfloat16 must be True or False, got 1"),
        ({"kernels": [3, 2.5]}, r"kernels must be whole numbers in \[1, inf\), got \(3, 2.5\)"),
        ({"kernels": 3}, "kernels must be whole numbers"),
        ({"starts": 2.5}, "starts must be a whole number"),
        ({"image": 32, "filters": 4}, r"image from state must be a whole number in \[0, 0\], got 32"),
        ({"shift": 1}, r"shift must be a whole number in \[0, 0\], got 1"),
        ({"obs": "pixels", "image": 0, "shift": 0}, r"image from pixels must be .* in \[1, inf\), got 0"),
        ({"obs": "pixels", "filters": 0}, r"filters must be a whole number in \[1, inf\), got 0"),
        ({"obs": "pixels", "shift": 40}, r"shift must be a whole number in \[0, 16\], got 40"),
        ({"horizon": 51}, "horizon"),
        ({"action_repeat": 3}, "action_repeat"),
    ],
)
def test_options_that_make_no_sense_are_refused(options, message):
    with pytest.raises(ValueError, match=message):
        TDMPC(**options)


@pytest.mark.parametrize("field", [field.name for kind in (Recipe, Planner) for field in fields(kind)])
def test_every_field_is_checked(field):
    kind = Recipe if field in {f.name for f in fields(Recipe)} else Planner
    for wrong in ("wrong", None, -1):
        with pytest.raises(ValueError, match=f"^{field} must be .*, got {wrong!r}"):
            kind(**{field: wrong})


@pytest.mark.parametrize("task", RECIPES, ids="-".join)
def test_pools_vary_sizes_and_those_held_out_do_not_occur_in_training(task):
    train, held_out = (VARIANTS[task][split] for split in ("train", "held_out"))
    assert len(train) >= 4 and len(held_out) >= 3
    sizes = {name: ([v[name] for v in train], [v[name] for v in held_out]) for name in ("width", "latent_dim")}
    assert all(len(set(values)) > 1 for pair in sizes.values() for values in pair)
    assert not set(sizes["width"][0]) & set(sizes["width"][1])
    if task != ("pendulum", "state"):  # its controllers come with the package, and stay as they are
        assert not set(sizes["latent_dim"][0]) & set(sizes["latent_dim"][1])
    recipe = RECIPES[task]
    assert (train[0]["width"], train[0]["latent_dim"]) == (recipe.width, recipe.latent_dim)
    for variant in (*train, *held_out):
        assert replace(recipe, **variant).dense_steps <= recipe.dense_steps


def test_a_pool_of_pixel_controllers_varies_them_but_not_the_papers():
    target = TDMPC(obs="pixels")
    assert len({variant["width"] for variant in target.variants("train")}) == 4
    assert TDMPC(obs="pixels", sizes="paper").variants("train") == [{}]


def test_images_that_are_too_small_are_refused():
    with pytest.raises(ValueError, match="too small"):
        TDMPC(obs="pixels", image=8).build(generator())
