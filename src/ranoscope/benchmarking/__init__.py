"""Benchmark: many recipes on one cohort, each cell trained once, all of them beside the same rivals."""
