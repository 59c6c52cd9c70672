"""What taking a network home costs and gives: time beside Torch-Pruning's pruner, sizes, latency and scores."""
