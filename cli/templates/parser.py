"""The tokens of a template into functions that write text for a value.

A writer takes the dot, the variables and the list of text that is made; an expression takes the
dot and the variables and returns a value. Everything that can be known without the value (unknown
functions, undeclared variables, blocks without an end) is refused here.
"""

from __future__ import annotations

from cli.templates.errors import FunctionError, failed, unreadable
from cli.templates.functions import FUNCTIONS, REFUSED
from cli.templates.lexer import Token, tokens
from cli.templates.scope import BreakLoop, ContinueLoop, Scope
from cli.templates.values import Row, is_true, show, type_name
from kernel.mapping import Map

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any

    Writer = Callable[[Any, Scope, list[str]], None]
    Expression = Callable[[Any, Scope], Any]

_DEEPEST = 60  # blocks and parentheses in each other: far from what Python's stack can take
_CONSTANTS = {"true": True, "false": False, "nil": None}
_BLOCKS = ("if", "range", "with")
_ELSEWHERE = ("define", "template", "block")


def compile_template(template: str) -> Callable[[Any], str]:
    """A function from a value to its text; ``json`` alone means ``{{json .}}``."""
    write = _Parser("{{json .}}" if template == "json" else template).whole()

    def rendered(value: Any) -> str:
        made: list[str] = []
        write(value, Scope(**{"$": value}), made)
        return "".join(made)

    return rendered


class _Parser:
    def __init__(self, template: str) -> None:
        self._template = template
        self._tokens = tokens(template)
        self._at = 0
        self._declared = ["$"]
        self._depth = 0
        self._loops = 0

    # -- tokens ----------------------------------------------------------------------------

    def _peek(self) -> Token:
        if self._at < len(self._tokens):
            return self._tokens[self._at]
        return Token("nothing", "EOF", len(self._template))

    def _next(self) -> Token:
        token = self._peek()
        self._at += 1
        return token

    def _wrong(self, token: Token, why: str) -> Exception:
        return unreadable(self._template, token.position, why)

    def _unexpected(self, token: Token, where: str) -> Exception:
        shown = "EOF" if token.kind == "nothing" else f'"{token.text}"'
        return self._wrong(token, f"unexpected {shown} in {where}")

    def _deeper(self, token: Token) -> None:
        self._depth += 1
        if self._depth > _DEEPEST:
            raise self._wrong(token, f"more than {_DEEPEST} blocks and parentheses in each other")

    def _piece(self, start: Token) -> str:
        """The text from a token to the last one that was read."""
        last = self._tokens[min(self._at, len(self._tokens)) - 1]
        return self._template[start.position : last.position + len(last.text)]

    # -- text and blocks -------------------------------------------------------------------

    def whole(self) -> Writer:
        """The whole template."""
        write, ended_by = self._block()
        if ended_by is not None:
            raise self._wrong(ended_by, f"unexpected {{{{{ended_by.text}}}}}")
        return write

    def _block(self) -> tuple[Writer, Token | None]:
        """What stands up to ``end``, ``else`` or the end of all, and which of these it was."""
        writers: list[Writer] = []
        declared = len(self._declared)
        while (token := self._peek()).kind != "nothing":
            self._next()
            if token.kind == "text":
                writers.append(_text(token.text))
                continue
            word = self._peek()
            if word.kind == "word" and word.text in ("end", "else"):
                del self._declared[declared:]
                return _all(writers), self._next()
            writers.append(self._action(word))
        del self._declared[declared:]
        return _all(writers), None

    def _action(self, word: Token) -> Writer:
        if word.kind == "word" and word.text in _BLOCKS:
            return self._control(self._next())
        if word.kind == "word" and word.text in ("break", "continue"):
            self._next()
            self._end_of_action()
            if not self._loops:
                raise self._wrong(word, f"{{{{{word.text}}}}} outside {{{{range}}}}")
            return _leave(BreakLoop if word.text == "break" else ContinueLoop)
        if word.kind == "word" and word.text in _ELSEWHERE:
            raise self._wrong(word, f'"{word.text}" is not supported')
        names, declares, expression = self._pipeline("command")
        self._end_of_action()
        if names:
            return _set(names[0], declares, expression)
        return lambda dot, scope, made: made.append(show(expression(dot, scope)))

    def _end_of_action(self) -> None:
        token = self._next()
        if token.kind != "end":
            raise self._unexpected(token, "command")

    def _control(self, word: Token) -> Writer:
        """``if``, ``range`` or ``with``, up to its end."""
        self._deeper(word)
        declared = len(self._declared)
        names, declares, expression = self._pipeline(word.text)
        self._end_of_action()
        is_range = word.text == "range"
        self._loops += is_range
        body, ended_by = self._block()
        self._loops -= is_range
        otherwise: Writer = _all([])
        if ended_by is not None and ended_by.text == "else":
            following = self._peek()
            if following.kind == "word" and following.text in ("if", "with") and not is_range:
                otherwise = self._control(self._next())  # its end is ours as well
            else:
                self._end_of_action()
                otherwise, ended_by = self._block()
                self._ended(ended_by)
        else:
            self._ended(ended_by)
        del self._declared[declared:]
        self._depth -= 1
        if is_range:
            return _range(names, declares, expression, body, otherwise, self._not_a_list(word))
        return _choice(word.text == "with", names, declares, expression, body, otherwise)

    def _ended(self, token: Token | None) -> None:
        if token is None:
            raise self._wrong(self._peek(), "unexpected EOF")
        if token.text != "end":
            raise self._wrong(token, f"expected end; found {{{{{token.text}}}}}")
        self._end_of_action()

    def _not_a_list(self, word: Token) -> Callable[[Any], Exception]:
        template, position, piece = self._template, word.position, word.text

        def refused(value: Any) -> Exception:
            return failed(template, position, piece, f"range can't iterate over {show(value)}")

        return refused

    # -- pipelines -------------------------------------------------------------------------

    def _pipeline(self, where: str) -> tuple[list[str], bool, Expression]:
        """(variables that take the value, whether they are declared here, the value)."""
        names, declares = self._variables(where)
        expression = self._piped(where)
        if declares:
            self._declared += names
        return names, declares, expression

    def _variables(self, where: str) -> tuple[list[str], bool]:
        """``$x :=``, ``$x =``, and in a range ``$i, $x :=``; none of these leaves all as it is."""
        before = self._at
        names = []
        while self._peek().kind == "variable":
            names.append(self._next())
            if self._peek().kind != ",":
                break
            if where != "range" or len(names) == 2:
                raise self._wrong(self._peek(), f"too many declarations in {where}")
            self._next()
        if not names or self._peek().kind != "assign":
            if len(names) > 1:
                raise self._unexpected(self._peek(), where)
            self._at = before
            return [], False
        declares = self._next().text == ":="
        for token in names:
            if not declares and token.text not in self._declared:
                raise self._wrong(token, f'undefined variable "{token.text}"')
        return [token.text for token in names], declares

    def _piped(self, where: str) -> Expression:
        """Commands parted by ``|``: each takes the value of the one before as its last argument."""
        made = self._command(None, where)
        while self._peek().kind == "|":
            self._next()
            made = self._command(made, where)
        return made

    def _command(self, piped: Expression | None, where: str) -> Expression:
        first = self._peek()
        if first.kind in ("end", "|", ")", "nothing"):
            raise self._wrong(first, f"missing value for {where}")
        if first.kind == "word" and first.text not in _CONSTANTS:
            return self._called(self._next(), piped, where)
        if first.kind == "word" and first.text == "nil":
            raise self._wrong(first, "nil is not a command")
        if first.kind in ("field", "variable", "dot", "("):
            return self._method(first, piped, where)
        operand = self._operand(where)
        if piped is not None:
            raise self._wrong(first, "non executable command in pipeline")
        if self._arguments(where):
            raise self._wrong(first, f"can't give argument to non-function {first.text}")
        return operand

    def _arguments(self, where: str) -> list[Expression]:
        made = []
        while self._peek().kind not in ("end", "|", ")", "nothing"):
            token = self._peek()
            if token.glued:
                raise self._unexpected(token, "operand")
            made.append(self._operand(where))
        return made

    def _called(self, word: Token, piped: Expression | None, where: str) -> Expression:
        """A function with its arguments."""
        self._check_function(word)
        arguments = self._arguments(where)
        arguments += [piped] if piped is not None else []
        return self._applied(word, arguments, self._piece(word))

    def _check_function(self, word: Token) -> None:
        if word.text in REFUSED:
            raise self._wrong(word, f'function "{word.text}" is not supported')
        if word.text not in FUNCTIONS and word.text not in ("and", "or"):
            raise self._wrong(word, f'function "{word.text}" not defined')

    def _applied(self, word: Token, arguments: list[Expression], piece: str) -> Expression:
        name, template = word.text, self._template
        if name in ("and", "or"):
            function, fewest, most = None, 1, -1
        else:
            function, fewest, most = FUNCTIONS[name]
        if len(arguments) < fewest or 0 <= most < len(arguments):
            wanted = fewest if fewest == most else f"at least {fewest}"
            raise failed(
                template, word.position, piece,
                f"wrong number of args for {name}: want {wanted} got {len(arguments)}",
            )  # fmt: skip
        if function is None:
            return _decided(arguments, until=name == "or")

        def called(dot: Any, scope: Scope) -> Any:
            values = [argument(dot, scope) for argument in arguments]
            try:
                return function(*values)
            except FunctionError as error:
                why = f"error calling {name}: {error}"
            except (ArithmeticError, LookupError, TypeError, ValueError) as error:
                why = f"error calling {name}: {error}"
            raise failed(template, word.position, piece, why)

        return called

    # -- operands --------------------------------------------------------------------------

    def _operand(self, where: str) -> Expression:
        """One value: a constant, a field, a variable, or what stands in parentheses."""
        token = self._peek()
        if token.kind == "constant":
            self._next()
            return lambda _dot, _scope: token.value
        if token.kind == "word" and token.text in _CONSTANTS:
            self._next()
            value = _CONSTANTS[token.text]
            return lambda _dot, _scope: value
        if token.kind == "word":
            self._next()
            self._check_function(token)
            return self._applied(token, [], token.text)
        if token.kind not in ("field", "variable", "dot", "("):
            raise self._unexpected(token, where)
        base, names, position = self._chain(where)
        return self._walk(base, names, position, self._piece(token))

    def _chain(self, where: str) -> tuple[Expression, list[str], int]:
        """(where it begins, the fields that follow, where an error in them is)."""
        token = self._next()
        names: list[str] = []
        base: Expression = _dot
        if token.kind == "field":
            names.append(token.text[1:])
        elif token.kind == "variable":
            base = self._variable(token)
        elif token.kind == "(":
            self._deeper(token)
            base = self._piped(where)
            closing = self._next()
            if closing.kind != ")":
                raise self._wrong(closing, "unclosed left paren")
            self._depth -= 1
        position = token.position
        if (following := self._peek()).kind == "field" and following.glued and token.kind != "dot":
            position = following.position
            while self._peek().kind == "field" and self._peek().glued:
                names.append(self._next().text[1:])
        return base, names, position

    def _variable(self, token: Token) -> Expression:
        name = token.text
        if name not in self._declared:
            raise self._wrong(token, f'undefined variable "{name}"')
        return lambda _dot, scope: scope.get(name)

    def _walk(self, base: Expression, names: list[str], position: int, piece: str) -> Expression:
        if not names:
            return base
        template = self._template

        def walk(dot: Any, scope: Scope) -> Any:
            value = base(dot, scope)
            for name in names:
                try:
                    value = _field(value, name)
                except FunctionError as error:
                    hint = f"there are {', '.join(known)}" if (known := _names(value)) else ""
                    raise failed(template, position, piece, str(error), hint) from None
            return value

        return walk

    def _method(self, first: Token, piped: Expression | None, where: str) -> Expression:
        """A field or variable; with arguments, the last field must be one that can be called."""
        base, names, position = self._chain(where)
        piece = self._piece(first)
        arguments = self._arguments(where)
        arguments += [piped] if piped is not None else []
        if not arguments:
            return self._walk(base, names, position, piece)
        name = names[-1] if names else first.text
        holder = self._walk(base, names[:-1], position, piece)
        template = self._template

        def called(dot: Any, scope: Scope) -> Any:
            value = holder(dot, scope) if names else None
            method = value.methods.get(name) if isinstance(value, Row) else None
            if method is None:
                why = f"{name} has arguments but cannot be invoked as function"
                raise failed(template, position, piece, why)
            try:
                return method(*(argument(dot, scope) for argument in arguments))
            except TypeError:
                why = f"wrong number or type of args for {name}"
            raise failed(template, position, piece, why)

        return called


# -- what the pieces do -----------------------------------------------------------------------


def _dot(dot: Any, _scope: Scope) -> Any:
    return dot


def _field(value: Any, name: str) -> Any:
    if isinstance(value, Row):
        if name in value.methods:
            raise FunctionError(f"wrong number of args for {name}: want 1 got 0")
        try:
            return value[name]
        except KeyError:
            pass
    elif isinstance(value, dict):
        if name in value or isinstance(value, Map):
            return value.get(name)
        raise FunctionError(f'map has no entry for key "{name}"')
    elif value is None:
        raise FunctionError(f"nil data; no entry for key {name!r}".replace("'", '"'))
    raise FunctionError(f"can't evaluate field {name} in type {type_name(value)}")


def _names(value: Any) -> list[str]:
    if isinstance(value, Row):
        return sorted([*value.names(), *value.methods])
    return [str(key) for key in value] if isinstance(value, dict) else []


def _text(text: str) -> Writer:
    return lambda _dot, _scope, made: made.append(text)


def _all(writers: list[Writer]) -> Writer:
    def write(dot: Any, scope: Scope, made: list[str]) -> None:
        for one in writers:
            one(dot, scope, made)

    return write


def _leave(signal: type[BreakLoop | ContinueLoop]) -> Writer:
    def write(_dot: Any, _scope: Scope, _made: list[str]) -> None:
        raise signal

    return write


def _set(name: str, declares: bool, expression: Expression) -> Writer:
    def write(dot: Any, scope: Scope, _made: list[str]) -> None:
        value = expression(dot, scope)
        (scope.declare if declares else scope.assign)(name, value)

    return write


def _decided(arguments: list[Expression], *, until: bool) -> Expression:
    """``or`` is the first true value, ``and`` the first that is not; else the last one."""

    def decide(dot: Any, scope: Scope) -> Any:
        value = None
        for argument in arguments:
            value = argument(dot, scope)
            if is_true(value) == until:
                return value
        return value

    return decide


def _choice(
    moves: bool,
    names: list[str],
    declares: bool,
    expression: Expression,
    body: Writer,
    otherwise: Writer,
) -> Writer:
    """``if``, and ``with`` where ``moves``: the value becomes the dot."""

    def write(dot: Any, scope: Scope, made: list[str]) -> None:
        inner = Scope(scope)
        value = expression(dot, inner)
        for name in names:
            (inner.declare if declares else inner.assign)(name, value)
        if is_true(value):
            body(value if moves else dot, inner, made)
        else:
            otherwise(dot, inner, made)

    return write


def _range(
    names: list[str],
    declares: bool,
    expression: Expression,
    body: Writer,
    otherwise: Writer,
    refused: Callable[[Any], Exception],
) -> Writer:
    def write(dot: Any, scope: Scope, made: list[str]) -> None:
        value = expression(dot, scope)
        if isinstance(value, dict):
            items = sorted(value.items())
        elif value is None or isinstance(value, list | tuple):
            items = list(enumerate(value or ()))
        else:
            raise refused(value)
        if not items:
            otherwise(dot, scope, made)
        for key, item in items:
            inner = Scope(scope)
            given = (item,) if len(names) < 2 else (key, item)
            for name, own in zip(names, given, strict=False):
                (inner.declare if declares else inner.assign)(name, own)
            try:
                body(item, inner, made)
            except ContinueLoop:
                continue
            except BreakLoop:
                break

    return write
