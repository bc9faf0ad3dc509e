"""How laws and learning rates go with the width: standard, ntk, mup, mean field."""
