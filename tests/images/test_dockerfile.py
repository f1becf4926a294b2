"""Dockerfiles: what the reference says, line by line, and nothing but errors for the rest."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from images.dockerfile import lines, parser, words
from images.dockerfile.errors import DockerfileError


def texts(content: str) -> list[tuple[str, str]]:
    return [(line.word, line.text) for line in lines.split(content).lines]


def test_lines_go_on_after_the_escape_character_past_comments_and_blanks() -> None:
    content = "# a comment\nfrom  x\nRUN a \\\n  # not this\n\n  && b\nCMD c"
    assert texts(content) == [("FROM", "x"), ("RUN", "a   && b"), ("CMD", "c")]
    numbers = [line.number for line in lines.split(content).lines]
    assert numbers == [2, 3, 7]


def test_directives_count_only_before_anything_else() -> None:
    assert texts("# escape=`\nFROM x\nRUN a `\n b \\") == [("FROM", "x"), ("RUN", "a  b \\")]
    assert lines.split("# hello\n# escape=`\nFROM x").escape == "\\"
    with pytest.raises(DockerfileError, match="twice"):
        lines.split("# escape=`\n# escape=`\nFROM x")
    with pytest.raises(DockerfileError, match="escape is"):
        lines.split("# escape=x\nFROM x")


def test_here_documents_belong_to_their_instruction() -> None:
    content = (
        "FROM x\nRUN <<EOF\necho $A\n# kept\nEOF\n"
        "COPY <<-'one' <<two /dest/\n\tfirst\n\tone\nsecond\ntwo\nCMD c"
    )
    found = lines.split(content).lines
    assert [(h.name, h.content, h.literal) for h in found[1].heredocs] == [
        ("EOF", "echo $A\n# kept\n", False)
    ]
    assert [(h.name, h.content, h.literal) for h in found[2].heredocs] == [
        ("one", "first\n", True), ("two", "second\n", False),
    ]  # fmt: skip
    assert found[3].word == "CMD"
    with pytest.raises(DockerfileError, match="no end"):
        lines.split("FROM x\nRUN <<EOF\necho")
    assert lines.split("FROM x\nRUN cat <<< word").lines[1].heredocs == ()


VARIABLES = {"a": "value", "e": "", "p": "foo.tar.gz", "_x1": "y"}


@pytest.mark.parametrize(
    ("text", "result"),
    [
        ("$a ${a} x${a}y $_x1", "value value xvaluey y"),
        ("$none|${none}", "|"),
        ("${a:-d} ${e:-d} ${e-d} ${none-d}", "value d  d"),
        ("${a:+s} ${e:+s} ${e+s} ${none+s}", "s  s "),
        ("${none:-${a}}", "value"),
        ("'$a' \"$a\" \\$a", "$a value $a"),
        ('"a\\nb" a\\ b', "a\\nb a b"),
        ("${p%.gz} ${p%%.*} ${p#*.} ${p##*.} ${p%x}", "foo.tar foo tar.gz gz foo.tar.gz"),
        ("${p/o/0} ${p//o/0} ${p/z*/} ${p//[/x}", "f0o.tar.gz f00.tar.gz foo.tar.g foo.tar.gz"),
        ("cost $5 $", "cost $5 $"),
    ],
)
def test_variables_are_replaced_as_the_reference_says(text: str, result: str) -> None:
    assert words.expand(text, VARIABLES) == result


@pytest.mark.parametrize("text", ["${a", "${}", "${a!b}", "'a", '"a', "${none:?must be set}"])
def test_words_that_cannot_be_understood_are_errors(text: str) -> None:
    with pytest.raises(ValueError):
        words.expand(text, VARIABLES)


def test_words_are_parted_outside_quotes() -> None:
    assert words.split("a 'b c' \"d e\"f g\\ h") == ["a", "'b c'", '"d e"f', "g\\ h"]


def test_stages_have_names_and_instructions() -> None:
    made = parser.parse(
        'ARG V=1\nFROM --platform=linux/amd64 a:$V AS Build\nRUN ["x", "y"]\n'
        "FROM build\nCOPY --from=build --chown=1:2 a b /c\nVOLUME --reset\n"
    )
    assert [arg.text for arg in made.args] == ["V=1"]
    assert [(s.base, s.name, s.platform) for s in made.stages] == [
        ("a:$V", "build", "linux/amd64"), ("build", "", ""),
    ]  # fmt: skip
    assert made.stages[0].instructions[0].listed == ("x", "y")
    copy = made.stages[1].instructions[0]
    assert (copy.flag("from"), copy.flag("chown"), copy.text) == ("build", "1:2", "a b /c")
    assert (made.stage("BUILD"), made.stage("1"), made.stage("2")) == (0, 1, -1)


@pytest.mark.parametrize(
    "content",
    ["", "RUN x", "FROM", "FROM a b", "FROM a AS 1", "FROM x\nNOPE x", "FROM x\nRUN --nope x",
     "FROM x\nCOPY a", "FROM x\nCOPY --from= a b", "FROM x\nSHELL sh -c", "FROM x\nONBUILD FROM y",
     "FROM x AS a\nFROM y AS a", "FROM x\nHEALTHCHECK nope", "FROM x\nUSER a b",
     "FROM x\nRUN --network=a --network=b c"],
)  # fmt: skip
def test_what_cannot_be_built_is_refused_with_its_line(content: str) -> None:
    with pytest.raises(DockerfileError, match=r"Dockerfile:\d"):
        parser.parse(content)


@given(st.text(alphabet="FROMxRUNCPY \\\n#<-='\"E[]${}:`\t", max_size=80))
def test_any_text_gives_a_dockerfile_or_an_error(content: str) -> None:
    try:
        parser.parse("FROM x\n" + content)
    except DockerfileError:
        pass


@given(st.text(alphabet="ab$ {}:-+?#%/'\"\\*", max_size=30))
def test_any_word_is_expanded_or_an_error(text: str) -> None:
    try:
        words.expand(text, {"a": "1", "b": "a*"})
        words.split(text)
    except ValueError:
        pass
