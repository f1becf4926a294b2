"""Who a person is to a registry: Docker's ``config.json`` and its credential helpers.

    $DOCKER_CONFIG/config.json, else ~/.docker/config.json

``auths`` holds base64 of user:password or an identity token; ``credsStore`` and ``credHelpers``
name programs ``docker-credential-<name>`` that keep them elsewhere. The file is shared with Docker,
so everything else in it is left as it is.

Source: Docker's documentation of `docker login`, "Credential stores", "Credential helper protocol".
"""

from __future__ import annotations

import base64
import json
import os
import subprocess

from images.errors import ImageError
from kernel import tree
from kernel.record import Record

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

HUB = "docker.io"
_HUB_KEY = "https://index.docker.io/v1/"  # as Docker writes it since its first days
_TOKEN_USER = "<token>"


class Credentials(Record):
    """A name with a password, or an identity token of an earlier login."""

    user: str = ""
    password: str = ""
    identity_token: str = ""


def path() -> str:
    """The configuration file of this person."""
    folder = os.environ.get("DOCKER_CONFIG") or os.path.expanduser("~/.docker")
    return f"{folder}/config.json"


def find(host: str) -> Credentials | None:
    """What is known for a registry, None if nothing."""
    settings = _read()
    helper = _helper(settings, host)
    if helper:
        return _ask_helper(helper, host)
    auths = settings.get("auths") or {}
    for key in _keys(host):
        entry = auths.get(key)
        if isinstance(entry, dict) and entry:
            return _decode(entry, key)
    return None


def store(host: str, credentials: Credentials) -> str:
    """Keeps credentials; returns a sentence about where, "" if nothing need be said."""
    settings = _read()
    helper = _helper(settings, host)
    if helper:
        user = credentials.user if not credentials.identity_token else _TOKEN_USER
        secret = credentials.identity_token or credentials.password
        said = {"ServerURL": _key(host), "Username": user, "Secret": secret}
        _run_helper(helper, "store", json.dumps(said))
        settings.setdefault("auths", {})[_key(host)] = {}
        _write(settings)
        return ""
    pair = f"{credentials.user}:{credentials.password}".encode()
    entry = {"auth": base64.b64encode(pair).decode()}
    if credentials.identity_token:
        entry = {"auth": base64.b64encode(f"{credentials.user}:".encode()).decode(),
                 "identitytoken": credentials.identity_token}  # fmt: skip
    settings.setdefault("auths", {})[_key(host)] = entry
    _write(settings)
    return f"the password is stored unencrypted in {path()}"


def erase(host: str) -> bool:
    """Forgets a registry; whether there was something to forget."""
    settings = _read()
    helper = _helper(settings, host)
    auths = settings.get("auths") or {}
    known = [key for key in _keys(host) if key in auths]
    if helper and (known or _ask_helper(helper, host) is not None):
        _run_helper(helper, "erase", _key(host))
    for key in known:
        del auths[key]
    if known:
        _write(settings)
    return bool(known)


def _key(host: str) -> str:
    return _HUB_KEY if host == HUB else host


def _keys(host: str) -> tuple[str, ...]:
    if host == HUB:
        return (_HUB_KEY, "docker.io", "index.docker.io", "https://index.docker.io/v2/")
    return (host, f"https://{host}", f"http://{host}", f"https://{host}/v1/", f"https://{host}/v2/")


def _read() -> dict[str, Any]:
    try:
        with open(path(), "rb") as file:
            settings = json.loads(file.read(1 << 20) or b"{}")
    except FileNotFoundError:
        return {}
    except (OSError, ValueError) as error:
        raise ImageError("cannot read the credentials", str(error), path=path()) from None
    if not isinstance(settings, dict):
        raise ImageError("cannot read the credentials", "the file is not an object", path=path())
    return settings


def _write(settings: dict[str, Any]) -> None:
    os.makedirs(os.path.dirname(path()), mode=0o700, exist_ok=True)
    tree.write_atomically(path(), json.dumps(settings, indent="\t").encode() + b"\n", 0o600)


def _decode(entry: dict[str, Any], key: str) -> Credentials:
    token = str(entry.get("identitytoken") or "")
    try:
        user, colon, password = base64.b64decode(entry.get("auth") or "").decode().partition(":")
    except ValueError:
        colon = user = password = ""
    if entry.get("username"):
        user, colon, password = str(entry["username"]), ":", str(entry.get("password") or "")
    if not colon and not token:
        raise ImageError(
            f"cannot use the credentials of {key}", "they are damaged", f"pyctr login {key}", path()
        )
    return Credentials(user, password.rstrip("\0"), token)


def _helper(settings: dict[str, Any], host: str) -> str:
    helpers = settings.get("credHelpers")
    own = helpers.get(_key(host)) or helpers.get(host) if isinstance(helpers, dict) else None
    name = str(own or settings.get("credsStore") or "")
    if name and not all(char.isalnum() or char in "-_." for char in name):
        raise ImageError(f"invalid credential helper {name!r}", "", "see credsStore", path())
    return name


def _ask_helper(helper: str, host: str) -> Credentials | None:
    answer = _run_helper(helper, "get", _key(host))
    if answer is None:
        return None
    try:
        said = json.loads(answer)
        user, secret = str(said["Username"]), str(said["Secret"])
    except (ValueError, LookupError, TypeError):
        raise ImageError(f"docker-credential-{helper} gave no credentials", "not JSON") from None
    if user == _TOKEN_USER:
        return Credentials(identity_token=secret)
    return Credentials(user, secret)


def _run_helper(helper: str, verb: str, text: str) -> str | None:
    """What a helper answers; None if it does not know the registry."""
    program = f"docker-credential-{helper}"
    try:
        ran = subprocess.run(
            [program, verb], input=text, capture_output=True, text=True, timeout=60
        )
    except FileNotFoundError:
        raise ImageError(
            f"cannot run {program}", "it is not on the PATH", f"install it, or change {path()}"
        ) from None
    except subprocess.TimeoutExpired:
        raise ImageError(f"{program} does not answer", f"it was asked to {verb}") from None
    if ran.returncode == 0:
        return ran.stdout
    said = (ran.stdout.strip() or ran.stderr.strip()).splitlines()
    if verb == "get" and said and "not found" in said[0]:
        return None
    raise ImageError(f"{program} failed to {verb}", said[0] if said else "it says nothing")
