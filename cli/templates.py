"""``--format``: the part of Go's templates that people use with Docker.

Fields (``{{.State.Status}}``, ``{{.}}``), ``json``, ``join``, ``index``, ``len``, ``upper``,
``lower``, ``println``, ``eq``, ``ne``, ``not``, ``and``, ``or``, ``range`` (also with ``$key,
$value :=``), ``with``, ``if`` and ``else``. Everything else is refused by name. A field that is not
there is an error, as a typo would be.

Source: the documentation of Go's text/template; Docker's "Format command and log output".
"""

from __future__ import annotations

from cli.errors import UsageError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any

    Scope = dict[str, Any]
    Node = Callable[[Any, Scope], str]


def render(template: str, value: Any) -> str:
    """The text of a template for one value. UsageError for what the template may not say."""
    return compile_template(template)(value)


def compile_template(template: str) -> Callable[[Any], str]:
    """A function from a value to its text."""
    if template == "json":
        template = "{{json .}}"
    parser = _Parser(_pieces(template.replace("\\t", "\t").replace("\\n", "\n")), template)
    node = parser.block()
    return lambda value: node(value, {"$": value})


def _pieces(template: str) -> list[tuple[bool, str]]:
    """(is an action, text) in order; ``{{-`` and ``-}}`` trim the text beside them."""
    pieces: list[tuple[bool, str]] = []
    rest = template
    while rest:
        text, opened, rest = rest.partition("{{")
        trim = False
        if opened:
            action, closed, rest = rest.partition("}}")
            if not closed:
                raise _invalid(template, "an action is not closed by }}")
            if action.startswith("- "):
                action, text = action[1:], text.rstrip()
            if action.endswith(" -"):
                action, trim = action[:-1], True
        pieces.append((False, text))
        if opened:
            pieces.append((True, action.strip()))
        if trim:
            rest = rest.lstrip()
    return pieces


def _invalid(template: str, why: str) -> UsageError:
    return UsageError(f"invalid format {template!r}", why, "for example --format '{{.Names}}'")


class _Parser:
    """Turns pieces into nodes; a node makes text from the value (the dot) and the variables."""

    def __init__(self, pieces: list[tuple[bool, str]], template: str) -> None:
        self._pieces = pieces
        self._template = template
        self._ended_by = ""

    def block(self, inside: bool = False) -> Node:
        nodes: list[Node] = []
        while self._pieces:
            is_action, text = self._pieces.pop(0)
            if not is_action:
                nodes.append(_text(text))
                continue
            word = text.split(None, 1)[0] if text else ""
            if word in ("end", "else"):
                if not inside:
                    raise _invalid(self._template, f"unexpected {word}")
                self._ended_by = text
                return _all(nodes)
            if word in ("range", "if", "with"):
                nodes.append(self._control(word, text[len(word) :].strip()))
            elif not text.startswith("/*"):
                nodes.append(self._shown(text))
        if inside:
            raise _invalid(self._template, "an end is missing")
        return _all(nodes)

    def _shown(self, text: str) -> Node:
        expression = _Expression(text, self._template).whole()
        return lambda dot, scope: _show(expression(dot, scope))

    def _control(self, word: str, text: str) -> Node:
        names, sign, source = text.partition(":=")
        variables = [name.strip() for name in names.split(",")] if sign else []
        expression = _Expression(source if sign else text, self._template).whole()
        body = self.block(inside=True)
        otherwise: Node = _text("")
        if self._ended_by != "end":
            following = self._ended_by[len("else") :].strip()
            if following.startswith("if "):
                otherwise = self._control("if", following[3:])
            else:
                otherwise = self.block(inside=True)
        if word == "range":
            return _range(expression, variables, body, otherwise)

        def choose(dot: Any, scope: Scope) -> str:
            value = expression(dot, scope)
            if not value:
                return otherwise(dot, scope)
            return body(value if word == "with" else dot, scope)

        return choose


def _range(expression: Any, variables: list[str], body: Node, otherwise: Node) -> Node:
    def loop(dot: Any, scope: Scope) -> str:
        value = expression(dot, scope)
        items = sorted(value.items()) if isinstance(value, dict) else list(enumerate(value or ()))
        made = []
        for key, item in items:
            inner = dict(scope)
            if variables:
                inner[variables[-1]] = item
                inner[variables[0]] = key if len(variables) > 1 else item
            made.append(body(item, inner))
        return "".join(made) if items else otherwise(dot, scope)

    return loop


class _Expression:
    """One pipeline: ``function argument ... | function``; arguments may be in parentheses."""

    def __init__(self, text: str, template: str) -> None:
        self._template = template
        self._tokens = _tokens(text, template)

    def whole(self) -> Callable[[Any, Scope], Any]:
        made = self._pipeline()
        if self._tokens:
            raise _invalid(self._template, f"unexpected {self._tokens[0]!r}")
        return made

    def _pipeline(self) -> Callable[[Any, Scope], Any]:
        made = self._call(None)
        while self._tokens and self._tokens[0] == "|":
            self._tokens.pop(0)
            made = self._call(made)
        return made

    def _call(self, piped: Callable[[Any, Scope], Any] | None) -> Callable[[Any, Scope], Any]:
        if not self._tokens:
            raise _invalid(self._template, "an action is empty")
        name = self._tokens[0]
        if name in _FUNCTIONS:
            self._tokens.pop(0)
            arguments = []
            while self._tokens and self._tokens[0] != "|" and self._tokens[0][0] != ")":
                arguments.append(self._operand())
            arguments += [piped] if piped else []
            return self._apply(name, arguments)
        if piped is not None:
            raise _invalid(self._template, f"{name} is not a function")
        return self._operand()

    def _apply(
        self, name: str, arguments: list[Callable[[Any, Scope], Any]]
    ) -> Callable[[Any, Scope], Any]:
        function = _FUNCTIONS[name]
        template = self._template

        def called(dot: Any, scope: Scope) -> Any:
            try:
                return function(*(argument(dot, scope) for argument in arguments))
            except (TypeError, ValueError, LookupError, AttributeError) as error:
                raise _invalid(template, f"{name}: {error}") from None

        return called

    def _operand(self) -> Callable[[Any, Scope], Any]:
        token = self._tokens.pop(0)
        if token == "(":
            made = self._pipeline()
            closing = self._tokens.pop(0) if self._tokens else ""
            if not closing.startswith(")"):
                raise _invalid(self._template, "a parenthesis is not closed")
            fields = self._path(closing[1:])
            return lambda dot, scope: fields(made(dot, scope), scope)
        if token[0] in "\"'`":
            return lambda _dot, _scope: token[1:-1]
        if token.lstrip("-").isdigit():
            return lambda _dot, _scope: int(token)
        if token in ("true", "false", "nil"):
            return lambda _dot, _scope: {"true": True, "false": False, "nil": None}[token]
        if token[0] in ".$":
            return self._path(token)
        raise _invalid(self._template, f"function {token!r} is not supported")

    def _path(self, token: str) -> Callable[[Any, Scope], Any]:
        start, *names = token.split(".")
        names = [name for name in names if name]
        template = self._template

        def walk(dot: Any, scope: Scope) -> Any:
            if start and start not in scope:
                raise _invalid(template, f"unknown variable {start}")
            value = scope[start] if start else dot
            for name in names:
                if not isinstance(value, dict) or name not in value:
                    raise _invalid(template, f"there is no field .{name}{_known(value)}")
                value = value[name]
            return value

        return walk


def _known(value: Any) -> str:
    return f"; there are {', '.join(value)}" if isinstance(value, dict) and value else ""


def _tokens(text: str, template: str) -> list[str]:
    tokens: list[str] = []
    at = 0
    while at < len(text):
        char = text[at]
        if char.isspace():
            at += 1
        elif char in "\"'`":
            end = text.find(char, at + 1)
            if end < 0:
                raise _invalid(template, "a string is not closed")
            tokens.append(text[at : end + 1])
            at = end + 1
        elif char in "()|":
            end = at + 1
            while char == ")" and end < len(text) and (text[end] == "." or text[end].isalnum()):
                end += 1  # a field of what stands in parentheses
            tokens.append(text[at:end])
            at = end
        else:
            end = at
            while end < len(text) and not text[end].isspace() and text[end] not in "()|\"'`":
                end += 1
            tokens.append(text[at:end])
            at = end
    return tokens


def _text(text: str) -> Node:
    return lambda _dot, _scope: text


def _all(nodes: list[Node]) -> Node:
    return lambda dot, scope: "".join(node(dot, scope) for node in nodes)


def _show(value: Any) -> str:
    if isinstance(value, bool):
        return "true" if value else "false"
    if value is None:
        return "<no value>"
    if isinstance(value, list):
        return f"[{' '.join(map(_show, value))}]"
    if isinstance(value, dict):
        return f"map[{' '.join(f'{key}:{_show(own)}' for key, own in sorted(value.items()))}]"
    return str(value)


def _json(value: Any) -> str:
    import json

    return json.dumps(value, separators=(",", ":"), ensure_ascii=False)


def _index(value: Any, *keys: Any) -> Any:
    for key in keys:
        value = value.get(key, "") if isinstance(value, dict) else value[key]
    return value


_FUNCTIONS: dict[str, Callable[..., Any]] = {
    "and": lambda *values: next((v for v in values if not v), values[-1]),
    "eq": lambda first, *others: first in others,
    "index": _index,
    "join": lambda words, by: by.join(map(_show, words)),
    "json": _json,
    "len": len,
    "lower": lambda text: _show(text).lower(),
    "ne": lambda one, other: one != other,
    "not": lambda value: not value,
    "or": lambda *values: next((v for v in values if v), values[-1]),
    "println": lambda *values: " ".join(map(_show, values)) + "\n",
    "upper": lambda text: _show(text).upper(),
}
