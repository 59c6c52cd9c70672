"""Fine-tuning: how a network trains after a cut and its repair.

An open set: a new entry is a subclass of `FineTuning` and an entry of `FINE_TUNINGS` (or a call of
`register_fine_tuning`). Where it is a dataclass, its fields are options that can be given by name, as in
`distillation:share=0.5`. The learning rate has a field of its own, `learning_rate_factor`.
"""

from prune_env.fine_tuning.base import FineTuning
from prune_env.fine_tuning.distillation import Distillation
from prune_env.fine_tuning.restart import Rewind, Scratch
from prune_env.open_sets import add

__all__ = ["FINE_TUNINGS", "Distillation", "FineTuning", "Rewind", "Scratch", "register_fine_tuning"]

FINE_TUNINGS: dict[str, FineTuning] = {
    "plain": FineTuning(),
    "distillation": Distillation(),
    "rewind": Rewind(),
    "scratch": Scratch(),
}
"""Name -> fine-tuning."""


def register_fine_tuning(name: str, fine_tuning: FineTuning) -> None:
    """Make a way of fine-tuning known by name.

    Raises:
        ValueError: If the name is taken by another one.
    """
    add("fine-tuning", name, fine_tuning, FINE_TUNINGS)
