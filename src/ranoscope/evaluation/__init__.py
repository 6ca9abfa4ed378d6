"""Calls and labels to a scorecard: scores, patient-bootstrap intervals and the rivals beside every model."""
