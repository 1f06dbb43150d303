"""Model bundles: made, signed, and brought to devices."""
