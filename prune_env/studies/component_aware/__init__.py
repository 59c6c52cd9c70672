"""arXiv 2504.13296: component-aware pruning against the vanilla dependency graph."""
