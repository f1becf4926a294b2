"""What a new container and an exec have in common: a process becomes the program.

Pure, as :mod:`runtime.plan`: steps are made here and performed by the process itself.
"""

from __future__ import annotations

from runtime import seccomp, steps
from runtime.errors import RuntimeFailure

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any


def keyring(cgroup: str) -> str:
    """The name of the session keyring that a container's processes share."""
    return f"pyctr-{cgroup.rpartition('/')[2][:32]}"


def last_steps(
    process: dict[str, Any], profile: dict[str, Any] | None, cache: str, *, monitored: bool
) -> list[steps.Step]:
    """The last steps, which a new container and an exec share: rights, limits, filter, program."""
    sets = steps.to_sets(process)
    bounding = dict(sets).get("bounding", ())
    load = _seccomp(profile, bounding, cache)
    confined = bool(process.get("noNewPrivileges"))
    made: list[steps.Step] = [steps.ChangeDirectory(process.get("cwd") or "/")]
    made.append(steps.DropBounding(bounding))
    if not confined:
        made += load  # without no_new_privs the filter needs CAP_SYS_ADMIN, which goes next
    umask = (process.get("user") or {}).get("umask")
    made.append(steps.BecomeUser(sets, 0o022 if umask is None else umask))
    if monitored:  # after the change of user, which clears it
        made.append(steps.DieWithMonitor())
    if confined:
        made.append(steps.NoNewPrivileges())
    for limit in process.get("rlimits") or ():
        made.append(steps.SetLimit(limit["type"], limit["soft"], limit["hard"]))
    if confined:
        made += load
    if not process.get("args"):
        raise RuntimeFailure("no command was given", "the image names none either")
    made.append(steps.Execute(tuple(process["args"]), tuple(process.get("env") or ())))
    return made


def find_user(process: dict[str, Any]) -> steps.Step:
    """The step that finds ``process.user``."""
    user = process.get("user") or {}
    additional = tuple(str(gid) for gid in user.get("additionalGids") or ())
    wanted = user.get("username")
    if wanted is None:
        wanted = f"{user.get('uid', 0)}:{user.get('gid', 0)}"
    return steps.FindUser(wanted, additional)


def _seccomp(
    profile: dict[str, Any] | None, bounding: tuple[str, ...], cache: str
) -> list[steps.Step]:
    if not profile:
        return []
    if profile.get("defaultAction") == "default":  # our own word: Docker's profile
        return [steps.LoadSeccomp(seccomp.default_filter(cache, bounding))]
    flags = seccomp.flags(profile.get("flags") or ())
    return [steps.LoadSeccomp(seccomp.filter_of(cache, profile), flags)]
