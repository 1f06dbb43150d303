"""SSDLite MobileNetV2 in Keras 3, in the order in which it runs: backbone, heads, anchors, box coder."""
