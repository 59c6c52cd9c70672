"""arXiv 2601.19794: how importance is distributed over groups, and how that changes in training."""
