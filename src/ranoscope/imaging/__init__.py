"""Images: NIfTI bytes to checked volumes, and atlas-space studies to a compact, memory-mapped store."""
