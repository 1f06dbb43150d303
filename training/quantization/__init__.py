"""Quantisation-aware training: folded weights, simulated integers, trained ranges."""
