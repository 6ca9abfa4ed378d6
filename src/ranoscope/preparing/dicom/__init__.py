"""A folder of DICOM files, whatever their names and depth, to studies of series that can be read as volumes."""
