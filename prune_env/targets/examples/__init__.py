"""Six small networks of several components, the kinds of arXiv 2504.13296 Table 1, each with a task that trains."""

from prune_env.targets.examples.branched import Branched
from prune_env.targets.examples.complex_cnn import ComplexCNN
from prune_env.targets.examples.multipath import MultiPath
from prune_env.targets.examples.recursive import Recursive
from prune_env.targets.examples.regression import SyntheticRegression
from prune_env.targets.examples.simple import Simple
from prune_env.targets.examples.tdmpc_style import TDMPCStyle

EXAMPLES: dict[str, type[SyntheticRegression]] = {
    "simple": Simple,
    "branched": Branched,
    "multipath": MultiPath,
    "recursive": Recursive,
    "tdmpc-style": TDMPCStyle,
    "complex-cnn": ComplexCNN,
}
"""Name -> target, in the order of the paper's table."""

__all__ = [
    "EXAMPLES",
    "Branched",
    "ComplexCNN",
    "MultiPath",
    "Recursive",
    "Simple",
    "SyntheticRegression",
    "TDMPCStyle",
]
