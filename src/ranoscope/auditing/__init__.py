"""Is a split honest? What leaks from training to test in anybody's folds, and how sure a score of their size is."""
