"""Memory stays flat over thousands of resets and cuts."""

import gc
from pathlib import Path

import numpy as np
import pytest

from prune_env import PruningEnv

pytestmark = pytest.mark.slow
CASES = {
    "digits": (10_000, {"target": "autoencoder", "latent_dim": 4, "hidden_layers": 1, "dense_steps": 400}),
    "pendulum": (1_000, {"target": "tdmpc", "controller": "policy", "starts": 2}),
}


def resident():
    """Memory of this process [bytes]."""
    gc.collect()
    return int(Path("/proc/self/statm").read_text().split()[1]) * 4096


@pytest.mark.skipif(not Path("/proc/self/statm").exists(), reason="needs /proc")
@pytest.mark.parametrize("case", CASES)
def test_memory_is_flat(case):
    rounds, options = CASES[case]
    env = PruningEnv(rounds=1, steps_per_round=1, **options)
    action = np.full(env.action_space.shape, 0.3, np.float32)
    used = []
    for number in range(rounds):
        env.reset(seed=number % 7)
        env.step(action)
        if number % (rounds // 10) == rounds // 10 - 1:
            used.append(resident() / 2**20)
    print(f"{case}: {rounds} resets and cuts, resident [MB]", [round(x) for x in used])
    # What the allocator keeps settles in the first tenth; from then on nothing may add up.
    assert max(used[5:]) - used[1] < 0.03 * used[1], used
