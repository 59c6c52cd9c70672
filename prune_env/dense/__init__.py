"""Dense networks: trained once with instrumentation, cached, and drawn from pools."""

from prune_env.dense.checkpoints import (
    CheckpointSpec,
    checkpoint_files,
    export_checkpoint,
    identify,
    is_cached,
    load_checkpoint,
    training_history,
)
from prune_env.dense.loop import DenseTrainingError, Evaluation
from prune_env.dense.pool import HELD_OUT_SEEDS, GivenPool, Network, Pool, PoolKind

__all__ = [
    "HELD_OUT_SEEDS",
    "CheckpointSpec",
    "DenseTrainingError",
    "Evaluation",
    "GivenPool",
    "Network",
    "Pool",
    "PoolKind",
    "checkpoint_files",
    "export_checkpoint",
    "identify",
    "is_cached",
    "load_checkpoint",
    "training_history",
]
