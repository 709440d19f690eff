"""`funneltune VERB ...`: finds the verb, and turns a user's mistake into one line and exit status 2 (a failure: 1)."""

from __future__ import annotations

import signal
import sys
import threading
import traceback
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from types import TracebackType

from funneltune.cli import (
    abtest,
    ads,
    assist,
    data,
    demand,
    embed,
    evaluate,
    explain,
    export,
    fairness,
    helptext,
    need,
    offpolicy,
    online,
    personas,
    predict,
    pretrain,
    price,
    rank,
    report,
    reproduce,
    retrieve,
    search,
    sentiment,
    serve,
    stock,
    study,
    train,
    transfer,
    uplift,
)
from funneltune.cli.arguments import Arguments, nearest_clause
from funneltune.cli.verb import Verb, is_first_process, say
from funneltune.errors import ConfigError, FunnelError, Interrupted
from funneltune.secrets import redacted, word_faults

LONGEST = 4000
"""Letters of an error's line; what is between its halves is left out."""
VERBS: dict[str, Verb] = {
    module.VERB.name: module.VERB
    for module in (
        train,
        pretrain,
        evaluate,
        predict,
        rank,
        retrieve,
        embed,
        explain,
        export,
        serve,
        offpolicy,
        online,
        abtest,
        ads,
        demand,
        stock,
        fairness,
        price,
        need,
        assist,
        uplift,
        sentiment,
        transfer,
        personas,
        study,
        search,
        reproduce,
        report,
        data,
    )
}


def main(argv: Sequence[str] | None = None) -> int:
    """Run one command line and return its exit status.

    0: done. 1: a run failed (`FailedRunError`, told in one line), a study has failed cells, or (as Python's own status)
    a fault of ours, with its traceback. 2: a mistake that the user can mend, told in one line. 130, 143: stopped by
    SIGINT, SIGTERM.
    """
    tokens = list(sys.argv[1:] if argv is None else argv)
    sys.excepthook = _tell_whole
    try:
        with _terminated_by_exception():
            return _dispatch(tokens)
    except FunnelError as error:
        return _tell(error)
    except Interrupted as error:
        if is_first_process():
            sys.stderr.write(f"{redacted(str(error))}\n")
        return int(error.code or 0)
    except KeyboardInterrupt:
        sys.stderr.write("interrupted\n")
        return 130
    except Exception as error:
        from funneltune.experiments import user_fault

        mendable = user_fault(error)
        if mendable is None:
            raise
        return _tell(mendable)


@contextmanager
def _terminated_by_exception() -> Iterator[None]:
    """SIGTERM unwinds the program as SIGINT does, so that what is half done is undone. Training has a better answer."""

    def unwind(signum: int, _frame: object) -> None:
        raise Interrupted(signum)

    if threading.current_thread() is not threading.main_thread() or signal.getsignal(signal.SIGTERM) != signal.SIG_DFL:
        yield
        return
    signal.signal(signal.SIGTERM, unwind)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, signal.SIG_DFL)


def _tell_whole(kind: type[BaseException], error: BaseException, trace: TracebackType | None) -> None:
    """A fault of ours with its traceback, as Python prints it, but without secrets that its message may quote."""
    sys.stderr.write(redacted("".join(traceback.format_exception(kind, error, trace))))


def _tell(error: FunnelError) -> int:
    told = redacted(" ".join(str(error).split()))
    if len(told) > LONGEST:  # it quotes what it was given
        told = f"{told[: LONGEST // 2]} ... {told[-LONGEST // 2 :]}"
    sys.stderr.write(f"error: {told}\n")
    return error.status


def _dispatch(tokens: list[str]) -> int:
    if not tokens or tokens[0] in {"--help", "-h", "help"}:
        say(helptext.general(VERBS.values()))
        return 0
    if tokens[0] == "--version":
        from importlib.metadata import version

        say(f"funneltune {version('funneltune')}")
        return 0
    verb = VERBS.get(tokens[0])
    if verb is None:
        raise ConfigError(
            f"{tokens[0]} is no verb{nearest_clause(tokens[0], VERBS)}; verbs: {', '.join(VERBS)} (funneltune --help)."
        )
    if secrets := list(word_faults(tokens[1:])):
        raise ConfigError("; ".join(secrets))
    arguments = Arguments.parse(tokens[1:])
    if arguments.help:
        say(helptext.of_verb(verb, arguments.config_dir))
        return 0
    if arguments.listed and verb is not reproduce.VERB:
        raise ConfigError(f"--list says nothing here: {verb.name} lists no papers; see {verb.name} --help.")
    if arguments.show_config and not verb.composes:
        raise ConfigError(f"--cfg job says nothing here: {verb.name} composes no config.")
    if arguments.config_dir is not None and not verb.composes:
        raise ConfigError(f"--config-dir says nothing here: {verb.name} composes no config.")
    return verb.run(arguments)
