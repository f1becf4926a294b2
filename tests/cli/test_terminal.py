"""A terminal that is shared with a container: its size, its modes, leaving it, jobs."""

from __future__ import annotations

import fcntl
import os
import select
import signal
import subprocess
import termios

import pytest

from tests.terminals import Terminal
from tests.watch import is_gone, monitor_of, until

TYPE_CHECKING = False
if TYPE_CHECKING:
    from tests.conftest import Pyctr

SIZES = "trap 'echo size $(stty size).' WINCH; echo size $(stty size).; while :; do sleep 0.1; done"
PROMPT = ("-e", "PS1=> ", "base", "sh")


def running(pyctr: Pyctr, name: str) -> bool:
    return pyctr.out("inspect", "--format", "{{.State.Running}}", name) == "true"


# -- size ----------------------------------------------------------------------------------


def test_run_has_the_size_of_the_window_and_follows_it(pyctr: Pyctr) -> None:
    terminal = Terminal(
        pyctr.argv("run", "-it", "--name", "c", "base", "sh", "-c", SIZES), (91, 17)
    )
    terminal.expect(b"size 17 91.")
    terminal.resize(100, 30)
    terminal.expect(b"size 30 100.")
    terminal.type(b"\x10\x11")
    assert terminal.end() == 0


def test_attach_brings_the_size_of_its_window_and_has_programs_draw_again(pyctr: Pyctr) -> None:
    pyctr("run", "-dit", "--name", "c", "base", "sh", "-c", SIZES)
    terminal = Terminal(pyctr.argv("attach", "c"), (101, 31))
    terminal.expect(b"size 31 101.")
    terminal.resize(90, 20)
    terminal.expect(b"size 20 90.")
    terminal.type(b"\x10\x11")
    assert terminal.end() == 1
    again = Terminal(pyctr.argv("attach", "c"), (90, 20))
    again.expect(b"size 20 90.")  # the same as before, but the program was told
    again.type(b"\x10\x11")
    again.end()
    pyctr("kill", "c")
    late = Terminal(pyctr.argv("start", "-ai", "c"), (72, 19))
    late.expect(b"size 19 72.")
    late.type(b"\x10\x11")
    assert late.end() == 0


def test_exec_has_the_size_of_the_window_and_follows_it(pyctr: Pyctr) -> None:
    pyctr("run", "-d", "--name", "c", "base", "sleep", "1000")
    terminal = Terminal(pyctr.argv("exec", "-it", "c", "sh", "-c", SIZES), (92, 18))
    terminal.expect(b"size 18 92.")
    terminal.resize(99, 29)
    terminal.expect(b"size 29 99.")
    terminal.type(b"\x10\x11")
    terminal.end()


def test_who_has_no_terminal_leaves_the_size_alone(pyctr: Pyctr) -> None:
    pyctr("run", "-dt", "--name", "c", "base", "sh", "-c", SIZES)
    sized = Terminal(pyctr.argv("attach", "--no-stdin", "c"), (81, 21))
    sized.expect(b"size 21 81.")
    other = subprocess.Popen(
        pyctr.argv("attach", "c"),
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        start_new_session=True,
    )
    pyctr("exec", "c", "sh", "-c", "echo here > /dev/console")
    sized.expect(b"here")
    sized.resize(82, 22)
    sized.expect(b"size 22 82.")
    assert b"size 0 0" not in sized.seen
    other.kill()
    other.wait()
    sized.signal(signal.SIGINT)
    assert sized.end() == 130


# -- the modes of the terminal come back -----------------------------------------------------


def shell(pyctr: Pyctr, *command: str) -> Terminal:
    terminal = Terminal(pyctr.argv(*command))
    terminal.expect(b"> ")
    assert terminal.is_raw
    return terminal


def test_the_terminal_is_restored_after_the_end(pyctr: Pyctr) -> None:
    terminal = shell(pyctr, "run", "-it", "--rm", *PROMPT)
    terminal.type(b"exit 7\n")
    assert terminal.code() == 7
    assert terminal.is_restored
    terminal.close()


def test_the_terminal_is_restored_after_detaching(pyctr: Pyctr) -> None:
    terminal = shell(pyctr, "run", "-it", "--name", "c", *PROMPT)
    terminal.type(b"\x10\x11")
    assert terminal.code() == 0
    assert terminal.is_restored
    assert terminal.seen.endswith(b"read escape sequence\r\n"), "told when it is itself again"
    terminal.close()


def test_the_terminal_is_restored_after_an_error(pyctr: Pyctr) -> None:
    terminal = Terminal(pyctr.argv("run", "-it", "--rm", "base", "nosuch"))
    assert terminal.code() == 127
    assert terminal.is_restored
    assert b"hint:" in terminal.seen and b"\n  hint" in terminal.seen.replace(b"\r", b"")
    terminal.close()


@pytest.mark.parametrize("name", ["TERM", "HUP", "INT", "QUIT", "USR1", "ALRM"])
def test_the_terminal_is_restored_when_a_signal_ends_the_command(pyctr: Pyctr, name: str) -> None:
    terminal = shell(pyctr, "run", "-it", "--name", "c", *PROMPT)
    number = signal.Signals[f"SIG{name}"]
    terminal.signal(number)
    assert terminal.code() == -number, "it ends as the signal wants"
    assert terminal.is_restored
    terminal.close()
    assert running(pyctr, "c"), "with a terminal, signals are not for the program"


def test_the_terminal_is_restored_when_a_signal_comes_while_it_starts(pyctr: Pyctr) -> None:
    pyctr("create", "-it", "--name", "c", *PROMPT)
    folder = pyctr.out("inspect", "-f", "{{.LogPath}}", "c").rpartition("/")[0]
    with open(f"{folder}/lock", "w") as held:  # so that the start waits
        fcntl.flock(held, fcntl.LOCK_EX)
        terminal = Terminal(pyctr.argv("start", "-ai", "c"))
        terminal.wait(lambda: terminal.is_raw, "the terminal to be raw")
        terminal.signal(signal.SIGTERM)
        assert terminal.code() == -signal.SIGTERM
        assert terminal.is_restored
        terminal.close()


def test_the_terminal_is_restored_when_the_monitor_is_killed(pyctr: Pyctr) -> None:
    terminal = shell(pyctr, "run", "-it", "--name", "c", *PROMPT)
    os.kill(monitor_of(pyctr, "c"), signal.SIGKILL)
    assert terminal.code() == 137
    assert terminal.is_restored
    assert b"monitor" in terminal.seen
    terminal.close()
    assert pyctr.out("inspect", "-f", "{{.State.Status}} {{.State.ExitCode}}", "c") == "exited 137"


def test_the_terminal_is_restored_when_nobody_reads_the_output(pyctr: Pyctr) -> None:
    read, write = os.pipe()
    terminal = Terminal(
        pyctr.argv("run", "-it", "--name", "c", "base", "sh", "-c", "read x; yes"), stdout=write
    )
    os.close(write)
    terminal.wait(lambda: terminal.is_raw, "the terminal to be raw")
    os.close(read)
    terminal.type(b"\n")
    assert terminal.code() == 128 + signal.SIGPIPE
    assert terminal.is_restored
    terminal.close()


def test_exec_restores_the_terminal_as_well(pyctr: Pyctr) -> None:
    pyctr("run", "-d", "--name", "c", "base", "sleep", "1000")
    terminal = shell(pyctr, "exec", "-it", "-e", "PS1=> ", "c", "sh")
    terminal.signal(signal.SIGTERM)
    assert terminal.code() == -signal.SIGTERM
    assert terminal.is_restored
    terminal.close()


def test_a_closed_window_leaves_the_container_running(pyctr: Pyctr) -> None:
    terminal = shell(pyctr, "run", "-it", "--name", "c", *PROMPT)
    terminal.close()
    again = Terminal(pyctr.argv("attach", "c"))
    again.type(b"echo $((6 * 7))\n")
    again.expect(b"42")
    again.type(b"exit 3\n")
    assert again.end() == 3


# -- jobs ----------------------------------------------------------------------------------


def test_a_stopped_command_gives_the_terminal_back_and_takes_it_again(pyctr: Pyctr) -> None:
    terminal = Terminal(
        pyctr.argv("run", "-it", "--name", "c", "base", "sh", "-c", SIZES), (80, 24)
    )
    terminal.expect(b"size 24 80.")
    assert terminal.is_raw
    terminal.signal(signal.SIGTSTP)
    terminal.stopped()
    assert terminal.is_restored
    assert running(pyctr, "c"), "the container goes on"
    terminal.resize(70, 20)
    terminal.go_on()
    terminal.expect(b"size 20 70.")
    assert terminal.is_raw
    terminal.signal(signal.SIGSTOP)  # this one cannot be caught: the shell has to mend the modes
    terminal.stopped()
    terminal.go_on()
    terminal.wait(lambda: terminal.is_raw, "the terminal to be raw again")
    terminal.type(b"\x10\x11")
    assert terminal.code() == 0
    assert terminal.is_restored
    terminal.close()


def test_a_background_job_that_is_killed_leaves_the_terminal_to_the_shell(pyctr: Pyctr) -> None:
    terminal = shell(pyctr, "run", "-it", "--name", "c", *PROMPT)
    terminal.signal(signal.SIGTSTP)
    terminal.stopped()
    changed = termios.tcgetattr(terminal.fd)
    changed[3] &= ~termios.ECHO  # what a shell does while its user edits a line
    termios.tcsetattr(terminal.fd, termios.TCSANOW, changed)
    terminal.signal(signal.SIGTERM)
    terminal.signal(signal.SIGCONT)
    until(lambda: is_gone(terminal.pid), "it is gone")
    assert termios.tcgetattr(terminal.fd) == changed
    terminal.go_on()  # the shell waits for it
    assert terminal.code() == -signal.SIGTERM
    terminal.close()


# -- leaving -------------------------------------------------------------------------------


def test_leaving_says_so_and_has_dockers_exit_codes(pyctr: Pyctr) -> None:
    pyctr("create", "-it", "--name", "c", *PROMPT)
    for command, code in (("start -ai c", 0), ("attach c", 1), ("start -i c", 0)):
        terminal = Terminal(pyctr.argv(*command.split()))
        terminal.wait(lambda t=terminal: t.is_raw, "the terminal to be raw")
        terminal.type(b"\n")
        terminal.expect(b"> ")
        terminal.type(b"\x10\x11")
        assert terminal.code() == code, command
        assert terminal.seen.endswith(b"read escape sequence\r\n")
        terminal.close()
        assert running(pyctr, "c")


def test_a_program_of_exec_goes_on_when_its_terminal_is_left(pyctr: Pyctr) -> None:
    pyctr("run", "-d", "--name", "c", "base", "sleep", "1000")
    count_on = "while sleep 0.1; do i=$((i + 1)); echo $i; echo $i > /count; done"
    script = f"echo $$ > /pid; echo ready; i=0; {count_on}"
    before = keepers()
    terminal = Terminal(pyctr.argv("exec", "-it", "c", "sh", "-c", script))
    terminal.expect(b"ready")
    terminal.type(b"\x10\x11")
    assert terminal.end() == 1

    def count() -> int:
        return int(pyctr("exec", "c", "cat", "/count", code=None).stdout or 0)

    first = count()
    until(lambda: count() > first, "the program counts on")
    ours = keepers() - before
    assert ours
    pyctr("exec", "c", "sh", "-c", "kill $(cat /pid)")
    until(lambda: not ours & keepers(), "nobody keeps its terminal any more")


def keepers() -> set[int]:
    """The processes that keep the terminals of programs whose exec was left."""
    found = set()
    for pid in filter(str.isdigit, os.listdir("/proc")):
        try:
            with open(f"/proc/{pid}/comm") as file:
                found |= {int(pid)} if file.read() == "pyctr:exec\n" else set()
        except OSError:
            continue
    return found


KEYS = "stty raw -echo; while :; do echo ready; dd bs=1 count=3 2>/dev/null | od -An -tx1; done"


def test_other_detach_keys(pyctr: Pyctr) -> None:
    keys = ("--detach-keys", "ctrl-x,x")
    pyctr("run", "-dit", "--name", "c", "base", "sh", "-c", KEYS)
    terminal = Terminal(pyctr.argv("attach", *keys, "c"))
    terminal.wait(lambda: terminal.is_raw, "the terminal to be raw")
    terminal.type(b"123")
    terminal.expect(b"ready")
    terminal.type(b"\x10\x11\x12")  # the usual keys are nothing special now
    terminal.expect(b"10 11 12")
    terminal.expect(b"ready")
    terminal.type(b"\x18")
    terminal.type(b"\x18")  # the first was no beginning after all
    terminal.type(b"y")
    terminal.expect(b"18 18 79")
    terminal.expect(b"ready")
    terminal.type(b"\x18")
    terminal.type(b"x")
    assert terminal.end() == 1
    terminal = Terminal(pyctr.argv("exec", "-it", "--detach-keys", "q", "c", "cat"))
    terminal.wait(lambda: terminal.is_raw, "the terminal to be raw")
    terminal.type(b"pq")
    assert terminal.end() == 1


def test_what_was_typed_before_the_detach_keys_arrives(pyctr: Pyctr) -> None:
    terminal = shell(pyctr, "run", "-it", "--name", "c", *PROMPT)
    terminal.type(b"echo typed > /file\n\x10\x11")
    assert terminal.end() == 0
    until(lambda: pyctr("exec", "c", "cat", "/file", code=None).stdout == "typed\n", "it arrives")


@pytest.mark.parametrize("command", ["run", "start", "attach", "exec"])
def test_detach_keys_that_are_none_are_refused(pyctr: Pyctr, command: str) -> None:
    for word in ("ctrl-P", "ctrl-", "pq", "a,,b"):
        ran = pyctr(command, "--detach-keys", word, "base", "true", code=125)
        assert f"invalid argument '{word}' for --detach-keys" in ran.stderr
        assert "is no key" in ran.stderr


# -- several at once -----------------------------------------------------------------------


def test_two_terminals_see_the_same_and_can_both_type(pyctr: Pyctr) -> None:
    pyctr("run", "-dit", "--name", "c", *PROMPT)
    one, two, three = (Terminal(pyctr.argv("attach", "c")) for _ in range(3))
    for terminal in (one, two, three):
        terminal.wait(lambda t=terminal: t.is_raw, "the terminal to be raw")
    one.type(b"echo from-one-$((1 + 1))\n")
    for terminal in (one, two, three):
        terminal.expect(b"from-one-2\r\n")
    two.type(b"echo from-two-$((2 + 2))\n")
    for terminal in (one, two, three):
        terminal.expect(b"from-two-4\r\n")
    one.type(b"\x10\x11")
    assert one.end() == 1
    three.signal(signal.SIGKILL)
    three.end()
    two.type(b"echo still-$((3 + 3))\n")
    two.expect(b"still-6\r\n")
    two.type(b"exit 9\n")
    assert two.end() == 9


# -- odd starts ----------------------------------------------------------------------------


def test_a_terminal_needs_a_terminal_to_type_on(pyctr: Pyctr) -> None:
    pyctr("run", "-dit", "--name", "c", *PROMPT)
    pyctr("create", "--name", "other", "base")
    for command in ("run -it --rm base true", "attach c", "exec -it c true"):
        assert "not a TTY" in pyctr(*command.split(), code=1).stderr
    assert pyctr("exec", "-t", "c", "tty").stdout == "/dev/pts/1\r\n"
    assert "no such container" in pyctr("attach", "nope", code=1).stderr


def test_a_terminal_without_input_shows_output_and_keeps_its_modes(pyctr: Pyctr) -> None:
    script = "trap 'echo got it; exit 8' INT; tty; while :; do sleep 0.1; done"
    terminal = Terminal(pyctr.argv("run", "-t", "--name", "c", "base", "sh", "-c", script))
    terminal.expect(b"/dev/pts/0")
    assert not terminal.is_raw
    terminal.type(b"\x03")  # Ctrl-C is for the command then, which passes it on
    terminal.expect(b"got it")
    assert terminal.end() == 8


def test_a_program_that_closes_its_terminal_for_a_while_is_not_hung_up(pyctr: Pyctr) -> None:
    script = "trap 'echo hup > /hup' HUP; exec 0<&- 1>&- 2>&-; sleep 1; echo back > /dev/console"
    pyctr("run", "-dt", "--name", "c", "base", "sh", "-c", f"{script}; test ! -e /hup")
    assert pyctr.out("wait", "c") == "0"
    assert pyctr("logs", "c").stdout == "back\r\n"


def test_leaving_works_while_the_output_is_not_read(pyctr: Pyctr) -> None:
    read, write = os.pipe()
    terminal = Terminal(
        pyctr.argv(
            "run", "-it", "--name", "c", "base", "sh", "-c", "yes & read x; echo $x > /x; wait"
        ),
        stdout=write,
    )
    os.close(write)
    terminal.wait(lambda: terminal.is_raw, "the terminal to be raw")
    assert select.select([read], [], [], 60)[0], "there is output, and nobody takes it"
    terminal.type(b"word\n")
    until(lambda: pyctr("exec", "c", "cat", "/x", code=None).stdout == "word\n", "input arrives")
    terminal.type(b"\x10\x11")
    assert terminal.code() == 0
    assert terminal.is_restored
    os.close(read)
    terminal.close()


def test_exec_restores_the_terminal_when_the_container_is_gone(pyctr: Pyctr) -> None:
    pyctr("run", "-d", "--name", "c", "base", "sleep", "1000")
    terminal = shell(pyctr, "exec", "-it", "-e", "PS1=> ", "c", "sh")
    os.kill(monitor_of(pyctr, "c"), signal.SIGKILL)
    assert terminal.code() == 137
    assert terminal.is_restored
    terminal.close()
