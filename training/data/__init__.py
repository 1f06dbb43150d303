"""Training data: labelled pictures, and what is done to them before the network sees them."""
