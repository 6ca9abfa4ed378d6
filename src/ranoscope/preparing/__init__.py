"""Raw scans in, aligned studies out: what a hospital has, DICOM or NIfTI, becomes what the other rooms read."""
