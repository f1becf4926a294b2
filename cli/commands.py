"""Which commands there are, and which module has each; a module is imported when it is needed."""

from __future__ import annotations

TYPE_CHECKING = False
if TYPE_CHECKING:
    from cli.options import Command

# noun -> verb -> summary.
NOUNS: dict[str, dict[str, str]] = {
    "container": {
        "attach": "Join the streams of a running container",
        "commit": "Make an image of a container's changes",
        "cp": "Copy files between a container and the host",
        "create": "Make a container without starting it",
        "diff": "Show what a container changed in its file system",
        "exec": "Run a command in a running container",
        "export": "Write a container's file system as a tar archive",
        "inspect": "Show everything about containers",
        "kill": "Send a signal to running containers",
        "logs": "Show what a container has written",
        "ls": "List containers",
        "pause": "Stop all processes of containers where they are",
        "port": "Show which ports of the host lead to a container",
        "prune": "Remove all containers that do not run",
        "rename": "Give a container another name",
        "restart": "Stop containers and start them again",
        "rm": "Remove containers",
        "run": "Make a container and start it",
        "start": "Start containers that do not run",
        "stats": "Show what running containers use, as it changes",
        "stop": "Stop running containers",
        "top": "Show the processes of a container",
        "unpause": "Let paused containers go on",
        "update": "Change the limits of containers",
        "wait": "Wait until containers end and print their exit codes",
    },
    "image": {
        "build": "Build an image from a Dockerfile",
        "history": "Show what made an image",
        "import": "Make an image of a root file system in a tar archive",
        "inspect": "Show everything about images",
        "load": "Bring in images from an archive",
        "ls": "List images",
        "prune": "Remove images that nobody uses",
        "pull": "Bring in an image from a registry",
        "push": "Send an image to a registry",
        "rm": "Remove images",
        "save": "Write images into an archive",
        "tag": "Give an image a further name",
    },
    "volume": {
        "create": "Make a volume",
        "inspect": "Show everything about volumes",
        "ls": "List volumes",
        "prune": "Remove anonymous volumes that no container has, and empty the trash",
        "restore": "Take a volume out of the trash",
        "rm": "Remove volumes",
    },
    "builder": {
        "build": "Build an image from a Dockerfile",
        "prune": "Remove what builds keep to be faster the next time",
    },
    "network": {
        "connect": "Put a container into a network",
        "create": "Make a network",
        "disconnect": "Take a container out of a network",
        "inspect": "Show everything about networks",
        "ls": "List networks",
        "prune": "Remove all networks that no container has",
        "rm": "Remove networks",
    },
    "registry": {
        "login": "Keep a name and a password for a registry",
        "logout": "Forget them",
    },
    "config": {
        "show": "Show how this host is configured, and where each value comes from",
    },
    "system": {
        "check": "Find what is damaged, lost or left over in what pyctr keeps, and mend it",
        "check-host": "Try what this host offers to containers, and say what is missing",
        "completion": "Print a completion script for a shell",
        "df": "Show how much of the disk is used, and for what",
        "events": "Show what happens to containers, images and volumes",
        "info": "Show facts about this host",
        "inspect": "Show everything about containers, images, volumes or networks",
        "install-service": "Start containers with the host",
        "prune": "Remove what nobody uses",
        "start-all": "Start the containers that start with the host",
        "stop-all": "Stop all containers",
        "uninstall-service": "Do not start containers with the host any more",
        "version": "Show the version",
    },
}

# A noun's commands are in cli.<noun>, but for these: module of verbs. Each has a tuple COMMANDS.
_MODULES = {
    "container": {
        "container.exec": "exec",
        "container.files": "commit cp diff export",
        "container.listing": "ls",
        "container.look": "inspect logs top",
        "container.port": "port",
        "container.run": "create run",
        "container.start": "attach start",
        "container.stats": "stats",
        "container.stop": "kill pause rename restart rm stop unpause wait",
        "container.update": "update",
        "prune": "prune",
    },
    "builder": {"build": "build", "prune": "prune"},
    "image": {
        "archives": "import load save",
        "build": "build",
        "history": "history",
        "listing": "ls",
        "prune": "prune",
        "transfer": "pull push",
    },
    "system": {
        "check": "check-host",
        "completion": "completion __complete",
        "disk": "df",
        "events": "events",
        "facts": "info version",
        "prune": "prune",
        "service": "install-service start-all stop-all uninstall-service",
        "verify": "check",
    },
    "network": {"prune": "prune"},
    "volume": {"prune": "prune"},
}

# What is typed without its noun, as with Docker.
SHORT: dict[str, tuple[str, str]] = {
    **{
        verb: ("container", verb)
        for verb in NOUNS["container"]
        if verb not in ("ls", "inspect", "prune")
    },
    "build": ("image", "build"),
    "ps": ("container", "ls"),
    "images": ("image", "ls"),
    "rmi": ("image", "rm"),
    "import": ("image", "import"),
    "history": ("image", "history"),
    "load": ("image", "load"),
    "login": ("registry", "login"),
    "logout": ("registry", "logout"),
    "pull": ("image", "pull"),
    "push": ("image", "push"),
    "save": ("image", "save"),
    "tag": ("image", "tag"),
    "check": ("system", "check-host"),
    "completion": ("system", "completion"),
    "events": ("system", "events"),
    "info": ("system", "info"),
    "inspect": ("system", "inspect"),
    "version": ("system", "version"),
    "__complete": ("system", "__complete"),  # what completion scripts ask; help does not show it
}

# Commands that Docker has: whoever types them is told why pyctr does not.
REFUSED: dict[str, str] = {
    "search": "only Docker Hub answers searches, and pyctr has no favourite registry",
}

_SYNONYMS = {"list": "ls", "ps": "ls", "remove": "rm"}


def find(words: list[str]) -> tuple[str, str, int]:
    """(noun, verb, how many words name the command); ("", "", 0) if there is no such command."""
    first = words[0] if words else ""
    if first in SHORT:
        return (*SHORT[first], 1)
    verbs = NOUNS.get(first)
    verb = _SYNONYMS.get(words[1], words[1]) if len(words) > 1 else ""
    if verbs is not None and verb in verbs:
        return first, verb, 2
    return "", "", 0


def refusal(words: list[str]) -> tuple[str, str]:
    """(the command of Docker's that the words mean, why pyctr does not have it), else two ""."""
    for name, why in REFUSED.items():
        noun, _, verb = name.partition(" ")
        short = verb if noun == "container" else name
        if words[:2] == [noun, verb] or words[:1] == [short]:
            return name, why
    return "", ""


def load(noun: str, verb: str) -> Command:
    """The command itself."""
    # importlib.import_module does the same, but importing it costs as much as three of our modules.
    module = __import__(f"cli.{_module(noun, verb)}", fromlist=["COMMANDS"])
    named = f"{noun} {verb}"
    found: Command = next(one for one in module.COMMANDS if named in (one.name, _named(noun, one)))
    return found


def _named(noun: str, command: Command) -> str:
    """The name of a command under its noun; its own name may be the short one."""
    return f"{noun} {command.verb or command.name}"


def _module(noun: str, verb: str) -> str:
    modules = _MODULES.get(noun, {})
    return next((name for name, verbs in modules.items() if verb in verbs.split()), noun)
