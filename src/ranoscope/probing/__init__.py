"""Is a network right for the wrong reason? Trained folds, asked about what should and what should not move a call."""
