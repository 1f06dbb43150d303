"""The training side: makes, quantises, exports and measures pedestrian detectors."""
