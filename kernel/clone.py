"""clone3(2) the way fork(2) does it: no new stack, and an interpreter that knows of its new child.

What it gives beyond fork(2): the child is in a control group of version 2 from its first moment.
Moving it there later makes the kernel wait until no processor is in the middle of a fork (an RCU
grace period, 5 to 15 milliseconds); a child that is born there is moved by nobody.

The C library's own handlers do not run: the caller has one thread, whose locks are free.

Source: clone(2), "CLONE_INTO_CGROUP"; docs.python.org, c-api/sys, PyOS_BeforeFork.
"""

from __future__ import annotations

import os
import struct

from kernel.signals import SIGCHLD

CLONE_INTO_CGROUP = 0x200000000
_NR_CLONE3 = 435
# struct clone_args, linux/sched.h: flags, pidfd, child_tid, parent_tid, exit_signal, stack,
# stack_size, tls, set_tid, set_tid_size, cgroup.
_CLONE_ARGS = struct.Struct("11Q")


def clone3(flags: int = 0, cgroup: str = "") -> int:
    """A child, as fork(2): its pid, and 0 in the child. The caller has one thread.

    ``flags`` are CLONE_NEW*, ``cgroup`` is the folder of a control group of version 2, "" for that
    of the caller. Since Linux 5.7. OSError.
    """
    if not cgroup:
        return _fork(_CLONE_ARGS.pack(flags, 0, 0, 0, SIGCHLD, 0, 0, 0, 0, 0, 0), cgroup)
    folder = os.open(cgroup, os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        flags |= CLONE_INTO_CGROUP
        return _fork(_CLONE_ARGS.pack(flags, 0, 0, 0, SIGCHLD, 0, 0, 0, 0, 0, folder), cgroup)
    finally:
        os.close(folder)


def _fork(args: bytes, path: str) -> int:
    from kernel.foreign import Long, Pointer, function, get_errno

    call = function("syscall", Long, (Long, Pointer, Long), locked=True)
    before, in_child, in_parent = (
        function(f"PyOS_{name}", None, locked=True)
        for name in ("BeforeFork", "AfterFork_Child", "AfterFork_Parent")
    )
    before()
    pid = call(_NR_CLONE3, args, len(args))
    if pid == 0:
        in_child()
        return 0
    code = get_errno()
    in_parent()
    if pid < 0:
        raise OSError(code, f"clone3: {os.strerror(code)}", path or None)
    return int(pid)
