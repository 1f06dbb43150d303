"""Import of weights that others trained."""
