"""Networks of layers, one upon the other, and their limits."""
