"""Decisions over HTTP, and the page."""

from funneltune.serving.app import make_app
from funneltune.serving.guard import watched_log
from funneltune.serving.limits import Limits
from funneltune.serving.opening import open_run, open_runs
from funneltune.serving.served import ServedRun, require_one_log
from funneltune.serving.server import bound_socket, is_loopback, serve
from funneltune.serving.suggestions import LogChoices

__all__ = [
    "Limits",
    "LogChoices",
    "ServedRun",
    "bound_socket",
    "is_loopback",
    "make_app",
    "open_run",
    "open_runs",
    "require_one_log",
    "serve",
    "watched_log",
]
