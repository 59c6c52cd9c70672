"""Training a controller from scratch, looked at now and then, with the best one kept."""

from __future__ import annotations

import copy
import json
import math
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path

import torch
from safetensors.torch import load_file, save_file
from torch import Tensor

from prune_env.targets.tdmpc.networks import ControllerNet
from prune_env.targets.tdmpc.target import TDMPC

STARTS = 50  # episodes that a controller in training is judged by


@dataclass(frozen=True)
class Entry:
    """One look at a controller in training.

    Attributes:
        updates: How often it was trained by then.
        simulator_steps: What it had lived through, action repeats counted.
        seconds: Of training, looks not counted [s].
        loss: Mean loss of the model since the last look.
        policy_return: Mean return of the policy alone over 50 fixed validation starts.
    """

    updates: int
    simulator_steps: int
    seconds: float
    loss: float
    policy_return: float


@dataclass(frozen=True)
class Pretrained:
    """The best controller of a training, and its history.

    Attributes:
        model: As it was at the best look.
        optimizers: Their state at that time.
        best: That look.
        log: All looks.
    """

    model: ControllerNet
    optimizers: list[torch.optim.Optimizer]
    best: Entry
    log: list[Entry]


def pretrain(
    target: TDMPC,
    seed: int,
    updates: int | None = None,
    out: Path | str | None = None,
    progress: Callable[[Entry], None] | None = None,
    look_every: int = 200,
) -> Pretrained:
    """Train a controller and keep the one whose policy did best on the validation starts.

    Args:
        target: What to train.
        seed: Of everything that is drawn.
        updates: How many; the target's `dense_steps` by default.
        out: Folder for the best controller ("model.safetensors") and for the log ("log.json").
        progress: Called after every look.
        look_every: Updates between two looks.

    Raises:
        RuntimeError: If the controller diverged before it was looked at for the first time.
    """
    generator = torch.Generator().manual_seed(seed)
    net = target.build(generator)
    optimizers = target.optimizers(net)
    batches = target.batches(generator)
    total = target.dense_steps if updates is None else updates
    log: list[Entry] = []
    best: tuple[Entry, ControllerNet, list[torch.optim.Optimizer]] | None = None
    seconds = 0.0
    for begin in range(0, total, look_every):
        steps = min(look_every, total - begin)
        begun = time.perf_counter()
        losses = [target.training_step(net, optimizers, next(batches), _ignore) for _ in range(steps)]
        seconds += time.perf_counter() - begun
        lived = next(batches).lived * target.task.episode_length * target.recipe.action_repeat
        score = target.mean_return(net, "validation", "policy", STARTS)
        entry = Entry(begin + steps, lived, seconds, float(torch.stack(losses).mean()), score)
        log.append(entry)
        if progress is not None:
            progress(entry)
        if math.isfinite(score) and (best is None or score > best[0].policy_return):
            best = entry, *copy.deepcopy((net, optimizers))  # one call, so that the optimizers hold the copy's weights
        if out is not None:
            _write(Path(out), target, seed, log, best)
    if best is None:
        raise RuntimeError(f"training of {target.settings()} with seed {seed} diverged: no look had a finite return")
    return Pretrained(best[1], best[2], best[0], log)


def _ignore(optimizer: torch.optim.Optimizer) -> None:
    """Nobody watches the gradients."""


def state_of(net: ControllerNet) -> dict[str, Tensor]:
    """All tensors of a controller and of its slow copies, by name."""
    state = {f"model.{name}": tensor for name, tensor in net.state_dict().items()}
    for prefix, twin in net.twins:
        state |= {f"twin.{prefix}.{name}": tensor for name, tensor in twin.state_dict().items()}
    return {name: tensor.detach().clone().contiguous() for name, tensor in state.items()}


def load_state(net: ControllerNet, state: dict[str, Tensor]) -> None:
    """Put into a controller what `state_of` returned for one of the same sizes."""

    def part(prefix: str) -> dict[str, Tensor]:
        return {name.removeprefix(prefix): tensor for name, tensor in state.items() if name.startswith(prefix)}

    net.load_state_dict(part("model."))
    for prefix, twin in net.twins:
        twin.load_state_dict(part(f"twin.{prefix}."))


def load_pretrained(target: TDMPC, folder: Path | str) -> ControllerNet:
    """The controller that `pretrain` wrote into a folder, for a target with the same settings."""
    net = target.build(torch.Generator().manual_seed(0))
    load_state(net, load_file(Path(folder) / "model.safetensors"))
    return net


def _write(
    out: Path,
    target: TDMPC,
    seed: int,
    log: list[Entry],
    best: tuple[Entry, ControllerNet, list[torch.optim.Optimizer]] | None,
) -> None:
    out.mkdir(parents=True, exist_ok=True)
    if best is not None and best[0] is log[-1]:
        save_file(state_of(best[1]), out / "model.safetensors")
    description = {
        "settings": target.settings(),
        "seed": seed,
        "torch": torch.__version__,
        "best": asdict(best[0]) if best else None,
        "log": [asdict(entry) for entry in log],
    }
    (out / "log.json").write_text(json.dumps(description, indent=1) + "\n")
