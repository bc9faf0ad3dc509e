"""The limit: nodes until the tolerance is met, and what it tells beside its outputs."""
