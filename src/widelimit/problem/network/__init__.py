"""The network: laws of initial weights, layers, activations."""
