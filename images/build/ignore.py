""".dockerignore: which files of a context are not there for the build.

One pattern a line, relative to the context's root, with or without a slash before it; a line that
begins with # is a comment. A pattern is about the file or folder that it matches and all below it;
``!`` before it makes an exception. The last line that matches decides.

Source: Docker's "Build context", .dockerignore files.
"""

from __future__ import annotations

import posixpath

from images.build.errors import BuildError
from images.build.globs import Glob, compiled

TYPE_CHECKING = False
if TYPE_CHECKING:
    import re
    from collections.abc import Iterable

    Rule = tuple[bool, Glob]  # whether it is an exception, and of what


class Ignore:
    """What a list of patterns ignores. BuildError names a pattern that is malformed.

    ``where`` is the file or the flag that they come from.
    """

    def __init__(self, patterns: Iterable[str] = (), where: str = "") -> None:
        self.where = where
        self._rules = [rule for text in patterns if (rule := _rule(text, where)) is not None]
        self._tests: list[tuple[bool, re.Pattern[str]]] | None = None

    def __call__(self, path: str) -> bool:
        """Whether a file or folder, by its path relative to the root, is ignored."""
        if not self._rules:
            return False
        if self._tests is None:
            self._tests = _tests(self._rules)
        for exception, expression in self._tests:
            if expression.fullmatch(path):
                return not exception
        return False

    def __bool__(self) -> bool:
        return bool(self._rules)

    def may_keep(self, folder: str) -> bool:
        """Whether an ignored folder may hold something that is not ignored."""
        return any(exception and glob.may_reach(folder) for exception, glob in self._rules)


NOTHING = Ignore()


def parse(content: str, where: str) -> Ignore:
    """The content of a .dockerignore file."""
    lines = content.removeprefix("\ufeff").splitlines()
    return Ignore([line for line in lines if not line.startswith("#")], where)


def clean(pattern: str) -> str:
    """A pattern without ``.``, ``..``, doubled slashes and those at its ends, "" for the root.

    As Go's filepath.Clean it works by the letter; ``..`` above the root stays and matches nothing.
    """
    made = posixpath.normpath(pattern).lstrip("/")
    return "" if made == "." else made


def _rule(text: str, where: str) -> Rule | None:
    pattern = text.strip()
    exception = pattern.startswith("!")
    if exception:
        pattern = pattern[1:].strip()
        if not pattern:
            raise _malformed(text, where, "nothing follows the !")
    if not pattern or not clean(pattern):
        return None  # an empty line; and nobody means to ignore everything with a dot
    try:
        return exception, Glob(clean(pattern))
    except ValueError as error:
        raise _malformed(text, where, str(error)) from None


def _malformed(text: str, where: str, why: str) -> BuildError:
    return BuildError(f"cannot read the pattern {text.strip()!r} of {where}", why)


def _tests(rules: list[Rule]) -> list[tuple[bool, re.Pattern[str]]]:
    """The last rule first; neighbours that say the same are one expression."""
    runs: list[tuple[bool, list[Glob]]] = []
    for exception, glob in reversed(rules):
        if runs and runs[-1][0] == exception:
            runs[-1][1].append(glob)
        else:
            runs.append((exception, [glob]))
    return [(exception, compiled(globs)) for exception, globs in runs]
