"""`funneltune serve`: one run or two over HTTP, and a page that shows their lists side by side."""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import Any

from funneltune.cli.arguments import Arguments
from funneltune.cli.locate import config_root
from funneltune.cli.verb import Verb, say
from funneltune.errors import ConfigError

TOKEN = "FUNNELTUNE_TOKEN"
LEAST = 16
"""Letters of a token."""


def run(arguments: Arguments) -> int:
    """Bind, load, answer until SIGTERM or SIGINT."""
    arguments.only_word("run")
    keys = arguments.keys(
        {"run": "PATH"},
        {
            "run_b": "",
            "host": "127.0.0.1",
            "port": "8000",
            "token_file": "",
            "hosts": "",
            "calibration": "",
            "threads": "",
        },
    )
    port = _whole("port", keys["port"], 0, 65535)
    threads = _whole("threads", keys["threads"], 1, 1024) if keys["threads"] else None
    token = _token(keys["token_file"])
    try:
        from funneltune import serving
    except ModuleNotFoundError as error:
        if (error.name or "").partition(".")[0] not in {"fastapi", "starlette", "uvicorn", "prometheus_client", "h11"}:
            raise
        raise ConfigError("serve: needs a package that is not installed: pip install 'funneltune[serve]'.") from None
    if token is None and not serving.is_loopback(keys["host"]):
        raise ConfigError(
            f"host={keys['host']} lets other machines in, and no token is set; give token_file=PATH or {TOKEN}, or "
            "leave host at 127.0.0.1."
        )
    with serving.bound_socket(keys["host"], port) as held, serving.watched_log():
        limits = serving.Limits()
        run_b = Path(keys["run_b"]) if keys["run_b"] else None
        runs, choices = serving.open_runs(Path(keys["run"]), run_b, keys["calibration"] or None, threads, _rankings())
        names = [name for name in keys["hosts"].split(",") if name]
        app = serving.make_app(runs, choices, limits, token, [*names, keys["host"]])
        address = f"http://{_in_address(keys['host'])}:{held.getsockname()[1]}"
        line = f"serving {' and '.join(one.name for one in runs)} at {address} (Ctrl+C stops)"

        def ready() -> None:
            say(line)
            sys.stdout.flush()  # whoever waits for it reads a pipe

        serving.serve(app, held, limits, ready)
    say("stopped")
    return 0


def _rankings() -> dict[str, dict[str, Any]]:
    """The rankings that ship, by name."""
    import yaml

    files = {one.stem: one for one in sorted((config_root() / "ranking").glob("*.yaml"))}
    first = [name for name in ("purchases", "revenue") if name in files]
    return {name: yaml.safe_load(files[name].read_text(encoding="utf-8")) for name in dict.fromkeys([*first, *files])}


def _token(path: str) -> str | None:
    """The token of a file, or of the environment.

    Raises:
        ConfigError: if the file cannot be read, or a token is short or has other than visible ASCII letters.
    """
    if path:
        try:
            found, source = Path(path).read_text(encoding="utf-8").strip(), f"token_file={path}"
        except (OSError, UnicodeDecodeError) as error:
            reason = getattr(error, "strerror", None) or "not a text"
            raise ConfigError(f"token_file={path} cannot be read ({reason}); write the token into it.") from None
    elif TOKEN in os.environ:
        found, source = os.environ[TOKEN].strip(), TOKEN
    else:
        return None
    if len(found) < LEAST or not all("!" <= letter <= "~" for letter in found):
        raise ConfigError(f"{source}: a token must have {LEAST} or more visible ASCII letters; openssl rand -hex 16.")
    return found


def _whole(key: str, text: str, low: int, high: int) -> int:
    if not (text.isascii() and text.isdecimal() and len(text) < 10 and low <= int(text) <= high):
        raise ConfigError(f"{key}={text} must be a whole number, {low} .. {high}.")
    return int(text)


def _in_address(host: str) -> str:
    return f"[{host}]" if ":" in host else host


VERB = Verb(
    name="serve",
    summary="ranked lists over HTTP, and a page to compare two runs",
    usage="funneltune serve run=PATH [run_b=PATH] [host=127.0.0.1] [port=8000] [token_file=PATH]",
    examples=(
        "funneltune serve run=runs/quickstart/2026-01-31_12-00-00",
        "funneltune serve run=studies/quickstart/cells/tuning=full/seed=0 "
        "run_b=studies/quickstart/cells/tuning=adalora/seed=0",
    ),
    run=run,
    keys={
        "run": "folder of a trained run",
        "run_b": "folder of another run of the same log, to stand beside it",
        "host": "address to listen on (default 127.0.0.1: this machine alone); any other needs a token",
        "port": "port to listen on (default 8000; 0: any that is free)",
        "token_file": f"file with the token that clients must show (else {TOKEN}, else none)",
        "hosts": "names under which the server is reached, separated by commas, beside localhost and numeric addresses",
        "calibration": "none, temperature, platt or isotonic (default: what each run's config says)",
        "threads": "threads of the model (default: PyTorch's own choice)",
    },
)
