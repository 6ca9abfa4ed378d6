"""A synthetic cohort with LUMIERE's exact folder shape, made from nothing but a seed."""
