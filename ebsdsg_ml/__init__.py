"""Learning: from patterns to a classifier and its answers."""
