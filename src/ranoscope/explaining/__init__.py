"""Maps that show what a network looked at, per case, in the grid of the store."""
