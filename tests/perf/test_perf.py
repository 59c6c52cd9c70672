"""Speed as ratios, measured side by side in one run: `make perf`."""

import time

import gymnasium as gym
import numpy as np
import pytest
import torch

import prune_env  # noqa: F401
from prune_env.dense import CheckpointSpec
from prune_env.dense.checkpoints import fresh_train_state
from prune_env.importance import PAPER_MEASURES
from prune_env.targets.autoencoder import Autoencoder
from prune_env.targets.data import Images
from prune_env.training import train

pytestmark = pytest.mark.perf


class PaperAutoencoder(Autoencoder):
    """The paper's 2.3 M network on noise of MNIST's shape: speed does not depend on what the pixels show."""

    def __init__(self):
        super().__init__(latent_dim=256, batch_size=256)
        noise = torch.rand(4096, 784, generator=torch.Generator().manual_seed(0))
        self._images = Images(train=noise, validation=noise[:500], test=noise[:500], white=1.0)


def best_ratios(variants, rounds):
    """Median processor time of each variant [s], in turns, so that a noisy neighbour disturbs all alike."""
    times = {name: [] for name in variants}
    for _ in range(rounds):
        for name, run in variants.items():
            begun = time.thread_time()
            run()
            times[name].append(time.thread_time() - begun)
    return {name: float(np.median(values)) for name, values in times.items()}


@pytest.mark.parametrize(
    ("title", "target", "steps", "rounds", "most"),
    [("paper autoencoder, 2.3 M", PaperAutoencoder, 1, 24, 1.10), ("digits, 15 k", Autoencoder, 20, 40, None)],
    ids=["paper", "digits"],
)
def test_cost_of_instrumentation(title, target, steps, rounds, most):
    """A training step with the tracker (and with the schedule too) against one without."""
    made = target()
    spec = CheckpointSpec("autoencoder")

    def runner(observers):
        train_state = fresh_train_state(spec, made)
        train_state.tracker.track((*PAPER_MEASURES, "fisher_weight"))  # what an environment tracks by default
        chosen = {"none": [], "tracker": [train_state.tracker], "both": [train_state.regularizer, train_state.tracker]}[
            observers
        ]
        batches = made.batches(torch.Generator().manual_seed(0))
        return lambda: train(made, train_state.model, train_state.optimizers, batches, steps, chosen)

    variants = {name: runner(name) for name in ("none", "tracker", "both")}
    for run in variants.values():
        run()
    seconds = best_ratios(variants, rounds)
    print(f"\n{title}: a training step takes {1e3 * seconds['none'] / steps:.2f} ms")
    for name in ("tracker", "both"):
        print(f"  with {name:8} x{seconds[name] / seconds['none']:.3f}")
    if most is not None:
        assert seconds["tracker"] / seconds["none"] <= most
        assert seconds["both"] / seconds["none"] <= most


def test_rounds_per_second_and_overhead(benchmark):
    """What a round costs, and which share of it is neither training nor scoring."""
    env = gym.make("PruneEnv/Autoencoder-v0", rounds=1, budget=(0.3, 0.9), disable_env_checker=True)
    env.reset(seed=0)
    random = np.random.default_rng(0)

    def play():
        env.reset()
        env.step(random.uniform(0, 0.95, 7).astype(np.float32))

    benchmark.pedantic(play, rounds=60, warmup_rounds=5)
    seconds = env.unwrapped.seconds
    outside = 1 - (seconds.training + seconds.scoring) / seconds.total
    print(f"\n{1 / benchmark.stats['mean']:.1f} rounds a second; outside training and scoring {outside:.1%} of a step")
    assert outside <= 0.10


def test_reset(benchmark):
    """A reset from a cut network."""
    env = gym.make("PruneEnv/Autoencoder-v0", rounds=1, steps_per_round=0, disable_env_checker=True)
    env.reset(seed=0)
    action = np.full(7, 0.5, dtype=np.float32)
    benchmark.pedantic(env.reset, setup=lambda: (env.step(action), None)[1], rounds=50)
