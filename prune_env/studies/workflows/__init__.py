"""Train, prune; or train, prune and continue: workflows at equal numbers of training steps."""
