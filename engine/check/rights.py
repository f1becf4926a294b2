"""What this process may do: capabilities, limits, seccomp, keys.

Source: capabilities(7), getrlimit(2), seccomp(2), session-keyring(7).
"""

from __future__ import annotations

import os
import struct

from engine.check.child import Refused, in_child
from engine.check.probe import Limited, Place, Probe
from kernel import process
from runtime import capabilities, seccomp, seccomp_default

# Without these a start fails: namespaces and mounts, devices, owners, users, the loopback device.
_NEEDED = tuple(
    f"CAP_{name}"
    for name in "CHOWN DAC_OVERRIDE FOWNER KILL MKNOD NET_ADMIN SETGID SETPCAP SETUID SYS_ADMIN"
    " SYS_CHROOT".split()
)
_ALLOW_ALL = struct.pack("=HBBI", 0x06, 0, 0, 0x7FFF0000)  # BPF_RET | BPF_K, SECCOMP_RET_ALLOW


def probes(_place: Place) -> tuple[Probe, ...]:
    """The user, the capabilities, and what only some of them allow."""
    return (
        Probe("root", lambda _place: _root(), "no containers: use sudo", True),
        Probe("own capabilities", lambda _place: _own(),
              "no containers: run pyctr with the capabilities of root", True),
        Probe("capabilities to give", lambda _place: _grantable(),
              "--privileged and --cap-add cannot give what is not in pyctr's own bounding set"),
        Probe("higher limits", lambda _place: in_child(_raised),
              "--ulimit cannot go above the limits of pyctr itself: CAP_SYS_RESOURCE is missing"),
        Probe("lower oom_score_adj", lambda _place: in_child(_protected),
              "--oom-score-adj cannot go down: CAP_SYS_RESOURCE is missing"),
        Probe("seccomp", lambda _place: in_child(_filtered),
              "containers start with --security-opt seccomp=unconfined only: the kernel needs"
              " CONFIG_SECCOMP_FILTER", True),
        Probe("libseccomp", lambda _place: _compiled(),
              "containers start with --security-opt seccomp=unconfined only:"
              " apt-get install libseccomp2", True),
        Probe("session keyring", lambda _place: in_child(_keyring),
              "containers have no keys (keyctl), and the host's are not protected by a keyring"
              " of their own", lesser=True),
        Probe("pidfd", lambda _place: in_child(_pidfd), "no stop and no exec: it needs Linux 5.3",
              True),
    )  # fmt: skip


def _root() -> str:
    if os.geteuid():
        raise Refused(f"pyctr runs as user {os.geteuid()}")
    return ""


def _names(mask: int) -> list[str]:
    return [name for number, name in enumerate(capabilities.NAMES) if mask >> number & 1]


def _own() -> str:
    effective = _names(process.capget()[0])
    missing = [name for name in _NEEDED if name not in effective]
    if missing:
        raise Refused(f"without {', '.join(missing)}")
    return f"{len(effective)} of {len(capabilities.NAMES)}"


def _grantable() -> str:
    bounding = _names(capabilities.own_bounding())
    missing = [name for name in capabilities.NAMES if name not in bounding]
    if missing:
        raise Limited(f"all but {', '.join(missing)}")
    return "all"


def _raised() -> str:
    import resource

    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    try:
        resource.setrlimit(resource.RLIMIT_CORE, (1, 1))
    except ValueError:  # what Python makes of EPERM
        limit = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
        raise Refused(f"a hard limit cannot be raised (nofile: {limit})") from None
    return ""


def _protected() -> str:
    path = "/proc/self/oom_score_adj"
    with open(path) as file:
        now = int(file.read())
    with open(path, "w") as file:
        file.write(str(max(now - 1, -1000)))
    return ""


def _filtered() -> str:
    process.set_no_new_privs()
    process.seccomp_load(_ALLOW_ALL)
    return ""


def _compiled() -> str:
    profile = seccomp_default.profile(capabilities.DEFAULT, os.uname().machine)
    return f"the default profile has {len(seccomp.compile_filter(profile)) // 8} instructions"


def _keyring() -> str:
    process.join_session_keyring("pyctr-check")
    return ""


def _pidfd() -> str:
    import _signal

    _signal.pidfd_send_signal(process.pidfd_open(os.getpid()), 0)
    return ""
