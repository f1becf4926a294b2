"""Starts and stops at once, while commands, monitors and the agent are killed: nothing is left."""

from __future__ import annotations

import os
import random
import signal
import subprocess
import threading
import time

from tests.network.conftest import Host, eventually

ROUNDS, HANDS = 200, 4


def _hand(host: Host, number: int, rounds: int, failures: list[str]) -> None:
    """Starts and ends one container again and again; killing it is part of it."""
    chance = random.Random(number)
    name = f"c{number}"
    for _ in range(rounds):
        running = subprocess.Popen(
            host.argv("run", "-d", "--name", name, "base", "sleep", "3600"),
            stdout=subprocess.DEVNULL, stderr=subprocess.PIPE,
        )  # fmt: skip
        if chance.random() < 0.2:
            time.sleep(chance.random() * 0.3)
            running.send_signal(signal.SIGKILL)
        said = running.communicate(timeout=120)[1].decode()
        if running.returncode not in (0, -signal.SIGKILL) and "agent died" not in said:
            failures.append(f"{running.returncode}: {said}")
        if chance.random() < 0.2:
            monitor = _monitor(host, name)
            if monitor:
                _kill(monitor)
        host("rm", "-f", name, code=None)


def _monitor(host: Host, name: str) -> int:
    shown = host("inspect", "--format", "{{.State.Pid}}", name, code=None).stdout.strip()
    try:
        with open(f"/proc/{int(shown or 0)}/stat") as stat:
            return int(stat.read().rpartition(")")[2].split()[1]) if shown != "0" else 0
    except (FileNotFoundError, ProcessLookupError):
        return 0


def _kill(pid: int) -> bool:
    """Kills a monitor or the agent, unless it is something else by now; whether it did."""
    try:
        with open(f"/proc/{pid}/comm") as comm:
            if not comm.read().startswith("pyctr"):
                return False
        os.kill(pid, signal.SIGKILL)
    except (FileNotFoundError, ProcessLookupError):
        return False
    return True


def test_nothing_is_left_of_two_hundred_starts_and_stops_with_kills(host: Host) -> None:
    host.up("witness")
    failures: list[str] = []
    hands = [
        threading.Thread(target=_hand, args=(host, number, ROUNDS // HANDS, failures))
        for number in range(HANDS)
    ]
    for hand in hands:
        hand.start()
    chance = random.Random(0)
    kills = 0
    while any(hand.is_alive() for hand in hands):
        time.sleep(chance.random() * 3)
        kills += _kill(host.agent())
    for hand in hands:
        hand.join()
    assert not failures, failures[:3]
    assert kills, "the agent was killed as well"
    host("ps", "-a")
    left = host.out("ps", "-aq", "--no-trunc").split()
    assert len(left) == 1, "the witness"
    host.up("last")
    assert host.address("last") == "172.17.0.3", "every other address is free again"
    assert host.reaches("last", host.address("witness"))
    eventually(lambda: len(host.links()) == 3)  # the bridge, and a veth for each of two
