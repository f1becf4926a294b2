"""What a person asks for is read exactly, or refused with a reason."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kernel import units
from volumes.errors import VolumeError
from volumes.plan import Mount, plan
from volumes.requests import From, Request, parse_from, parse_mount, parse_tmpfs, parse_volume

BIND = ("rbind", "rprivate")


@pytest.mark.parametrize(
    ("text", "request_"),
    [
        ("/data", Request("volume", "/data", explicit=False)),
        ("/data/../x//y/", Request("volume", "/x/y", explicit=False)),
        ("name:/data", Request("volume", "/data", "name")),
        ("name:/data:ro,nocopy", Request("volume", "/data", "name", True, copy=False)),
        ("/h:/d", Request("bind", "/d", "/h", make_source=True, options=BIND)),
        ("./h:/d:ro", Request("bind", "/d", "/at/h", True, make_source=True, options=BIND)),
        ("/h:/d:slave", Request("bind", "/d", "/h", False, True, True, True, ("rbind", "slave"))),
    ],
)  # fmt: skip
def test_v_has_three_forms(text: str, request_: Request) -> None:
    assert parse_volume(text, "/at") == request_


@pytest.mark.parametrize(
    "text",
    ["", ":", "data", "/", "/data/..", "name:data", "a:/b:c", "nn:/d:ro,rw", "nn:/d:ro,ro",
     "nn:/d:z",
     "/h:/d:nocopy", "nn:/d:shared", "x:/d", "-n:/d", "nn:/d:ro:x", "a/b:/d", "nn:/d:", "n:\0/d",
     "." * 300 + ":/d", "n\0x:/d"],
)  # fmt: skip
def test_v_refuses_what_it_cannot_do(text: str) -> None:
    with pytest.raises(VolumeError, match="invalid"):
        parse_volume(text)


def test_mount_names_every_part() -> None:
    assert parse_mount("type=volume,source=nn,target=/d,readonly") == Request(
        "volume", "/d", "nn", readonly=True
    )
    assert parse_mount("target=/d") == Request("volume", "/d")
    assert parse_mount("type=bind,src=/h:x,dst=/d,ro=false") == Request(
        "bind", "/d", "/h:x", options=BIND
    )
    assert parse_mount('type=bind,"src=/a,b",dst=/d,bind-recursive=disabled').options[0] == "bind"
    tmpfs = parse_mount("type=tmpfs,target=/d,tmpfs-size=1m,tmpfs-mode=700")
    assert tmpfs.options[-2:] == ("mode=700", "size=1048576")


@pytest.mark.parametrize(
    "text",
    ["", "type=x,target=/d", "type=bind,target=/d", "type=bind,source=h,target=/d", "target=d",
     "type=tmpfs,source=x,target=/d", "target=/d,target=/e", "target=/d,volume-driver=nfs",
     "target=/d,readonly=maybe", "type=volume,target=/d,bind-propagation=shared", "type",
     "type=bind,src=/h,dst=/d,bind-propagation=x", "type=tmpfs,dst=/d,tmpfs-size=big", 'a"b'],
)  # fmt: skip
def test_mount_refuses_what_it_cannot_do(text: str) -> None:
    with pytest.raises(VolumeError, match=r"invalid (mount|volume)"):
        parse_mount(text)


def test_tmpfs_is_confined_unless_told_otherwise() -> None:
    assert parse_tmpfs("/run").options == ("noexec", "nosuid", "nodev")
    assert parse_tmpfs("/run:exec,size=64k,mode=755").options == (
        "nosuid", "nodev", "exec", "size=65536", "mode=755",
    )  # fmt: skip
    assert parse_tmpfs("/run:ro").readonly
    for text in ("run", "/run:size", "/run:size=x", "/run:lowerdir=/", "/run:mode=9", "/"):
        with pytest.raises(VolumeError):
            parse_tmpfs(text)


def test_volumes_from_may_ask_for_read_only() -> None:
    assert parse_from("c") == parse_from("c:rw") == From("c")
    assert parse_from("c:ro") == From("c", readonly=True)
    for text in ("", ":ro", "c:", "c:x"):
        with pytest.raises(VolumeError):
            parse_from(text)


@given(st.text(alphabet="/:.,=aznro\0\"' ", max_size=24))
def test_any_text_is_read_or_refused(text: str) -> None:
    for parse in (parse_volume, parse_mount, parse_tmpfs):
        try:
            request = parse(text)
        except VolumeError:
            continue
        assert request.destination.startswith("/") and request.destination != "/"
        assert ".." not in request.destination.split("/")


def test_precedence() -> None:
    explicit, loose = parse_volume("nn:/d"), parse_volume("/d")
    one, two = (Mount("volume", "/d", name) for name in ("one", "two"))
    inherited = [((one,), False), ((two,), False)]
    assert [m.source for m in plan([explicit, loose], inherited, ["/d"])] == ["nn"]
    assert [m.source for m in plan([loose], inherited, ["/d"])] == ["two"]
    assert [m.source for m in plan([loose], (), ["/d"])] == [""]
    assert plan([], (), ["/d"]) == plan([loose])


def test_two_explicit_requests_for_one_destination_must_be_the_same() -> None:
    same = [parse_volume("nn:/d"), parse_volume("nn:/d")]
    assert len(plan(same)) == 1
    with pytest.raises(VolumeError, match="duplicate mount point /d"):
        plan([parse_volume("nn:/d"), parse_volume("m1:/d")])


def test_read_only_is_inherited_and_can_be_added_but_not_taken_away() -> None:
    writable, fixed = Mount("volume", "/w", "w"), Mount("volume", "/f", "f", True)
    decided = plan([], [((writable, fixed), False)])
    assert [m.readonly for m in decided] == [True, False]
    assert all(m.readonly for m in plan([], [((writable, fixed), True)]))


@given(st.lists(st.sampled_from(["/a", "/a/b", "/a/b/c", "/b", "/b/a"]), max_size=6))
def test_parents_come_before_what_is_below_them(paths: list[str]) -> None:
    mounts = plan([], (), paths)
    seen = [mount.destination for mount in mounts]
    assert sorted(set(paths)) == sorted(seen)
    for index, path in enumerate(seen):
        assert not any(path.startswith(later + "/") for later in seen[index:])


def test_sizes_and_durations() -> None:
    assert units.parse_bytes("64m") == units.parse_bytes("64MiB") == 64 << 20
    assert units.parse_bytes("1.5k") == 1536 and units.parse_bytes("10b") == 10
    assert units.parse_duration("1h30m") == 5400 and units.parse_duration("250ms") == 0.25
    for word in ("", "m", "1x", "-1", "1.", ".5", "1e3"):
        with pytest.raises(ValueError):
            units.parse_bytes(word)
        with pytest.raises(ValueError):
            units.parse_duration(word)


@given(st.integers(0, 10**17), st.sampled_from(["", "b", "k", "KB", "mib", "g"]))
def test_a_written_size_is_read_back(number: int, unit: str) -> None:
    factor = {"": 1, "b": 1, "k": 1 << 10, "KB": 1 << 10, "mib": 1 << 20, "g": 1 << 30}[unit]
    assert units.parse_bytes(f"{number}{unit}") == number * factor
