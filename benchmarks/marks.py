"""Inside the processes of a run: its trace points write what time it is. See `where`."""

from __future__ import annotations

import os
import sys
import time

from kernel import trace

_FD = 700  # out of the way of all others


def run(path: str, packages: str, begun: int) -> None:
    """`run --rm --network none base true`, with marks in the file ``path``. Never returns."""
    fd = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_APPEND)
    os.dup2(fd, _FD, inheritable=False)
    os.close(fd)
    say("begin", begun)
    sys.path.append(packages)
    trace.point = lambda name: lambda: say(name, time.monotonic_ns())
    _watch()
    from cli import main

    dispatch = main._dispatch

    def dispatching(argv: list[str]) -> int:
        say("dispatched", time.monotonic_ns())
        return dispatch(argv)

    main._dispatch = dispatching
    sys.argv = ["pyctr", "run", "--rm", "--network", "none", "base", "true"]
    main.run()


def say(name: str, value: float) -> None:
    """One mark, or one summand."""
    try:
        os.write(_FD, f"{name}={value}\n".encode())
    except OSError:  # the container's first process has just closed everything
        return


def _watch() -> None:
    """Marks where there is no trace point, and what is asked of SQLite."""
    from engine import home
    from kernel import paths

    fork, keep_only, connect = os.fork, paths.keep_only, home._connect

    def forking() -> int:
        say("forking", time.monotonic_ns())
        return fork()

    def connecting(*args: object) -> Asked:
        before = time.monotonic_ns()
        made = Asked(connect(*args))
        say("sql connections", 1)
        say("sql ms", (time.monotonic_ns() - before) / 1e6)
        return made

    os.fork = forking
    paths.keep_only = lambda kept: keep_only({*kept, _FD})
    home._connect = connecting


class Asked:
    """A connection whose statements are counted and timed."""

    def __init__(self, db: object) -> None:
        self.db = db

    def __getattr__(self, name: str) -> object:
        found = getattr(self.db, name)
        if not name.startswith("execute"):
            return found

        def execute(*args: object) -> object:
            before = time.monotonic_ns()
            try:
                return found(*args)
            finally:
                say("sql ms", (time.monotonic_ns() - before) / 1e6)
                say("sql statements", 1)

        return execute

    def __enter__(self) -> object:
        return self.db.__enter__()

    def __exit__(self, *error: object) -> object:
        return self.db.__exit__(*error)
