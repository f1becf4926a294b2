"""`pyctr system check` where containers are on networks: rules, bridges and addresses."""

from __future__ import annotations

import sqlite3

import pytest

from tests.network.conftest import HOST, OUTSIDE, Host
from tests.network.test_bridge import SERVER

SOUND = "Everything is as it should be."


def test_rules_that_are_gone_are_found_and_made_again(host: Host) -> None:
    host.outside.start(SERVER)
    host.up("one")
    assert host.out("system", "check") == SOUND
    host.sh("nft flush ruleset")
    assert "rules of running containers are gone" in host("system", "check", code=1).stdout
    assert "1 mended" in host.out("system", "check", "--repair")
    fetch = ["wget", "-q", "-O", "-", f"http://{OUTSIDE}/"]
    assert host.out("exec", "one", *fetch) == f"you are {HOST}"
    assert host.out("system", "check") == SOUND


def test_an_address_of_a_container_that_does_not_run_is_found_and_taken_back(
    host: Host, monkeypatch: pytest.MonkeyPatch
) -> None:
    host("create", "--name", "one", "base", "sleep", "3600")
    monkeypatch.setenv("PYCTR_TRACE", "kill:engine.network.ready")
    host("start", "one", code=-9)
    monkeypatch.delenv("PYCTR_TRACE")
    found = host("system", "check", code=1).stdout
    assert "container one: it does not run, and has an address in network bridge" in found
    host("system", "check", "--repair")
    assert host.address("one") == ""
    assert host.out("system", "check") == SOUND


def test_a_bridge_whose_network_is_gone_is_found_and_removed(host: Host) -> None:
    """As if whoever removed the network had been killed when its row was gone."""
    host("network", "create", "side")
    host.up("one", "--network", "side")
    (bridge,) = (name for name in host.links() if not name.startswith("v"))
    host.kill_agent()
    db = sqlite3.connect(f"{host.root}/state.db", isolation_level=None)
    db.execute("DELETE FROM endpoints")
    db.execute("DELETE FROM networks WHERE name = 'side'")
    db.close()
    assert bridge in host.links()
    assert f"bridge {bridge}: its network is gone" in host("system", "check", code=1).stdout
    host("system", "check", "--repair")
    assert bridge not in host.links()
    assert host.out("system", "check") == SOUND
