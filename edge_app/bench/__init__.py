"""Benchmarks: of each stage, of the live pipeline as a whole, and against what people would otherwise run."""
