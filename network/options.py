"""The options of the bridge driver (`network create --opt`) that pyctr has; no other is taken.

Source: Docker's "Bridge network driver", Options.
"""

from __future__ import annotations

from network.errors import NetworkError

BRIDGE_NAME = "com.docker.network.bridge.name"
MASQUERADE = "com.docker.network.bridge.enable_ip_masquerade"
ICC = "com.docker.network.bridge.enable_icc"
HOST_BINDING = "com.docker.network.bridge.host_binding_ipv4"
MTU = "com.docker.network.driver.mtu"
PREFIX = "com.docker.network.container_iface_prefix"

_LETTERS = frozenset("abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_.-")
_TRUE = ("1", "t", "T", "true", "TRUE", "True")
_FALSE = ("0", "f", "F", "false", "FALSE", "False")


def checked(given: dict[str, str]) -> dict[str, str]:
    """The options, yes and no as ``true`` and ``false``. NetworkError names what is wrong."""
    made = {}
    for name, word in given.items():
        made[name] = _checked(name, word)
    return made


def _checked(name: str, word: str) -> str:
    if name in (MASQUERADE, ICC):
        if word not in (*_TRUE, *_FALSE):
            raise _wrong(name, word, "it is true or false")
        return "true" if word in _TRUE else "false"
    if name == MTU:
        if not (word.isascii() and word.isdigit() and 68 <= int(word) <= 65535):
            raise _wrong(name, word, "it is a number of bytes from 68 to 65535")
        return word
    if name == BRIDGE_NAME:
        return _interface(name, word, 15)
    if name == PREFIX:  # the number comes behind it
        return _interface(name, word, 12)
    if name == HOST_BINDING:
        from network import subnets

        try:
            subnets.number(word)
        except ValueError as error:
            raise _wrong(name, word, str(error)) from None
        if subnets.is_v6(word):
            raise _wrong(name, word, "it is an IPv4 address of this host")
        return word
    raise NetworkError(f"the option {name} is not supported", "the bridge driver has none of it")


def _interface(name: str, word: str, longest: int) -> str:
    if not 0 < len(word) <= longest or not set(word) <= _LETTERS or word in (".", ".."):
        raise _wrong(name, word, f"it has at most {longest} letters, digits, dots and dashes")
    return word


def check_endpoint(name: str) -> None:
    """NetworkError: endpoints have no options."""
    raise NetworkError(f"the option {name} is not supported", "endpoints have no options here")


def is_on(options: dict[str, str], name: str) -> bool:
    """Whether an option that is true by default is not false."""
    return options.get(name) != "false"


def _wrong(name: str, word: str, why: str) -> NetworkError:
    return NetworkError(f"invalid option {name}={word}", why)
