"""Export to TensorFlow Lite: raw heads, quantisation, detection post-process, operator tables."""
