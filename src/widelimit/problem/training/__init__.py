"""How it learns: rules, losses, learning-rate schedules."""
