"""Templates say what Go's say, or are refused in its words."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from cli import templates
from cli.errors import UsageError
from cli.templates.functions import FUNCTIONS
from cli.templates.printf import printf
from kernel.mapping import Map

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

LABELS = Map({"x": "1", "y.z": "2"})
ROW = templates.Row(
    "container", {"ID": "0123", "Late": lambda: "worked out"}, Label=lambda key: LABELS.get(key, "")
)
VALUE = {
    "Name": "/web",
    "State": {"Running": True, "Pid": 7, "Load": 1.5},
    "Mounts": [{"Type": "volume", "Name": "a"}, {"Type": "bind", "Name": "b"}],
    "Args": ["a", "b c"],
    "Labels": LABELS,
    "None": None,
    "Empty": "",
    "Row": ROW,
}


@pytest.mark.parametrize(
    ("template", "text"),
    [
        # fields
        ("{{.Name}}", "/web"),
        ("{{.State.Running}} {{.State.Pid}} {{ .State.Load }}", "true 7 1.5"),
        ("{{.None}}", "<no value>"),
        ("{{.Labels.nope}}", "<no value>"),
        ("{{.Labels.x}}", "1"),
        ("{{.Mounts}}", "[map[Name:a Type:volume] map[Name:b Type:bind]]"),
        ("{{(index .Mounts 0).Name}}", "a"),
        ("{{$.Name}}{{with .State}}{{$.Name}}{{.Pid}}{{end}}", "/web/web7"),
        ("{{.Row.ID}} {{.Row.Late}}", "0123 worked out"),
        ('{{.Row.Label "x"}}{{.Row.Label "nope"}}{{"y.z" | .Row.Label}}', "12"),
        ("{{json .Row}}", '{"ID":"0123","Late":"worked out"}'),
        # blocks
        ("{{range .Mounts}}{{.Name}},{{end}}", "a,b,"),
        ('{{range .Mounts}}{{if eq .Type "bind"}}{{.Name}}{{end}}{{end}}', "b"),
        ('{{range .Mounts}}{{if eq .Type "x"}}x{{else if eq .Name "a"}}A{{else}}-{{end}}{{end}}',
         "A-"),
        ("{{range $k, $v := .Labels}}{{$k}}={{$v}} {{end}}", "x=1 y.z=2 "),
        ("{{range $v := .Args}}<{{$v}}>{{end}}", "<a><b c>"),
        ("{{range $i, $v := .Args}}{{if $i}}, {{end}}{{$v}}{{end}}", "a, b c"),
        ("{{range .None}}x{{else}}none{{end}}", "none"),
        ("{{range .Args}}{{break}}x{{end}}-{{range .Args}}{{.}}{{continue}}x{{end}}", "-ab c"),
        ("{{with .Empty}}x{{else}}empty{{end}}", "empty"),
        ("{{with .Empty}}x{{else with .Name}}{{.}}{{end}}", "/web"),
        ("{{with $p := .State.Pid}}{{$p}}{{end}}", "7"),
        ("{{if not .State.Running}}x{{else}}y{{end}}", "y"),
        ("{{if and .Name (or .Empty .State.Pid)}}y{{end}}", "y"),
        # variables
        ("{{$x := 1}}{{range .Args}}{{$x = 2}}{{end}}{{$x}}", "2"),
        ("{{$x := 1}}{{range .Args}}{{$x := 2}}{{end}}{{$x}}", "1"),
        ("{{$x := .State}}{{$x.Pid}}", "7"),
        # functions
        ("{{json .State}}", '{"Running":true,"Pid":7,"Load":1.5}'),
        ('{{json "a<é\\"\\n"}}', '"a<é\\"\\n"'),
        ('{{index .Labels "y.z"}}{{index .Labels "nope"}}', "2"),
        ('{{index .Mounts 1 "Name"}}', "b"),
        ('{{join .Args ","}} {{.Args | len}}', "a,b c 2"),
        ('{{join (split "a:b:c" ":") "-"}}', "a-b-c"),
        ('{{join .None ","}}{{len .None}}', "0"),
        ("{{len .Name}} {{len .Mounts}} {{len .Labels}}", "4 2 2"),
        ("{{upper .Name | lower}} {{title \"hello wide-world\"}}", "/web Hello Wide-World"),
        ('{{pad "x" 1 2}}|{{pad "" 1 2}}|{{truncate "abcdef" 3}}', " x  ||abc"),
        ('{{slice "abcdef" 1 3}} {{slice .Args 1}} {{slice "abc"}}', "bc [b c] abc"),
        ('{{print 1 2 "a" 3}} {{println .Name}}', "1 2a3 /web\n"),
        ('{{eq 1 2 1}} {{ne "a" "b"}} {{lt 1 2}} {{le 2 2}} {{gt "b" "a"}} {{ge 1.5 2.5}}',
         "true true true true true false"),
        ("{{eq .None nil}} {{not nil}}", "true true"),
        # words
        ("a {{- .Name -}} b", "a/webb"),
        ("a {{- /* all of this goes */ -}} b", "ab"),
        ("{{/* a comment with }} in it */}}x", "x"),
        ('{{"}}"}}{{`a"b`}}{{"\\t\\x41\\u00e9\\101"}}', '}}a"b\tAéA'),
        ("{{0x10}} {{-3}} {{1e3}} {{1_000}} {{'a'}} {{1.50}} {{.5}}", "16 -3 1000 1000 97 1.5 0.5"),
        ("{{if .Name}}\n{{.Name}}\n{{end}}", "\n/web\n"),
        ("}} { {", "}} { {"),
        ("", ""),
    ],
)  # fmt: skip
def test_templates(template: str, text: str) -> None:
    assert templates.render(template, VALUE) == text


@pytest.mark.parametrize(
    ("form", "values", "text"),
    [
        ("%s|%5s|%-5s|%.2s", ["a", "b", "c", "def"], "a|    b|c    |de"),
        ("%d|%5d|%-5d|%05d|%+d|% d", [1, 2, 3, -4, 5, 6], "1|    2|3    |-0004|+5| 6"),
        ("%x %X %#x %x %o %b %08b", [255, 255, 255, "hi", 8, 5, 5],
         "ff FF 0xff 6869 10 101 00000101"),
        ("%q %v %v %v %t", ['a"\n', [1, "b"], {"k": True}, 1.0, True],
         '"a\\"\\n" [1 b] map[k:true] 1 true'),
        ("%f %.2f %8.3f %e %g", [1.5, 1.005, 3.14159, 1234.5, 1e21],
         "1.500000 1.00    3.142 1.234500e+03 1e+21"),
        ("%c %U %q %T %%", [97, 0x1F600, 98, "x"], "a U+1F600 'b' string %"),
        ("%*d|%-*d|", [4, 7, 3, 8], "   7|8  |"),
        ("%s", [[" a", "b"]], "[ a b]"),
        ("%s|%s", [""], "|%!s(MISSING)"),
        ("%d", ["x"], "%!d(string=x)"),
        ("%s", [1], "%!s(int=1)"),
        ("%d", [None], "%!d(<nil>)"),
        ("a", [1, "b"], "a%!(EXTRA int=1, string=b)"),
        ("%", [], "%!(NOVERB)"),
        ("%z", [1], "%!z(int=1)"),
        ("%v %v", [1e6, 0.00001234], "1e+06 1.234e-05"),
    ],
)  # fmt: skip
def test_printf(form: str, values: list[Any], text: str) -> None:
    assert printf(form, values) == text


@pytest.mark.parametrize(
    ("template", "said"),
    [
        ("{{.Nope}}", ':1:2: executing "" at <.Nope>: map has no entry for key "Nope"'),
        ("\n{{.State.Nope}}",
         ':2:8: executing "" at <.State.Nope>: map has no entry for key "Nope"'),
        ("{{.Row.Nope}}", "can't evaluate field Nope in type container"),
        ("{{.Name.X}}", "can't evaluate field X in type string"),
        ("{{.None.X}}", 'nil data; no entry for key "X"'),
        ("{{.Row.Label}}", "wrong number of args for Label"),
        ("{{.Name .Name}}", "Name has arguments but cannot be invoked as function"),
        ("{{index .Mounts 9}}", "error calling index: index out of range: 9"),
        ("{{index .Mounts nil}}", "expected int; got nil"),
        ("{{len 3}}", "len of type int"),
        ("{{len}}", "wrong number of args for len: want 1 got 0"),
        ("{{lt 1 \"a\"}}", "incompatible types for comparison"),
        ("{{eq .State .State}}", "non-comparable type"),
        ("{{range .Name}}{{end}}", "range can't iterate over /web"),
        ('{{pad "x" 1000000 0}}', "error calling pad"),
        ("{{", ":1: unclosed action"),
        ("{{.Name", "unclosed action"),
        ("{{/* x", "unclosed comment"),
        ("{{end}}", "unexpected {{end}}"),
        ("{{else}}", "unexpected {{else}}"),
        ("{{if .Name}}", "unexpected EOF"),
        ("{{if .Name}}{{else}}{{else}}{{end}}", "expected end; found {{else}}"),
        ("{{frob .Name}}", 'function "frob" not defined'),
        ("{{html .Name}}", 'function "html" is not supported'),
        ("{{template \"x\"}}", '"template" is not supported'),
        ('{{"x}}', "unterminated quoted string"),
        ("{{'ab'}}", "malformed character constant"),
        ("{{}}", "missing value for command"),
        ("{{(.Name}}", "unclosed left paren"),
        ("{{.Name)}}", 'unexpected ")" in command'),
        ("{{$x}}", 'undefined variable "$x"'),
        ("{{if .Name}}{{$x := 1}}{{end}}{{$x}}", 'undefined variable "$x"'),
        ("{{$x = 1}}", 'undefined variable "$x"'),
        ("{{break}}", "{{break}} outside {{range}}"),
        ("{{nil}}", "nil is not a command"),
        ("{{1 2}}", "can't give argument to non-function 1"),
        ('{{"a""b"}}', "in operand"),
        ("{{1 | 2}}", "non executable command in pipeline"),
        ("{{99999999999999999999}}", "integer overflow"),
        ("{{" + "(" * 500 + "1" + ")" * 500 + "}}", "in each other"),
        ("{{if 1}}" * 500 + "{{end}}" * 500, "in each other"),
    ],
)  # fmt: skip
def test_what_a_template_cannot_say_is_refused_in_the_words_of_go(template: str, said: str) -> None:
    with pytest.raises(UsageError) as caught:
        templates.render(template, VALUE)
    assert str(caught.value).startswith("template parsing error: template: :")
    assert said in str(caught.value)


def test_a_field_that_is_not_there_is_answered_with_those_that_are() -> None:
    with pytest.raises(UsageError) as caught:
        templates.render("{{.State.Nope}}", VALUE)
    assert caught.value.hint == "there are Running, Pid, Load"


def test_a_row_works_out_only_what_is_asked_for() -> None:
    row = templates.Row("thing", {"A": "a", "B": lambda: pytest.fail("nobody asked")})
    assert templates.render("{{.A}}", row) == "a"


_WORDS = st.sampled_from(
    [*FUNCTIONS, *"and or if else end range with break continue define true false nil".split(),
     "{{", "}}", "{{-", "-}}", ".", ".Name", ".State", ".Mounts", ".Labels", ".Row", ".Pid", "$",
     "$x", ":=", "=", "|", "(", ")", ",", '"', '"a"', "`", "'", "0", "7", "-1", "1.5", " ", "\n",
     "/*", "*/", '"%5d"', "999999999999"]
)  # fmt: skip


def _rendered_or_refused(template: str) -> None:
    try:
        made = templates.render(template, VALUE)
    except UsageError:
        return
    assert isinstance(made, str)


@given(st.text(max_size=40))
@settings(max_examples=300)
def test_any_text_is_rendered_or_refused(template: str) -> None:
    _rendered_or_refused(template)
    _rendered_or_refused("{{" + template + "}}")


@given(st.lists(_WORDS, max_size=16))
@settings(max_examples=600)
def test_any_words_of_a_template_are_rendered_or_refused(words: list[str]) -> None:
    _rendered_or_refused("".join(words))
    _rendered_or_refused("{{" + " ".join(words) + "}}{{end}}")


@given(st.text(alphabet="%sdqvxcfgeU*.-+# 05abc", max_size=12), st.lists(
    st.one_of(st.none(), st.booleans(), st.integers(-(2**63), 2**63 - 1), st.floats(), st.text()),
    max_size=4,
))  # fmt: skip
def test_any_format_makes_text(form: str, values: list[Any]) -> None:
    assert isinstance(printf(form, values), str)


@given(st.text(max_size=20))
def test_what_json_writes_can_be_read_again(text: str) -> None:
    import json

    value = {"a": [text, None, 1.5, True], "b": Map({text: 1})}
    assert json.loads(templates.render("{{json .}}", value)) == value
