"""Masks → lesions with identities, diameters, volumes: the timeline that the response engine reads."""
