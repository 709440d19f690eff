"""Decisions over HTTP, and the page."""

__all__: list[str] = []
