from __future__ import annotations

import subprocess
import sys

import pytest

from kernel.record import Record


class Point(Record):
    x: int
    y: int = 0


class Named(Point):
    name: str = "origin"


def test_fields_are_given_by_position_or_by_name_and_defaults_fill_the_rest() -> None:
    assert Point(1) == Point(x=1, y=0)
    assert Named(1, 2, "a").as_dict() == {"x": 1, "y": 2, "name": "a"}


def test_a_record_cannot_be_changed_but_replaced() -> None:
    point = Point(1)
    with pytest.raises(AttributeError):
        point.x = 2  # type: ignore[misc]
    assert point.replace(x=2) == Point(2)
    assert point.x == 1


def test_records_of_two_classes_are_never_equal_and_equal_ones_hash_alike() -> None:
    assert Point(1, 2) != Named(1, 2)
    assert len({Point(1, 2), Point(1, 2), Named(1, 2)}) == 2


@pytest.mark.parametrize("arguments", [{}, {"x": 1, "z": 2}])
def test_missing_and_unknown_fields_are_refused(arguments: dict[str, int]) -> None:
    with pytest.raises(TypeError):
        Point(**arguments)
    with pytest.raises(TypeError):
        Point(1, x=1)  # type: ignore[misc]
    with pytest.raises(TypeError):
        Point(1, 2, 3)  # type: ignore[call-arg]


def test_records_do_not_import_dataclasses_or_typing() -> None:
    code = "import sys, kernel.record; print({'dataclasses', 'typing'} & set(sys.modules))"
    shown = subprocess.run(
        [sys.executable, "-I", "-S", "-c", f"import sys; sys.path.insert(0, '.'); {code}"],
        capture_output=True,
        text=True,
        check=True,
    )
    assert shown.stdout == "set()\n"
