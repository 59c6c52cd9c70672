"""One point of the groups paper's own experiment: the paper-size controller, cut once by one method.

The network is TD-MPC on cartpole swing-up from pixels with 1,548,360 parameters, which ships with the package.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from prune_env.envs.observation import FORMS
from prune_env.isolation import isolated
from prune_env.studies.core.harness import subject
from prune_env.studies.core.study import Rows
from prune_env.targets import Target
from prune_env.targets.tdmpc import TDMPC

TASK: dict[str, Any] = {"task": "cartpole-swingup", "obs": "pixels", "sizes": "paper"}
"""Options of the controller."""

# What the environment itself scores after a cut is not used here: one short episode of a planner that costs little.
# The planner stays the deployment, so that a sparsity counts the parameters of all components.
_CHEAP = {"samples": 4, "iterations": 1, "elites": 1, "horizon": 1, "proposals": 1.0}
NETWORK: dict[str, Any] = {"target": "tdmpc", **TASK, "starts": 1, "planner": _CHEAP}
OBSERVED = ("gradient", "fisher", "bayes", "bayes_corrected", "taylor", "fisher_weight")
"""The measures of the experiment."""
OBSERVATION = list(dict.fromkeys([*FORMS["full"], *OBSERVED]))
"""Every one of them is shown, so that a heuristic can follow it."""

FREE, WEIGHTED, PROTECTED = "as any other", "weighted up", "protected"
ENCODER: dict[str, Mapping[str, float] | None] = {FREE: None, WEIGHTED: {"encoder": 4.0}, PROTECTED: {"encoder": 1e6}}
"""How the encoder is treated -> `component_weights`. With the last weight it loses no channel at up to 80 %."""

DENSE, RANDOM = "dense", "random actions"
CONTROLLERS = ("policy", "planner")


@isolated()
def paper_point(
    method: str, encoder: str, sparsity: float, seed: int, steps: int, controllers: Sequence[str], episodes: int
) -> Rows:
    """Cut the dense controller once, and record the returns of fixed test episodes, a row for each controller.

    Args:
        method: Name of a policy, or `DENSE` or `RANDOM` with sparsity 0.
        encoder: A key of `ENCODER`.
        sparsity: Share of all parameters to remove.
        seed: Seed of the batches of fine-tuning.
        steps: Updates after the cut.
        controllers: Who acts in the episodes, of `CONTROLLERS`.
        episodes: How many fixed initial states.
    """
    network = subject({**NETWORK, "observation": OBSERVATION}, 0)
    env, reached = network.env, 0.0
    if method not in (DENSE, RANDOM):
        weights = ENCODER[encoder]
        outcome = network.prune(
            method, sparsity, seed, steps=steps, criterion="l2", repair="none", component_weights=weights
        )
        reached = outcome.sparsity
    else:
        network.begin(seed)
    target = env.network.train_state.target
    rows: Rows = []
    for controller in controllers:
        returns = _returns(target, env.network.train_state.model, method, controller, episodes)
        rows.append(
            {
                "controller": controller,
                "method": method,
                "encoder": encoder,
                "sparsity": sparsity,
                "sparsity_reached": reached,
                "seed": seed,
                "steps": steps,
                "episodes": episodes,
                "return": float(returns.mean()),
                "returns": " ".join(f"{value:.1f}" for value in returns),
                "channels": " ".join(map(str, env.episode.widths)),
            }
        )
    return rows


def _returns(target: Target, model: Any, method: str, controller: str, episodes: int) -> np.ndarray:
    """Return of every test episode, [episodes]; the planner is the task's."""
    assert isinstance(target, TDMPC)
    if method == RANDOM:
        return target.random_returns("test", episodes).numpy()
    return target.returns(model, "test", controller, episodes, target.usual_planner).numpy()
