"""Pruned networks on their way out: saved and loaded, as ONNX, and timed."""

from prune_env.export.load import load_pruned
from prune_env.export.save import save_pruned
from prune_env.export.stages import Stage, add_stage, cut_to_shape, stages_of

__all__ = ["Stage", "add_stage", "cut_to_shape", "load_pruned", "save_pruned", "stages_of"]
