"""Ensembles through time: flow, descent, noise."""
