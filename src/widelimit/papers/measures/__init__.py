"""What the claims of several papers look at."""
