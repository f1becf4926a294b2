"""Who a registry is, who we are to it, and what it lets us do: TLS, passwords, tokens."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys

import pytest

from tests.certificates import Authority
from tests.images.test_registry import another, pushed
from tests.scripted import layer
from tests.tokens import Tokens

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from tests.conftest import Pyctr
    from tests.registries import Served
    from tests.scripted import Request, Scripted

    Serve = Callable[..., Served]


@pytest.fixture
def authority(home_dir: str) -> Authority:
    return Authority(f"{home_dir}/ca")


@pytest.fixture
def beside() -> Iterator[Callable[[str, str, str], None]]:
    """Puts a file where Docker looks for certificates of a registry: (host, name, source)."""
    made: list[str] = []

    def put(host: str, name: str, source: str) -> None:
        folder = f"/etc/docker/certs.d/{host}"  # a port of our own: nobody else has it
        os.makedirs(folder, exist_ok=True)
        shutil.copyfile(source, f"{folder}/{name}")
        made.append(folder)

    yield put
    for folder in set(made):
        shutil.rmtree(folder)


def login(pyctr: Pyctr, host: str, password: str = "secret", code: int = 0) -> str:
    ran = pyctr("login", "-u", "ann", "--password-stdin", host, stdin=password, code=code)
    return ran.stdout + ran.stderr


def test_a_registry_that_nobody_vouches_for_is_not_trusted(
    pyctr: Pyctr, serve: Serve, authority: Authority, monkeypatch: pytest.MonkeyPatch
) -> None:
    served = serve(tls=authority)
    failed = pyctr("pull", f"{served.host}/team/app:1", code=1).stderr
    assert "is not trusted" in failed and f"certs.d/{served.host}/ca.crt" in failed
    monkeypatch.setenv("SSL_CERT_FILE", authority.certificate)
    assert "no such image" in pyctr("pull", f"{served.host}/team/app:1", code=1).stderr
    full = pushed(pyctr, served)
    another(pyctr, monkeypatch, "second")
    pyctr("pull", full)


def test_an_authority_beside_the_name_of_the_registry_is_trusted_for_it_alone(
    pyctr: Pyctr, serve: Serve, authority: Authority, beside: Callable[[str, str, str], None]
) -> None:
    served, other = serve(tls=authority, auth=True), serve(tls=authority)
    beside(served.host, "ca.crt", authority.certificate)
    assert "password are wrong" in login(pyctr, served.host, "wrong", code=1)
    login(pyctr, served.host)
    pushed(pyctr, served)
    assert "is not trusted" in pyctr("pull", f"{other.host}/team/app:1", code=1).stderr
    beside(other.host, "ca.crt", "/etc/passwd")
    failed = pyctr("pull", f"{other.host}/team/app:1", code=1).stderr
    assert "a certificate cannot be used" in failed and f"{other.host}/ca.crt" in failed


def test_we_show_a_certificate_of_ours_where_one_is_wanted(
    pyctr: Pyctr, serve: Serve, authority: Authority, beside: Callable[[str, str, str], None]
) -> None:
    served = serve(tls=authority, clients=True)
    beside(served.host, "ca.crt", authority.certificate)
    assert "client.cert, its key into" in pyctr("pull", f"{served.host}/x:1", code=1).stderr
    certificate, key = authority.sign("client")
    beside(served.host, "client.cert", certificate)
    beside(served.host, "client.key", key)
    pushed(pyctr, served)


def test_an_insecure_registry_needs_no_authority(
    pyctr: Pyctr, serve: Serve, authority: Authority, monkeypatch: pytest.MonkeyPatch
) -> None:
    served = serve(tls=authority)
    monkeypatch.setenv("PYCTR_INSECURE", served.host)
    pushed(pyctr, served)


def test_a_redirect_from_https_to_plain_http_is_refused(
    pyctr: Pyctr,
    scripted: Callable[..., Scripted],
    authority: Authority,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    plain, secure = scripted(), scripted(authority.sign("server", "127.0.0.1"))
    secure.image("app", "1", [layer(x=os.urandom(20_000))])
    plain.content |= secure.content
    monkeypatch.setenv("SSL_CERT_FILE", authority.certificate)

    def act(request: Request) -> bool:
        if request.is_blob:
            request.answer(302, Location=f"http://{plain.host}{request.path}")
        return request.is_blob

    secure.act = act
    failed = pyctr("pull", f"{secure.host}/app:1", code=1).stderr
    assert "leads from https to plain http" in failed and plain.asked == []
    secure.act = None
    pyctr("pull", f"{secure.host}/app:1")


@pytest.fixture
def elsewhere() -> Iterator[tuple[str, ...]]:
    """What runs a command in a network of its own, which has the address 192.0.2.1."""
    script = "ip link set lo up && ip address add 192.0.2.1/32 dev lo && echo && exec sleep 600"
    holder = subprocess.Popen(
        ["unshare", "--net", "sh", "-c", script], stdout=subprocess.PIPE, text=True
    )
    assert holder.stdout is not None
    assert holder.stdout.readline() == "\n"
    yield ("nsenter", f"--net=/proc/{holder.pid}/ns/net")
    holder.kill()
    holder.wait()


def test_plain_http_with_another_host_is_refused_unless_asked_for(
    pyctr: Pyctr, serve: Serve, elsewhere: tuple[str, ...], monkeypatch: pytest.MonkeyPatch
) -> None:
    served = serve(wrapped=elsewhere, address="192.0.2.1")
    full = f"{served.host}/team/app:1"
    pyctr("create", "base")
    pyctr("tag", "base", full)

    def there(*words: str) -> subprocess.CompletedProcess[str]:
        argv = [*elsewhere, sys.executable, "-m", "cli.main", *words]
        return subprocess.run(argv, capture_output=True, text=True, timeout=120)

    failed = there("push", full)
    assert failed.returncode == 1 and "speaks no TLS" in failed.stderr
    assert f'registry.insecure = ["{served.host}"]' in failed.stderr
    assert not os.path.exists(f"{served.kept}/docker")
    monkeypatch.setenv("PYCTR_INSECURE", f"other:1,{served.host}")
    assert there("push", full).returncode == 0
    assert there("pull", full).returncode == 0


@pytest.fixture
def tokens(authority: Authority) -> Iterator[Tokens]:
    started = Tokens(authority)
    yield started
    started.end()


def test_a_token_is_got_for_what_is_done_and_no_more(
    pyctr: Pyctr, serve: Serve, tokens: Tokens, home_dir: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    served = serve(token=tokens.settings)
    failed = pyctr("pull", f"{served.host}/team/app:1", code=1).stderr
    assert "denied" in failed and f"pyctr login {served.host}" in failed
    assert tokens.asked == [("", ["repository:team/app:pull"])]
    assert "denied" in login(pyctr, served.host, "wrong", code=1)
    login(pyctr, served.host)
    with open(f"{home_dir}/docker-config/config.json") as file:
        kept = file.read()
    assert "refresh-of-ann" in kept and "secret" not in kept  # a token is kept, no password
    tokens.asked.clear()
    full = pushed(pyctr, served)
    assert tokens.asked
    assert all(asked == ("ann", ["repository:team/app:pull,push"]) for asked in tokens.asked)
    tokens.asked.clear()
    another(pyctr, monkeypatch, "second")
    pyctr("pull", full)
    assert tokens.asked == [("ann", ["repository:team/app:pull"])]
    pyctr("logout", served.host)
    assert "denied" in pyctr("pull", full, code=1).stderr


def test_a_mount_asks_for_both_repositories(pyctr: Pyctr, serve: Serve, tokens: Tokens) -> None:
    served = serve(token=tokens.settings)
    login(pyctr, served.host)
    pushed(pyctr, served)
    other = f"{served.host}/other/app:2"
    pyctr("tag", "base", other)
    assert "Mounted from team/app" in pyctr.out("push", other)
    both = ["repository:other/app:pull,push", "repository:team/app:pull"]
    assert ("ann", both) in tokens.asked


def test_whoever_is_nobody_may_pull_what_is_open(
    pyctr: Pyctr, serve: Serve, tokens: Tokens, monkeypatch: pytest.MonkeyPatch
) -> None:
    served = serve(token=tokens.settings)
    login(pyctr, served.host)
    full = pushed(pyctr, served, "open/app:1")
    pyctr("logout", served.host)
    another(pyctr, monkeypatch, "second")
    assert pyctr.out("run", "--rm", full, "echo", "open") == "open"
    assert "denied" in pyctr("push", full, code=1).stderr


def test_a_token_that_ran_out_is_got_again(pyctr: Pyctr, scripted: Callable[..., Scripted]) -> None:
    registry = scripted()
    registry.image("app", "1", [layer(x=os.urandom(20_000))])
    challenge = f'Bearer realm="http://{registry.host}/token",service="x, y",scope="unused"'
    given: list[str] = []
    valid: list[str] = []

    def act(request: Request) -> bool:
        if request.path.startswith("/token"):
            given.append(f"token-{len(given)}")
            valid.append(f"Bearer {given[-1]}")
            request.answer(200, json.dumps({"access_token": given[-1]}).encode())
        elif request.headers.get("Authorization") in valid:  # good for one request
            valid.clear()
            return False
        else:
            request.answer(401, WWW_Authenticate=challenge)
        return True

    registry.act = act
    pyctr("pull", f"{registry.host}/app:1")
    assert len(given) == 3  # the manifest, the configuration, the layer
    asked = [path for _, path, _ in registry.asked if path.startswith("/token")]
    assert asked[0] == "/token?service=x%2C+y&scope=repository%3Aapp%3Apull"


def test_helpers_are_chosen_for_each_registry_and_told_apart(
    pyctr: Pyctr, serve: Serve, home_dir: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    served = serve(auth=True)
    os.makedirs(f"{home_dir}/programs")
    os.mkdir(f"{home_dir}/docker-config")
    with open(f"{home_dir}/programs/docker-credential-mine", "w") as file:
        file.write(
            f'#!/bin/sh\nread host\n[ "$1 $host" = "get {served.host}" ] || exit 1\n'
            'echo \'{"ServerURL": "", "Username": "ann", "Secret": "secret"}\'\n'
        )
    os.chmod(f"{home_dir}/programs/docker-credential-mine", 0o755)
    config = f"{home_dir}/docker-config/config.json"
    with open(config, "w") as file:
        json.dump({"credHelpers": {served.host: "mine"}}, file)
    failed = pyctr("pull", f"{served.host}/team/app:1", code=1).stderr
    assert "cannot run docker-credential-mine" in failed and config in failed
    monkeypatch.setenv("PATH", f"{home_dir}/programs:{os.environ['PATH']}")
    pushed(pyctr, served)
    with open(config, "w") as file:
        json.dump({"credHelpers": {served.host: "../evil"}}, file)
    failed = pyctr("pull", f"{served.host}/team/app:1", code=1).stderr
    assert "invalid credential helper '../evil'" in failed


def test_login_and_logout_in_all_their_forms(pyctr: Pyctr, serve: Serve, home_dir: str) -> None:
    from tests.cli.test_run import Terminal

    host = serve(auth=True).host
    config = f"{home_dir}/docker-config/config.json"
    said = pyctr("login", "-u", "ann", "-p", "secret", host)
    assert "Login Succeeded" in said.stdout and "insecure" in said.stderr
    assert f"Removing login credentials for {host}" in pyctr.out("logout", f"https://{host}/v2/")
    both = pyctr("login", "-u", "ann", "-p", "x", "--password-stdin", host, code=1).stderr
    assert "mutually exclusive" in both
    assert "must provide --username" in pyctr("login", "--password-stdin", host, code=1).stderr
    failed = pyctr("login", "--username", "ann", host, code=1).stderr
    assert "the input is not a terminal" in failed
    terminal = Terminal(pyctr.argv("login", host))
    terminal.expect(b"Username: ")
    terminal.type(b"ann\n")
    terminal.expect(b"Password: ")
    terminal.type(b"secret\n")
    terminal.expect(b"Login Succeeded")
    assert terminal.end() == 0
    with open(config) as file:
        assert host in file.read()
