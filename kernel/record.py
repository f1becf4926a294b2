"""Frozen records: what a frozen dataclass is, without its price.

Importing :mod:`dataclasses` costs more than starting the interpreter, and each decorated class
compiles source code; a command that lives for thirty milliseconds cannot afford either. Type
checkers see an ordinary frozen dataclass (PEP 681); at run time a record is a plain object whose
fields are read from the annotations of its class.
"""

from __future__ import annotations

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any, Self, dataclass_transform
else:

    def dataclass_transform(**_options):
        return lambda cls: cls


@dataclass_transform(frozen_default=True, eq_default=True)
class Record:
    """Base class of decided things: requests, plans, mounts, rows.

    Fields are the annotated names of the class, base classes first; a class attribute is the
    default. Instances compare and hash by value and cannot be changed: :meth:`replace` makes
    a changed copy. Unknown, repeated or missing fields raise :class:`TypeError`.
    """

    _fields: tuple[str, ...] = ()
    _defaults: dict[str, Any] = {}  # noqa: RUF012 - replaced, never mutated, by each subclass

    def __init_subclass__(cls) -> None:
        own = [
            name
            for name, annotation in cls.__annotations__.items()
            if not name.startswith("_") and not str(annotation).startswith("ClassVar")
        ]
        cls._fields = (*cls._fields, *(name for name in own if name not in cls._fields))
        cls._defaults = cls._defaults | {n: cls.__dict__[n] for n in own if n in cls.__dict__}

    if not TYPE_CHECKING:

        def __init__(self, *args, **kwargs):
            fields = self._fields
            if len(args) > len(fields):
                raise TypeError(f"{type(self).__name__} takes {len(fields)} fields: {len(args)}")
            given = dict(zip(fields, args, strict=False))
            for name in kwargs:
                if name in given or name not in fields:
                    raise TypeError(f"{type(self).__name__}: repeated or unknown field {name!r}")
            given |= kwargs
            values = self._defaults | given if len(given) < len(fields) else given
            if len(values) < len(fields):
                missing = ", ".join(name for name in fields if name not in values)
                raise TypeError(f"{type(self).__name__} lacks {missing}")
            self.__dict__.update(values)

    def __setattr__(self, name: str, value: object) -> None:
        raise AttributeError(f"{type(self).__name__}.{name} is frozen")

    def __delattr__(self, name: str) -> None:
        raise AttributeError(f"{type(self).__name__}.{name} is frozen")

    def __eq__(self, other: object) -> bool:
        if type(other) is not type(self):
            return NotImplemented
        return self.__dict__ == other.__dict__

    def __hash__(self) -> int:
        return hash((type(self), *(self.__dict__[name] for name in self._fields)))

    def __repr__(self) -> str:
        inner = ", ".join(f"{name}={self.__dict__[name]!r}" for name in self._fields)
        return f"{type(self).__name__}({inner})"

    def replace(self, **changes: Any) -> Self:
        """A copy in which the named fields have other values."""
        return type(self)(**(self.__dict__ | changes))

    def as_dict(self) -> dict[str, Any]:
        """The fields in their order, nested records untouched."""
        return {name: self.__dict__[name] for name in self._fields}
