"""Families of problems: their members computed, wherever, and joined."""
