"""What a person gives: DICOM folders, NIfTI files, LUMIERE, BIDS or a manifest, to studies of patients in order."""

from ranoscope.preparing.inputs.find import find_studies
from ranoscope.preparing.inputs.study import Inputs, RawStudy, TumourMask

__all__ = ["Inputs", "RawStudy", "TumourMask", "find_studies"]
