"""Social-distancing detector for edge devices: people, distances in metres, violation events, dashboard."""

__version__ = "0.1.0"
