"""Options by which networks and agents train in a moment."""

ENV_ID = "PruneEnv/Autoencoder-v0"
NETWORK = {"hidden_layers": 1, "learning_rate": 0.01, "dense_steps": 60}
OPTIONS = {"rounds": 1, "steps_per_round": 2, "budget": [0.3, 0.7], "pool": 2, **NETWORK}
SMALL_PPO = {"n_steps": 8, "batch_size": 8, "n_epochs": 2}
