"""The command line: one verb per arrow of the journey, no logic."""
