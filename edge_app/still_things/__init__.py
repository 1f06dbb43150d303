"""What is taken for a person and never moves: furniture, tripods, lamp posts, statues.

A detector that sees a person in a thing sees it for as long as the thing stands there. What tells it from a person is
time: people who stand still sway by centimetres, shift their weight and turn their heads, a thing does none of it. So a
track is a thing if it has never left its place since it appeared, and the picture inside its box has not changed for
some seconds by more than a small part of what the sway of a person would change. One about which nothing has ever moved
or changed since it appeared counts no longer than the detector's score is worth. Where the picture is too dark or too
plain to tell, it stays what it was, and whoever appears there is a person.
"""

from edge_app.still_things.config import StillThingsConfig
from edge_app.still_things.things import StillThings

__all__ = ["StillThings", "StillThingsConfig"]
