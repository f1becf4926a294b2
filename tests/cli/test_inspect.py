"""inspect, info and version: Docker's names for everything that was asked for and that is."""

from __future__ import annotations

import json
import os

import pytest

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from tests.conftest import Pyctr


def inspected(pyctr: Pyctr, *words: str) -> dict[str, Any]:
    (found,) = json.loads(pyctr.out("container", "inspect", *words))
    return dict(found)


def test_a_state_is_told_from_the_first_moment_to_the_last(pyctr: Pyctr) -> None:
    never = "0001-01-01T00:00:00Z"
    pyctr("create", "--name", "c", "base", "sh", "-c", "sleep 1000")
    state = inspected(pyctr, "c")["State"]
    assert (state["Status"], state["Running"], state["Pid"]) == ("created", False, 0)
    assert state["StartedAt"] == state["FinishedAt"] == never
    pyctr("start", "c")
    state = inspected(pyctr, "c")["State"]
    assert (state["Status"], state["Running"], state["Paused"]) == ("running", True, False)
    assert os.path.isdir(f"/proc/{state['Pid']}")
    assert state["StartedAt"] > never and state["FinishedAt"] == never
    pyctr("kill", "c")
    state = inspected(pyctr, "c")["State"]
    assert (state["Status"], state["Running"], state["Pid"]) == ("exited", False, 0)
    assert state["ExitCode"] == 137 and state["FinishedAt"] > state["StartedAt"] > never
    assert not state["Restarting"] and not state["Dead"] and not state["OOMKilled"]


def test_all_sections_have_docker_s_names(pyctr: Pyctr) -> None:
    pyctr("create", "--name", "c", "base")
    found = inspected(pyctr, "c")
    assert list(found) == [
        "Id", "Created", "Path", "Args", "State", "Image", "ResolvConfPath", "HostnamePath",
        "HostsPath", "LogPath", "Name", "RestartCount", "Driver", "Platform", "MountLabel",
        "ProcessLabel", "AppArmorProfile", "ExecIDs", "HostConfig", "GraphDriver", "Mounts",
        "Config", "NetworkSettings",
    ]  # fmt: skip
    wanted = """
        AutoRemove Binds BlkioDeviceReadBps BlkioDeviceReadIOps BlkioDeviceWriteBps
        BlkioDeviceWriteIOps BlkioWeight BlkioWeightDevice CapAdd CapDrop CgroupParent CgroupnsMode
        CpuPeriod CpuQuota CpuShares CpusetCpus CpusetMems DeviceCgroupRules Devices Dns DnsOptions
        DnsSearch ExtraHosts GroupAdd Init IpcMode LogConfig MaskedPaths Memory MemoryReservation
        MemorySwap MemorySwappiness Mounts NanoCpus NetworkMode OomKillDisable OomScoreAdj PidMode
        PidsLimit PortBindings Privileged ReadonlyPaths ReadonlyRootfs RestartPolicy SecurityOpt
        ShmSize Sysctls Tmpfs UTSMode Ulimits UsernsMode VolumesFrom Annotations
    """.split()
    assert set(wanted) <= set(found["HostConfig"])
    wanted = """
        AttachStderr AttachStdin AttachStdout Cmd Domainname Entrypoint Env Hostname Image Labels
        OnBuild OpenStdin StdinOnce StopSignal StopTimeout Tty User Volumes WorkingDir
    """.split()
    assert set(wanted) <= set(found["Config"])
    assert found["NetworkSettings"]["Networks"]["none"]["IPAddress"] == ""
    assert found["HostConfig"]["RestartPolicy"] == {"Name": "no", "MaximumRetryCount": 0}
    assert found["HostConfig"]["LogConfig"] == {"Type": "json-file", "Config": {}}


def test_what_was_asked_for_is_told_in_docker_s_way(pyctr: Pyctr, home_dir: str) -> None:
    pyctr("create", "--name", "donor", "-v", "/from", "base")
    os.mkdir(f"{home_dir}/folder")
    flags = [
        "-v", "data:/data:ro,nocopy", "-v", f"{home_dir}/folder:/folder:rslave", "-v", "/anonymous",
        "--mount", f"type=bind,source={home_dir}/folder,target=/bound,readonly",
        "--mount", "type=volume,source=other,target=/other",
        "--mount", "type=tmpfs,target=/memory,tmpfs-size=1m,tmpfs-mode=700",
        "--tmpfs", "/scratch:size=64k", "--volumes-from", "donor:ro",
        "--memory", "64m", "--cpus", "0.5", "--pids-limit", "50", "--ulimit", "nofile=10:20",
        "--sysctl", "net.core.somaxconn=99", "--cap-add", "NET_ADMIN", "--cap-drop", "MKNOD",
        "--security-opt", "no-new-privileges", "--read-only", "--rm", "--group-add", "5",
    ]  # fmt: skip
    pyctr("create", "--name", "c", *flags, "base")
    found = inspected(pyctr, "c")
    host = found["HostConfig"]
    assert host["Binds"] == ["data:/data:ro,nocopy", f"{home_dir}/folder:/folder:rslave"]
    assert [(one["Type"], one["Target"], one["ReadOnly"]) for one in host["Mounts"]] == [
        ("bind", "/bound", True), ("volume", "/other", False), ("tmpfs", "/memory", False),
    ]  # fmt: skip
    assert host["Mounts"][0]["BindOptions"]["Propagation"] == "rprivate"
    assert host["Mounts"][2]["TmpfsOptions"] == {"SizeBytes": 1 << 20, "Mode": 0o700}
    assert "size=65536" in host["Tmpfs"]["/scratch"]
    assert host["VolumesFrom"] == ["donor:ro"]
    assert (host["Memory"], host["NanoCpus"], host["PidsLimit"]) == (64 << 20, 5 * 10**8, 50)
    assert host["Ulimits"] == [{"Name": "nofile", "Soft": 10, "Hard": 20}]
    assert host["Sysctls"] == {"net.core.somaxconn": "99"}
    assert (host["CapAdd"], host["CapDrop"]) == (["CAP_NET_ADMIN"], ["CAP_MKNOD"])
    assert host["SecurityOpt"] == ["no-new-privileges"] and host["ReadonlyRootfs"]
    assert host["AutoRemove"] and host["GroupAdd"] == ["5"]
    assert found["Config"]["Volumes"] == {"/anonymous": {}}
    kinds = {one["Destination"]: (one["Type"], one["RW"]) for one in found["Mounts"]}
    assert kinds["/data"] == ("volume", False) and kinds["/from"] == ("volume", False)
    assert kinds["/folder"] == ("bind", True) and kinds["/scratch"] == ("tmpfs", True)


def test_what_is_missing_is_told_after_what_is_found(pyctr: Pyctr) -> None:
    pyctr("create", "--name", "a", "base")
    pyctr("create", "--name", "b", "base")
    for command in (("inspect",), ("container", "inspect")):
        ran = pyctr(*command, "a", "nope", "b", "gone", code=1)
        assert [one["Name"] for one in json.loads(ran.stdout)] == ["/a", "/b"]
        assert "nope" in ran.stderr.splitlines()[0] and "gone" in ran.stderr
        ran = pyctr(*command, "-f", "{{.Name}}", "nope", "a", code=1)
        assert ran.stdout == "/a\n"
        assert pyctr(*command, "nope", code=1).stdout == "[]\n"
    assert json.loads(pyctr("volume", "inspect", "x1", code=1).stdout) == []
    assert json.loads(pyctr("image", "inspect", "base", "x1", code=1).stdout)[0]["Os"] == "linux"


def test_one_name_may_be_of_several_kinds(pyctr: Pyctr) -> None:
    pyctr("create", "--name", "same", "-v", "same:/x", "base")
    assert json.loads(pyctr.out("inspect", "same"))[0]["Path"] == "sh"
    assert "Mountpoint" in json.loads(pyctr.out("inspect", "--type", "volume", "same"))[0]
    assert "no such object" in pyctr("inspect", "--type", "image", "same", code=1).stderr
    assert "neither swarm" in pyctr("inspect", "--type", "service", "same", code=125).stderr
    assert "it is one of" in pyctr("inspect", "--type", "thing", "same", code=125).stderr


def test_templates_of_inspect(pyctr: Pyctr) -> None:
    pyctr("create", "--name", "c", "-l", "a.b=1", "-v", "data:/data", "base", "echo", "x y")
    for template, text in (
        ("{{.State.Status}} {{.Config.Image}}", "created base"),
        ("{{json .Config.Cmd}}", '["echo","x y"]'),
        ('{{range .Mounts}}{{.Name}}->{{.Destination}}{{println}}{{end}}', "data->/data\n"),
        ('{{index .Config.Labels "a.b"}}{{.Config.Labels.nope}}', "1<no value>"),
        ('{{range $net, $conf := .NetworkSettings.Networks}}{{$net}}{{end}}', "none"),
        ('{{join .Args ","}}{{if .State.Health}}!{{end}}', "x y"),
        ('{{printf "%.12s" .Id | len}}', "12"),
    ):  # fmt: skip
        assert pyctr("inspect", "-f", template, "c").stdout == f"{text}\n", template
    said = pyctr("inspect", "-f", "{{.State.Nope.X}}", "c", code=1).stderr
    assert 'at <.State.Nope.X>: map has no entry for key "Nope"' in said
    line = pyctr.out("inspect", "-f", "json", "c")
    assert "\n" not in line and json.loads(line)[0]["Name"] == "/c"


def test_info_has_docker_s_sections_and_fields(pyctr: Pyctr) -> None:
    pyctr("run", "-d", "--name", "a", "base", "sleep", "1000")
    pyctr("create", "--name", "b", "-v", "data:/data", "base")
    found = json.loads(pyctr.out("info", "--format", "{{json .}}"))
    assert (found["Containers"], found["ContainersRunning"], found["ContainersStopped"]) == (
        2,
        1,
        1,
    )
    assert (found["Images"], found["Volumes"], found["Driver"]) == (1, 1, "overlay")
    assert found["DockerRootDir"] == pyctr.root and found["CgroupVersion"] in ("1", "2")
    assert found["NCPU"] == os.cpu_count() and found["KernelVersion"] == os.uname().release
    lines = pyctr.out("system", "info").splitlines()
    assert lines[0] == "Client:" and "Server:" in lines
    for line in (" Containers: 2", "  Running: 1", "  Paused: 0", "  Stopped: 1", " Images: 1"):
        assert line in lines
    assert pyctr.out("info", "-f", "{{.ContainersRunning}}/{{.Containers}}") == "1/2"


def test_version_has_docker_s_sections_and_fields(pyctr: Pyctr) -> None:
    found = json.loads(pyctr.out("version", "--format", "json"))
    assert found["Client"]["Version"] == found["Server"]["Version"] == "0.1.0"
    assert pyctr.out("version", "-f", "{{.Server.Version}} {{.Server.Os}}") == "0.1.0 linux"
    lines = pyctr.out("version").splitlines()
    assert lines[0].startswith("Client:") and lines[1] == " Version:            0.1.0"
    assert any(line.startswith("Server:") for line in lines)


@pytest.mark.parametrize("flags", [("--since", "x"), ("--until", "now"), ("-n", "many")])
def test_what_logs_cannot_mean_is_refused(pyctr: Pyctr, flags: tuple[str, str]) -> None:
    pyctr("create", "--name", "c", "base")
    assert "invalid argument" in pyctr("logs", *flags, "c", code=125).stderr


def test_logs_between_two_moments(pyctr: Pyctr) -> None:
    import time

    pyctr("run", "--name", "c", "base", "sh", "-c", "echo one; sleep 2; echo two; sleep 2; echo 3")
    stamped = pyctr.out("logs", "-t", "c").splitlines()
    times = [line.split()[0] for line in stamped]
    assert pyctr.out("logs", "--since", times[1], "c").split() == ["two", "3"]
    assert pyctr.out("logs", "--until", times[1], "c").split() == ["one", "two"]
    assert pyctr.out("logs", "--since", times[1], "--until", times[1], "c") == "two"
    assert pyctr.out("logs", "--since", "1h", "-n", "1", "c") == "3"
    assert pyctr.out("logs", "--since", str(int(time.time()) + 1000), "c") == ""
    assert pyctr.out("logs", "--tail", "all", "c").split() == ["one", "two", "3"]
    assert pyctr.out("logs", "--tail", "0", "c") == ""


def test_top_shows_whole_lines_however_narrow_the_terminal(
    pyctr: Pyctr, monkeypatch: pytest.MonkeyPatch
) -> None:
    pyctr("run", "-d", "--name", "c", "base", "sleep", "100000000000000")
    monkeypatch.setenv("COLUMNS", "20")
    assert "sleep 100000000000000" in pyctr.out("top", "c")
