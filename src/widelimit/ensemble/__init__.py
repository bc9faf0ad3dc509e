"""Weighted neurons and their equations: a network, or its limit, is a measure on neurons."""
