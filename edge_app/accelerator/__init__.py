"""The Edge TPU: kept in a child process, watched, replaced by the CPU while it is away."""
