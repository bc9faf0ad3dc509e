"""Residual networks and their limits: measures on depth × unit."""
