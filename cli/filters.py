"""``--filter key=value``, by Docker's rules.

The same key twice means or, different keys mean and. Labels are the exception: an object must have
all of them; and with ``label!`` it goes unless it has all of them.
"""

from __future__ import annotations

from cli.errors import UsageError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from typing import Any

    Test = Callable[[Any, str], bool]

_ALL_OF_THEM = ("label",)
_UNLESS_ALL = ("label!",)


def combined(
    pairs: list[tuple[str, str]],
    tests: Mapping[str, Test],
    refused: Mapping[str, str] | None = None,
) -> Callable[[Any], bool]:
    """A function that says whether an object fits. UsageError for a filter that is not known.

    ``refused`` are filters that Docker has and pyctr has not, and why.
    """
    by_key: dict[str, list[str]] = {}
    for key, wanted in pairs:
        if refused and key in refused:
            raise UsageError(f"the filter {key} is not supported", refused[key])
        if key not in tests:
            raise UsageError(f"invalid filter {key!r}", f"there are {', '.join(sorted(tests))}")
        by_key.setdefault(key, []).append(wanted)

    def fits(one: Any) -> bool:
        for key, values in by_key.items():
            found = (tests[key](one, wanted) for wanted in values)
            if key in _UNLESS_ALL:
                if all(found):
                    return False
            elif not (all if key in _ALL_OF_THEM else any)(found):
                return False
        return True

    return fits


def label(labels: Mapping[str, str], wanted: str) -> bool:
    """``key`` or ``key=value``."""
    key, sign, value = wanted.partition("=")
    return key in labels and (not sign or labels[key] == value)


def boolean(word: str) -> bool:
    """true or false of a filter."""
    if word.lower() in ("true", "1"):
        return True
    if word.lower() in ("false", "0"):
        return False
    raise UsageError(f"invalid filter value {word!r}", "it is true or false")


def pattern(key: str, wanted: str) -> Callable[[str], bool]:
    """Whether a text holds what a regular expression describes, as Docker looks for names."""
    if not set(wanted) & set("\\^$.|?*+()[]{}"):
        return lambda text: wanted in text
    import re

    try:
        compiled = re.compile(wanted)
    except re.error as error:
        raise UsageError(
            f"invalid filter {key}={wanted}", f"it is not a regular expression: {error}"
        ) from None
    return lambda text: compiled.search(text) is not None


def path_pattern(key: str, wanted: str) -> Callable[[str], bool]:
    """Whether a text is what a pattern of Go's path.Match says: ``*`` and ``?`` stop at a slash."""
    import re

    made, rest = "", wanted
    while rest:
        char, rest = rest[0], rest[1:]
        if char == "[":
            inside, closed, after = rest.partition("]")
            if not closed or not inside.strip("^"):
                raise UsageError(f"invalid filter {key}={wanted}", "a bracket is not closed")
            negated = "^" if inside.startswith("^") else ""
            letters = re.escape(inside.removeprefix("^")).replace("\\-", "-")
            made, rest = f"{made}(?!/)[{negated}{letters}]", after
        elif char == "\\" and rest:
            made, rest = made + re.escape(rest[0]), rest[1:]
        else:
            made += {"*": "[^/]*", "?": "[^/]"}.get(char, re.escape(char))
    try:
        compiled = re.compile(made)
    except re.error as error:
        raise UsageError(f"invalid filter {key}={wanted}", str(error)) from None
    return lambda text: compiled.fullmatch(text) is not None


def pruning(
    pairs: list[tuple[str, str]],
    labels: Callable[[Any], Mapping[str, str]],
    created: Callable[[Any], float] | None = None,
) -> Callable[[Any], bool]:
    """The filters of all prune commands: label, label! and, with ``created`` (unix time), until."""
    tests: dict[str, Test] = {
        "label": lambda one, wanted: label(labels(one), wanted),
        "label!": lambda one, wanted: label(labels(one), wanted),
    }
    until = [wanted for key, wanted in pairs if key == "until"]
    if created is not None:
        if len(until) > 1:
            raise UsageError("the filter until can be given once", "the moments would contradict")
        before = moment(until[0]) if until else 0.0
        tests["until"] = lambda one, _wanted: created(one) < before
    return combined(pairs, tests)


def moment(text: str) -> float:
    """The unix time that ``until`` means."""
    from cli import moments

    try:
        return moments.read(text) / 10**9
    except ValueError as error:
        raise UsageError(f"invalid filter until={text}", str(error)) from None
