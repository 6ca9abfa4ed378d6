"""ranoscope: has this glioblastoma responded? Two MRI studies in, an honest, explained RANO call out.

Research use only; not a medical device.
"""

__version__ = "0.1.0"
