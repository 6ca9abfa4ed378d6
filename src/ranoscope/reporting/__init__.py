"""The report: one self-contained page with figures, a slice viewer, settings and provenance."""
