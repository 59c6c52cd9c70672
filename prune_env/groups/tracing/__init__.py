"""Following channels through a network: labels, the rules of operators, and what they say belongs together."""
