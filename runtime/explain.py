"""The plan as a story, while it happens, or as a shell script that does the same by hand."""

from __future__ import annotations

from kernel.errors import printable
from runtime.steps import (
    EnterNamespace,
    Execute,
    FindUser,
    Fork,
    MakeCgroup,
    Step,
    Unshare,
    namespace_flags,
    quote,
)

TYPE_CHECKING = False
if TYPE_CHECKING:
    from runtime.peers import Peer
    from runtime.plan import Plan


def line(index: int, total: int, step: Step, nanoseconds: int, *, colour: bool = False) -> str:
    """One performed step in two lines: number, what, call, time; why, and what to read."""
    dim, plain = ("\x1b[2m", "\x1b[0m") if colour else ("", "")
    took = f"{nanoseconds / 1e6:.2f} ms" if nanoseconds else "-"
    head = f"{index + 1:3}/{total}  {printable(step.title):<42} {took:>9}  {printable(step.call())}"
    return f"{head}\n{dim}        {step.why}  [{step.man}]{plain}"


def script(plan: Plan, before: tuple[str, ...] = (), after: str = "") -> str:
    """A shell script of unshare(1), mount(8) and friends that builds the same container.

    ``before`` are lines that make what the specification takes for granted, such as a network
    namespace, and ``after`` a command that takes it away again.
    It is run as root from any folder, needs util-linux, iproute2 and coreutils, and no pyctr.
    """
    outside = next(step for step in plan.steps if isinstance(step, MakeCgroup))
    fork = next(step for step in plan.steps if isinstance(step, Fork))
    kinds = [k for step in plan.steps if isinstance(step, Unshare) for k in step.kinds]
    options = " ".join(namespace_flags((*(("pid",) if fork.new_pid else ()), *kinds))[2])
    inside = [line for step in plan.inside for line in _commented(step)]
    body = "\n".join(["set -eu", *inside, _last(plan)])
    return "\n".join(
        [
            "#!/bin/sh",
            "# The same container by hand: run this as root, for an image that you trust:",
            "# mkdir(1) and mount(8) follow the links in it, also to the host; pyctr does not.",
            "set -eu",
            "ROOT=$(mktemp -d)",
            "export ROOT",
            "# The folder stays empty on the host: the mounts below are the container's alone.",
            f"trap 'rmdir \"$ROOT\"{f'; {after}' if after else ''}' EXIT",
            "",
            *before,
            f"# {outside.title}: {outside.why} [{outside.man}]",
            "(",
            *outside.shell(),
            "",
            f"# {namespace_flags(tuple(kinds))[1]}: new namespaces,",
            "# then a fork, into the new pid namespace if there is one [unshare(1), namespaces(7)]",
            *_joins(plan, fork),
            f"unshare {options} --fork --kill-child --propagation slave \\",
            f"    -- /bin/sh -c {quote(body)}",
            ")",
            "",
        ]
    )


def _joins(plan: Plan, fork: Fork) -> list[str]:
    """nsenter(1) for each container from which namespaces are taken, each running the next."""
    taken: dict[Peer, list[str]] = {fork.peer: ["pid"]} if fork.peer else {}
    for step in plan.inside:
        if type(step).__name__ == "JoinNamespaces":
            taken.setdefault(step.peer, []).extend(step.kinds)  # type: ignore[attr-defined]
    entered = [step for step in plan.inside if isinstance(step, EnterNamespace)]
    lines = [f"# process {peer.pid} is that of {peer.name} now [nsenter(1)]" for peer in taken]
    for peer, kinds in taken.items():
        options = " ".join(namespace_flags(tuple(kinds))[2])
        lines.append(f"nsenter --target {peer.pid} {options} -- \\")
    for step in entered:
        lines.append(f"nsenter {namespace_flags((step.kind,))[2][0]}={quote(step.path)} -- \\")
    return lines


def _commented(step: Step) -> list[str]:
    lines = step.shell()
    comment = f"# {printable(step.title)}: {step.why} [{step.man}]"
    return ["", comment, *lines] if lines else []


def _last(plan: Plan) -> str:
    """setpriv(1) and chroot(1), which give up rights and enter, then env(1) with the program."""
    from runtime.steps import BecomeUser, ChangeDirectory, DropBounding, NoNewPrivileges

    program = next(step for step in plan.inside if isinstance(step, Execute))
    bounding = next(step for step in plan.inside if isinstance(step, DropBounding)).wanted
    folder = next(step for step in plan.inside if isinstance(step, ChangeDirectory)).path
    sets = next(step for step in plan.inside if isinstance(step, BecomeUser)).sets
    user = next((step.wanted for step in plan.inside if isinstance(step, FindUser)), "")
    named = user not in ("", "root", "0")
    needed = ["CAP_SYS_CHROOT", *(("CAP_SETUID", "CAP_SETGID") if named else ())]
    extra = [name for name in needed if name not in bounding]
    kept = [name.removeprefix("CAP_").lower() for name in (*bounding, *extra)]
    keep = ",".join(["-all", *(f"+{name}" for name in kept)])
    confined = any(isinstance(step, NoNewPrivileges) for step in plan.inside)
    words = ["setpriv", f"--bounding-set={keep}", "--inh-caps=-all"]
    words += ["--no-new-privs"] if confined else []
    words += ["chroot", *([f"--userspec={user}"] if named else []), "."]
    variables = [entry for entry in program.env if not entry.startswith("HOME=")]
    home = next((entry for entry in program.env if entry.startswith("HOME=")), "HOME=/root")
    words += ["/bin/sh", "-c", f'cd {quote(folder)} && exec "$@"', "sh"]
    words += ["env", "-i", home, *variables, *program.argv]
    why = f"give up all but {len(dict(sets).get('bounding', bounding))} capabilities and enter"
    more = f"\n# {', '.join(extra)}: kept only because chroot(1) comes last here" if extra else ""
    last = " ".join(quote(word) for word in words)
    return f"\n# {why} [setpriv(1), chroot(1)]{more}\nexec {last}"
