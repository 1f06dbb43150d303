"""Pictures for people: hidden persons first, then the overlay, then the bird's-eye view."""

from edge_app.render.annotate import annotate
from edge_app.render.birdseye import BirdsEye
from edge_app.render.privacy import hide_people
from edge_app.render.video_writer import AnnotatedVideoWriter

__all__ = ["AnnotatedVideoWriter", "BirdsEye", "annotate", "hide_people"]
