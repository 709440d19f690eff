"""How much one client may ask of the server, and how long it may take."""

from __future__ import annotations

from dataclasses import dataclass, fields

from funneltune.errors import ConfigError

LETTERS = 1000
"""Of a query, an identifier or any other text."""
ITEMS = 10_000
"""Items that one request may name."""
PAIRS = 1000
"""Of one request for scores."""
TOP = 1000
"""Places of one list."""
ARRANGED = 200
"""Of one list that rules, diversity or exposure fill place by place."""
COLUMNS = 10
"""Columns that one rule may name."""
PINS = 100
"""Items with places of their own."""
CHOICES = 100
"""Values of a filter, and suggestions of one kind."""


@dataclass(frozen=True)
class Limits:
    """What is refused (4xx) or put off (503) so that the server answers everyone else.

    Raises:
        ConfigError: for a limit of 0 or less.
    """

    body_bytes: int = 1 << 19
    """Of a request's body; more is answered 413."""
    waiting: int = 256
    """Requests in the model's queue; beyond it 503 with Retry-After."""
    open_requests: int = 1024
    """Requests in all, those being read included; beyond it 503."""
    seconds: float = 15.0
    """From a request's last byte to its answer; then 504."""
    body_seconds: float = 10.0
    """From a request's first line to its last byte; then 408, and a client that goes on is cut off."""
    stop_seconds: float = 30.0
    """What requests in flight get to finish after SIGTERM or SIGINT."""
    batch: int = 64
    """Requests that the model answers together."""
    batch_items: int = 200_000
    """Candidates that the model scores together, in all requests of a batch; at least one request goes through."""

    def __post_init__(self) -> None:
        """Refuse a limit under which nothing could be answered."""
        for field in fields(self):
            value = getattr(self, field.name)
            if value <= 0:
                raise ConfigError(f"{field.name}={value} must be > 0; the default is {field.default}.")
