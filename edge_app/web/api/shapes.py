"""Arrays of a fixed length, in the form that every reader of an OpenAPI document understands."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field

Pair = Annotated[tuple[float, ...], Field(min_length=2, max_length=2)]
Triple = Annotated[tuple[float, ...], Field(min_length=3, max_length=3)]
Pairs = tuple[Pair, ...]
Matrix2 = Annotated[tuple[Pair, ...], Field(min_length=2, max_length=2)]
Matrix3 = Annotated[tuple[Triple, ...], Field(min_length=3, max_length=3)]
