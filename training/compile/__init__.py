"""The Edge TPU compiler: run it, read what it says, and predict it where it is not at hand."""
