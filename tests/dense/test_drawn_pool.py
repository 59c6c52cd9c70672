"""Pools of drawn networks: every one differs, a larger pool begins with the smaller one, splits are disjoint."""

import gymnasium as gym
import numpy as np
import pytest

from prune_env.dense import Pool
from prune_env.storage import canonical_json

TARGETS = {
    "autoencoder": {"data": "digits"},
    "tdmpc": {"task": "pendulum", "obs": "state"},
}


def pool(target, size, split, **options):
    return Pool(target, {**TARGETS[target], **options}, size, split, kind="drawn")


@pytest.mark.parametrize("target", TARGETS)
def test_no_two_networks_are_alike_and_none_is_in_both_splits(target):
    drawn = {split: [spec.options for spec, _ in pool(target, 40, split).specs()] for split in ("train", "held_out")}
    texts = {split: {canonical_json(dict(o)) for o in options} for split, options in drawn.items()}
    assert len(texts["train"]) == len(texts["held_out"]) == 40 and not texts["train"] & texts["held_out"]
    parities = {split: {o["latent_dim"] % 2 for o in options} for split, options in drawn.items()}
    assert parities == {"train": {0}, "held_out": {1}}


@pytest.mark.parametrize("target", TARGETS)
def test_a_larger_pool_begins_with_the_smaller_one(target):
    small, large = pool(target, 3, "train").specs(), pool(target, 5, "train").specs()
    assert small == large[:3]
    assert {stratum for _, stratum in large} == {""}


def test_options_that_are_given_are_not_drawn():
    assert {spec.options["latent_dim"] for spec, _ in pool("autoencoder", 6, "train", latent_dim=7).specs()} == {7}


@pytest.mark.parametrize("target", TARGETS)
def test_drawn_networks_can_be_built_and_have_the_same_groups(target):
    for spec, _ in pool(target, 6, "held_out").specs():
        made = spec.make_target()
        model = made.build(np_generator(spec.seed))
        widths = [layer.out_features for layer in model.modules() if hasattr(layer, "out_features")]
        if target == "autoencoder":
            assert widths == [*spec.options["hidden"][:3], spec.options["latent_dim"], *spec.options["hidden"][3:], 64]
        else:
            heads = {name: [layer.out_features for layer in getattr(model, name) if hasattr(layer, "out_features")]
                     for name in spec.options["widths"]}  # fmt: skip
            assert {name: tuple(w[:2]) for name, w in heads.items()} == {
                name: tuple(w) for name, w in spec.options["widths"].items()
            }


def np_generator(seed):
    import torch

    return torch.Generator().manual_seed(seed)


def test_targets_that_draw_nothing_say_so():
    with pytest.raises(NotImplementedError, match="Autoencoder draws no networks: implement draw_options"):
        Pool("autoencoder", {"data": "mnist"}, 2, "train", kind="drawn").specs()


def test_the_environment_prunes_networks_of_different_widths():
    small = {"dense_steps": 150, "learning_rate": 0.005}
    env = gym.make("PruneEnv/Autoencoder-v1", pool=3, rounds=1, steps_per_round=1, budget=0.4, **small).unwrapped
    widths = []
    for network in range(3):
        env.reset(seed=0, options={"network": network})
        widths.append(env.episode.widths.tolist())
        *_, info = env.step(np.full(env.action_space.shape, 0.5, dtype=np.float32))
        assert info["reward_terms"]["sparsity"] >= 0.4
    assert len({tuple(w) for w in widths}) == 3
