"""Names and ids: a container is known by its full id, its name, or the beginning of its id."""

from __future__ import annotations

import pytest

from cli import commands

TYPE_CHECKING = False
if TYPE_CHECKING:
    from tests.conftest import Pyctr


FLAGS = {"update": ("--restart", "no")}  # without which a command is refused before it looks


def taking_a_container() -> list[tuple[str, ...]]:
    """Each command whose help says CONTAINER, with that word, and x for others that it needs."""
    found = []
    for verb in commands.NOUNS["container"]:
        words = commands.load("container", verb).words.partition("   or   ")[0].split()
        needed = [word for word in words if not word.startswith("[") and not word.endswith("]")]
        if any("CONTAINER" in word for word in needed):
            found.append(
                (
                    verb,
                    *FLAGS.get(verb, ()),
                    *(word if "CONTAINER" in word else "x" for word in needed),
                )
            )
    return found


COMMANDS = taking_a_container()


@pytest.fixture
def two(pyctr: Pyctr) -> tuple[Pyctr, str, dict[str, str]]:
    """Containers of which at least two ids begin with the same digit; that digit, ids to names."""
    made: dict[str, str] = {}
    while len({identity[0] for identity in made}) == len(made):
        name = f"name{len(made)}"
        made[pyctr.out("create", "--name", name, "-v", "/data", "base", "true")] = name
    first = next(iter(reversed(made)))[0]
    return pyctr, first, {key: name for key, name in made.items() if key[0] == first}


def test_the_list_of_commands_is_not_empty() -> None:
    assert {"start", "stop", "rm", "exec", "logs", "rename"} <= {words[0] for words in COMMANDS}


def test_an_ambiguous_beginning_is_an_error_that_lists_the_containers(
    two: tuple[Pyctr, str, dict[str, str]],
) -> None:
    pyctr, prefix, containers = two
    for words in COMMANDS:
        said = pyctr("container", *[w.replace("CONTAINER", prefix) for w in words], code=None)
        assert said.returncode != 0, words
        assert f"container id {prefix!r} is ambiguous" in said.stderr, words
        for identity, name in containers.items():
            assert f"{identity[:12]} ({name})" in said.stderr, words
    for volumes_from in (prefix, f"{prefix}:ro"):
        command = ("create", "--volumes-from", volumes_from, "base", "true")
        assert "is ambiguous" in pyctr(*command, code=125).stderr
    assert "is ambiguous" in pyctr("inspect", prefix, code=1).stderr
    assert len(pyctr.out("ps", "-aq").split()) >= 2


def test_an_unknown_container_is_an_error_that_names_it(pyctr: Pyctr) -> None:
    for words in COMMANDS:
        said = pyctr("container", *[w.replace("CONTAINER", "nobody") for w in words], code=None)
        assert "no such container: nobody" in said.stderr, words
        assert said.returncode == 1, words
    said = pyctr("create", "--volumes-from", "nobody", "base", "true", code=125)
    assert "no such container: nobody" in said.stderr


def test_full_id_unique_beginning_and_name_mean_the_same(pyctr: Pyctr) -> None:
    identity = pyctr.out("run", "-d", "--name", "web", "-v", "/data", "base", "sleep", "1000")
    template = ("--format", "{{.Id}}")
    for word in (identity, identity[:12], identity[:1], "web", "/web"):
        assert pyctr.out("container", "inspect", *template, word) == identity
        assert pyctr.out("inspect", *template, word) == identity
        assert pyctr.out("exec", word, "echo", "x") == "x"
        assert "sleep" in pyctr.out("top", word)
        assert pyctr.out("run", "--rm", "--volumes-from", word, "base", "ls", "-d", "/data")
        assert pyctr.out("stop", "-t", "0", word) == word
        assert pyctr.out("start", word) == word
    for word in (identity + "0", identity[1:], "we", identity[:12].upper() + "X", "/"):
        assert "no such" in pyctr("container", "inspect", word, code=1).stderr


def test_a_name_counts_more_than_the_beginning_of_an_id(pyctr: Pyctr) -> None:
    one = pyctr.out("create", "--name", "one", "-v", "/of-one", "base", "true")
    other = pyctr.out("create", "--name", one[:4], "-v", "/of-other", "base", "true")
    template = ("--format", "{{.Id}}")
    assert pyctr.out("inspect", *template, one[:4]) == other
    assert pyctr.out("inspect", *template, one[:5]) == one
    command = ("run", "--rm", "--volumes-from", one[:4], "base", "ls", "-d")
    assert pyctr.out(*command, "/of-other") == "/of-other"
    pyctr("rm", one[:4])
    assert pyctr.out("ps", "-a", "--format", "{{.Names}}") == "one"
    pyctr("rm", one[:4])
    assert pyctr.out("ps", "-aq") == ""


def test_a_full_id_counts_more_than_a_name(pyctr: Pyctr) -> None:
    one = pyctr.out("create", "--name", "one", "base", "true")
    pyctr("create", "--name", one, "base", "true")
    assert pyctr.out("inspect", "--format", "{{.Name}}", one) == "/one"


def test_random_names_can_be_read_and_are_never_refused(pyctr: Pyctr) -> None:
    """Also when the plain ones are taken: two words, then two words and a number."""
    from engine import names

    assert all(part.isascii() and part for part in names.generate().split("_"))
    assert len({names.generate() for _ in range(100)}) > 50
    base, _, digits = names.with_number("brisk_tasman").rpartition("_")
    assert base == "brisk_tasman" and digits.isdigit()
    for _ in range(3):
        pyctr("create", "base", "true")
    found = pyctr.out("ps", "-a", "--format", "{{.Names}}").split()
    assert len(set(found)) == 3
    assert all("_" in name for name in found)


def test_an_ambiguous_beginning_of_an_image_lists_the_images(pyctr: Pyctr) -> None:
    pyctr("run", "--name", "c", "base", "true")
    ids: list[str] = []
    while len({identity[0] for identity in ids}) == len(ids):
        ids.append(pyctr.out("commit", "-m", str(len(ids)), "c").removeprefix("sha256:"))
    prefix = ids[-1][0]
    said = pyctr("image", "inspect", prefix, code=None)
    assert said.returncode != 0
    for identity in ids:
        assert (identity[:12] in said.stderr) == (identity[0] == prefix)
