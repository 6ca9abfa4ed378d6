"""Which of a study's series are CT1, T1, T2 and FLAIR, by rules that can be read and decisions that give reasons."""

from ranoscope.preparing.recognition.decision import Decision, Recognition, SetAside
from ranoscope.preparing.recognition.explain import explain, rows
from ranoscope.preparing.recognition.overrides import Override, Pick, read_override
from ranoscope.preparing.recognition.recognise import recognise

__all__ = ["Decision", "Override", "Pick", "Recognition", "SetAside", "explain", "read_override", "recognise", "rows"]
