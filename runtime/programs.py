"""Why a program cannot be executed, said in words that help.

execve(2) answers with one errno for many causes: ENOENT stands for a missing program and for a
missing interpreter, ENOEXEC for a foreign machine and for a text without "#!". This module looks
at the file, after the failure, from inside the container's root.
"""

from __future__ import annotations

import errno
import os
import stat

from kernel.mounts import AT_FDCWD
from kernel.paths import RESOLVE_NO_MAGICLINKS, openat2
from runtime.errors import RuntimeFailure

_HEAD = 4096
_ELF_MACHINES = {
    3: "i386", 8: "mips", 20: "ppc", 21: "ppc64", 22: "s390x", 40: "arm", 62: "x86_64",
    183: "aarch64", 243: "riscv64", 258: "loongarch64",
}  # fmt: skip
_PT_INTERP = 3
_OWN_MACHINE = os.uname().machine


def candidates(program: str, search_path: str) -> list[str]:
    """The paths that execvp(3) would try: the program itself if it has a slash."""
    if "/" in program:
        return [program]
    return [f"{folder or '.'}/{program}" for folder in search_path.split(":")]


def execute(program: str, argv: list[str], env: dict[str, str]) -> RuntimeFailure:
    """Becomes the program, or says why not: returns only after a failure.

    The current root and working folder are the container's.
    """
    failure: tuple[str, OSError] | None = None
    for path in candidates(program, env.get("PATH", "")) if program else ():
        # As execvp(3): go on where the file is not, but remember a file that was refused.
        if not _may_be_there(path):
            continue
        try:
            refuse_magic_links(path)
            os.execve(path, argv, env)
        except OSError as error:
            failure = failure or (path, error)
            if error.errno not in (errno.EACCES, errno.ENOENT, errno.ENOTDIR):
                break
    if failure is None:
        where = "no such file or directory" if "/" in program else "not found in $PATH"
        return RuntimeFailure(
            f"cannot execute {program!r}",
            f"executable file {where}",
            "check the spelling, and that the image contains the program",
            exit_code=127,
        )
    return diagnose(*failure)


def refuse_magic_links(path: str) -> None:
    """RuntimeFailure if a program or its interpreter is a link such as /proc/self/exe.

    It would run the runtime's own interpreter, a file of the host, inside (CVE-2019-5736).
    """
    for at in (path, _interpreter(path)):
        if not at:
            continue
        try:
            os.close(openat2(AT_FDCWD, at, os.O_PATH, 0, RESOLVE_NO_MAGICLINKS))
        except OSError as error:
            if error.errno == errno.ELOOP and os.path.exists(at):
                raise RuntimeFailure(
                    f"cannot execute {path!r}", f"{at!r} leads out of the container", exit_code=126
                ) from None


def _interpreter(path: str) -> str:
    try:
        head = _read_head(path) if os.path.isfile(path) else b""
    except OSError:
        return ""
    words = head.split(b"\n", 1)[0][2:].split() if head.startswith(b"#!") else []
    return os.fsdecode(words[0]) if words else ""


def diagnose(path: str, error: OSError) -> RuntimeFailure:
    """What is the matter with a file that is there and that execve(2) refused."""
    why, hint, code = os.strerror(error.errno or 0).lower(), "", 126
    try:
        mode = os.stat(path).st_mode
        head = _read_head(path) if stat.S_ISREG(mode) else b""
    except OSError:
        return RuntimeFailure(f"cannot execute {path!r}", why, hint, path, error.errno or 0, 126)
    if stat.S_ISDIR(mode):
        why, hint = "it is a directory", "name a program"
    elif error.errno == errno.EACCES and not mode & 0o111:
        why, hint = "permission denied: it has no execute permission", f"chmod +x {path}"
    elif error.errno == errno.EACCES:
        hint = "the file, a folder above it, or its mount (noexec) forbids it to this user"
    elif head.startswith(b"#!"):
        why, hint = _about_script(head, why)
        code = 127 if error.errno == errno.ENOENT else 126
    elif head.startswith(b"\x7fELF"):
        why, hint = _about_elf(head, why)
        code = 127 if error.errno == errno.ENOENT else 126
    elif error.errno == errno.ENOEXEC:
        why = "exec format error: it is empty" if not head else "exec format error"
        hint = 'a script begins with a line such as "#!/bin/sh"'
    return RuntimeFailure(f"cannot execute {path!r}", why, hint, path, error.errno or 0, code)


def is_static(path: str) -> bool:
    """Whether a file is a program of this machine that needs no loader and no library."""
    head = _read_head(path)
    order = "little" if head[5:6] == b"\x01" else "big"
    machine = _ELF_MACHINES.get(int.from_bytes(head[18:20], order))  # type: ignore[arg-type]
    if not head.startswith(b"\x7fELF") or machine != _OWN_MACHINE:
        return False
    return not _elf_interpreter(head, order)


def _may_be_there(path: str) -> bool:
    """Whether nothing says that there is no such file; a folder may be closed to us."""
    try:
        os.lstat(path)
    except (FileNotFoundError, NotADirectoryError):
        return False
    except OSError:
        return True
    return True


def _read_head(path: str) -> bytes:
    fd = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_NOCTTY)
    try:
        return os.read(fd, _HEAD)
    finally:
        os.close(fd)


def _about_script(head: bytes, why: str) -> tuple[str, str]:
    line = head.split(b"\n", 1)[0]
    interpreter = os.fsdecode(line[2:].split()[0]) if line[2:].split() else ""
    if line.endswith(b"\r"):
        return (
            f"its first line names {interpreter!r} and ends in a carriage return (CRLF)",
            "save the script with Unix line ends: sed -i 's/\\r$//' FILE",
        )
    if not interpreter:
        return "its first line names no interpreter", 'write "#!/bin/sh" or the like'
    if not os.path.exists(interpreter):
        return (
            f"its interpreter {interpreter!r} is not in the image",
            "install the interpreter in the image, or change the script's first line",
        )
    return why, f"its interpreter is {interpreter!r}"


def _about_elf(head: bytes, why: str) -> tuple[str, str]:
    order = "little" if head[5:6] == b"\x01" else "big"
    machine = int.from_bytes(head[18:20], order)  # type: ignore[arg-type]
    name = _ELF_MACHINES.get(machine, f"machine {machine}")
    if name != _OWN_MACHINE and not (name == "i386" and _OWN_MACHINE == "x86_64"):
        return (
            f"exec format error: it is built for {name}, this host is {_OWN_MACHINE}",
            "use an image of this architecture",
        )
    loader = _elf_interpreter(head, order)
    if loader and not os.path.exists(loader):
        return (
            f"its loader {loader!r} is not in the image",
            "the program is linked against another C library; use a static one or its own image",
        )
    return why, ""


def _elf_interpreter(head: bytes, order: str) -> str:
    def field(offset: int, size: int) -> int:
        return int.from_bytes(head[offset : offset + size], order)  # type: ignore[arg-type]

    wide = head[4:5] == b"\x02"
    table, entry, count = (
        (field(32, 8), field(54, 2), field(56, 2))
        if wide
        else (field(28, 4), field(42, 2), field(44, 2))
    )
    for index in range(min(count, 64)):
        at = table + index * entry
        if field(at, 4) != _PT_INTERP:
            continue
        offset, size = (
            (field(at + 8, 8), field(at + 32, 8)) if wide else (field(at + 4, 4), field(at + 16, 4))
        )
        return head[offset : offset + size].rstrip(b"\0").decode(errors="replace")
    return ""
