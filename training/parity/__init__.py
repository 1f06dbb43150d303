"""Parity: float, every kind of quantisation and the trained one side by side, on several sets."""
