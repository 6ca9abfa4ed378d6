"""The response engine: a patient's measured timeline → a call per scan under any published criteria."""
