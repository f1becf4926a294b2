"""The parts of the firewall's commands, as libnftables reads them in JSON.

Source: libnftables-json(5).
"""

from __future__ import annotations

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

FAMILY = "inet"


def meta(key: str) -> dict[str, Any]:
    """What the kernel knows of a packet beside its content: iifname, oifname, l4proto."""
    return {"meta": {"key": key}}


def is_(key: str, right: Any, operator: str = "==") -> dict[str, Any]:
    """``meta key`` is, or is not, something."""
    return match(meta(key), right, operator)


def match(left: Any, right: Any, operator: str = "==") -> dict[str, Any]:
    """The rule goes on only if the two sides compare so."""
    return {"match": {"op": operator, "left": left, "right": right}}


def prefix(subnet: str) -> dict[str, Any]:
    """A subnet such as 10.1.0.0/24, to compare an address with."""
    address, _, bits = subnet.partition("/")
    return {"prefix": {"addr": address, "len": int(bits)}}


def set_(table: str, name: str, kind: str | list[str], elements: list[Any]) -> dict[str, Any]:
    """Adds a set, with its elements."""
    made: dict[str, Any] = {"family": FAMILY, "table": table, "name": name, "type": kind}
    return {"add": {"set": made | ({"elem": elements} if elements else {})}}


def chain(table: str, name: str, kind: str, hook: str, priority: int) -> dict[str, Any]:
    """Adds a chain that the kernel calls at a hook."""
    return {
        "add": {
            "chain": {
                "family": FAMILY, "table": table, "name": name, "type": kind, "hook": hook,
                "prio": priority, "policy": "accept",
            }
        }
    }  # fmt: skip


def rule(table: str, chain: str, *words: dict[str, Any]) -> dict[str, Any]:
    """Adds a rule to the end of a chain."""
    made = {"family": FAMILY, "table": table, "chain": chain, "expr": list(words)}
    return {"add": {"rule": made}}
