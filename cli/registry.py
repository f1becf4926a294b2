"""`login` and `logout`: who a person is to a registry, kept where Docker keeps it."""

from __future__ import annotations

import sys

from cli.errors import UsageError
from cli.options import Command, Parsed, option, value
from cli.shared import warn
from engine import registries
from images import credentials

_HUB_NAMES = ("", "docker.io", "index.docker.io", "https://index.docker.io/v1/")


def _host(words: list[str]) -> str:
    """The registry that is meant, without scheme and path."""
    word = words[0] if words else ""
    if word in _HUB_NAMES:
        return credentials.HUB
    return word.removeprefix("https://").removeprefix("http://").partition("/")[0]


def _login(parsed: Parsed) -> int:
    host = _host(parsed.words)
    if parsed.password is not None and parsed.password_stdin:
        raise UsageError("--password and --password-stdin are mutually exclusive", exit_code=1)
    if parsed.password_stdin and not parsed.username:
        raise UsageError("must provide --username with --password-stdin", exit_code=1)
    if parsed.password is not None:
        warn("using --password on the command line is insecure: use --password-stdin")
    user, password = parsed.username or "", parsed.password
    if parsed.password_stdin:
        password = sys.stdin.read().removesuffix("\n").removesuffix("\r")
    if not user or password is None:
        user, password = _asked(user, password)
    if not user or not password:
        raise UsageError("a user name and a password are needed", exit_code=1)
    given = credentials.Credentials(user, password)
    token = registries.registry(host, given).check()
    said = credentials.store(host, given.replace(identity_token=token) if token else given)
    if said:
        warn(f"{said}: configure a credential helper to change that")
    print("Login Succeeded")
    return 0


def _asked(user: str, password: str | None) -> tuple[str, str]:
    if not sys.stdin.isatty():
        raise UsageError(
            "cannot ask for a user name and a password",
            "the input is not a terminal",
            "use --username and --password-stdin",
            exit_code=1,
        )
    import getpass

    user = user or input("Username: ").strip()
    return user, password if password is not None else getpass.getpass("Password: ")


def _logout(parsed: Parsed) -> int:
    host = _host(parsed.words)
    if credentials.erase(host):
        print(f"Removing login credentials for {host}")
    else:
        print(f"Not logged in to {host}")
    return 0


COMMANDS: tuple[Command, ...] = (
    Command(
        "login",
        "[REGISTRY]",
        "Keep a name and a password for a registry, once it has accepted them.",
        _login,
        (
            value("-u --username", "NAME", "The user name"),
            value("-p --password", "PASSWORD", "The password; other users can see it meanwhile"),
            option("--password-stdin", "Read the password from standard input"),
        ),
        at_most=1,
        details="They are kept in ~/.docker/config.json or in $DOCKER_CONFIG, which Docker reads as"
        " well, or by the\ncredential helper that is named there. Without REGISTRY: docker.io.",
        examples=("pyctr login --username ann --password-stdin localhost:5000 < password",),
    ),
    Command(
        "logout",
        "[REGISTRY]",
        "Forget the name and the password for a registry.",
        _logout,
        at_most=1,
        examples=("pyctr logout localhost:5000",),
    ),
)
