"""Early checkpoints of dense networks, for rewinding: parameters and buffers after a share of dense training."""

from __future__ import annotations

import torch
from safetensors.torch import load as load_tensors
from safetensors.torch import save as save_tensors
from torch import Tensor

from prune_env.dense.checkpoints import CheckpointSpec, checkpoint_stem, fresh_train_state
from prune_env.isolation import isolated, own_random_state
from prune_env.storage import locked, write_atomically
from prune_env.training import train


@isolated()
def early_tensors(spec: CheckpointSpec, share: float) -> dict[str, Tensor]:
    """Parameters and buffers, by name, of the dense network as it was after a share of its training.

    A dense network is decided by its specification alone, so what it was like early is found by repeating the first
    steps. The result is kept beside the network's own files as `<hash>.early-<steps>.safetensors`, without optimizers:
    a third of the size of a checkpoint with Adam.

    Args:
        spec: Of the dense network.
        share: In (0, 1); at most `anneal_after`, where the learning rate falls.
    """
    plan = spec.make_target().dense_training
    steps = max(1, round(plan.steps * min(share, plan.anneal_after)))
    stem = checkpoint_stem(spec)
    path = stem.with_name(f"{stem.name}.early-{steps}.safetensors")
    with locked(path):
        if not path.is_file():
            with own_random_state(spec.seed):
                generator = torch.Generator().manual_seed(spec.seed)
                state = fresh_train_state(spec, spec.make_target(), generator)
                batches = state.target.batches(generator)
                train(state.target, state.model, state.optimizers, batches, steps, state.observers)
            tensors = {name: tensor.detach().contiguous() for name, tensor in state.model.state_dict().items()}
            write_atomically(path, save_tensors(tensors))
    return load_tensors(path.read_bytes())
