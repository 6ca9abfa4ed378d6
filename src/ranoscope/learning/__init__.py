"""A cohort and its aligned studies to cross-validated networks and their out-of-fold calls."""
