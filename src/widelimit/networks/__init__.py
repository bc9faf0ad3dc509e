"""Sampled networks under SGD, gradient descent or flow."""
