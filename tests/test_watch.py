# SPDX-License-Identifier: MIT
"""--watch in a real terminal: tmux shows what a person would see."""

from __future__ import annotations

import os
import shutil
import subprocess
from typing import Iterator

import pytest
from support import LINUX, Holder, Project, Tool, ended, wait_for_waiter, wait_until

pytestmark = pytest.mark.skipif(not LINUX, reason="needs /proc to see what lives")

PROMPT = "prompt$"


class Window:
    """A tmux server with one window, a shell in the project in it."""

    def __init__(self, project: Project, columns: int = 80, rows: int = 20) -> None:
        tmux = shutil.which("tmux")
        if tmux is None:
            if os.environ.get("SEQEXEC_TEST_CLIENTS") == "1":
                pytest.fail("tmux is not installed")
            pytest.skip("tmux is not installed")
        self.base = [tmux, "-S", str(project.path.parent / "tmux"), "-f", "/dev/null"]
        self.environment = dict(project.environment, TERM="xterm-256color", PS1=PROMPT, SHELL="/bin/sh")
        size = ["-x", str(columns), "-y", str(rows)]
        self.call("new-session", "-d", "-s", "w", *size, "-c", str(project.path), "/bin/sh")
        self.call("set-option", "-g", "status", "off")
        self.expect(PROMPT)

    def call(self, *words: str) -> str:
        done = subprocess.run([*self.base, *words], env=self.environment, stdout=subprocess.PIPE, check=True)
        return done.stdout.decode()

    def keys(self, *names: str) -> None:
        self.call("send-keys", "-t", "w", *names)

    def line(self, text: str) -> None:
        self.call("send-keys", "-t", "w", "-l", text)
        self.keys("Enter")

    def screen(self, *flags: str) -> str:
        return self.call("capture-pane", "-p", "-t", "w", *flags)

    def expect(self, text: str) -> None:
        wait_until(lambda: text in self.screen(), "the window shows %r" % text)

    def asks(self, name: str) -> str:
        """Return what tmux knows of the pane: alternate_on, cursor_flag, ..."""
        return self.call("display-message", "-p", "-t", "w", "#{%s}" % name).strip()

    def close(self) -> None:
        subprocess.run([*self.base, "kill-server"], env=self.environment, stderr=subprocess.DEVNULL)


@pytest.fixture
def window(project: Project) -> Iterator[Window]:
    made = Window(project)
    try:
        yield made
    finally:
        made.close()


@pytest.fixture
def holder(project: Project, seqexec: Tool) -> Holder:
    return Holder(project, seqexec)


def test_it_shows_who_comes_and_goes_and_fits_the_window(
    project: Project, seqexec: Tool, window: Window, holder: Holder
) -> None:
    window.line("%s --watch" % seqexec.path)
    window.expect("PID %d" % holder.pid)
    waiter = project.start(seqexec.wrap(["echo", "日本語 e\u0301 " + "x" * 200]))
    wait_for_waiter(project.state, waiter)
    window.expect("waits 1  PID %d" % waiter.pid)
    window.expect("日本語")
    assert window.screen().count("project  ") == 1
    window.call("resize-window", "-t", "w", "-x", "50", "-y", "10")
    wait_until(lambda: all(len(line) <= 50 for line in window.screen().splitlines()))
    window.expect("waits 1  PID %d" % waiter.pid)
    assert window.screen().count("PID %d" % waiter.pid) == 1
    window.call("resize-window", "-t", "w", "-x", "120", "-y", "20")
    wait_until(lambda: any(len(line) > 85 for line in window.screen().splitlines()), "the wide window is used")
    holder.release()
    ended(waiter)
    window.expect("nothing runs")
    window.keys("q")
    window.expect(PROMPT)


@pytest.mark.parametrize("key", ["q", "C-c"])
def test_it_ends_with_a_key_and_leaves_the_terminal_as_it_was(
    project: Project, seqexec: Tool, window: Window, key: str
) -> None:
    window.line("echo before; stty -g >before; %s --watch; echo status $?; stty -g >after" % seqexec.path)
    window.expect("nothing runs")
    assert (window.asks("alternate_on"), window.asks("cursor_flag")) == ("1", "0")
    window.keys("C-z", key)  # it leaves no unreadable screen behind; one read has both
    window.expect("status 0")
    shown = window.screen()
    assert "before" in shown and "nothing runs" not in shown
    assert (window.asks("alternate_on"), window.asks("cursor_flag")) == ("0", "1")
    wait_until((project.path / "after").exists)
    wait_until(lambda: (project.path / "after").read_text())
    assert (project.path / "after").read_text() == (project.path / "before").read_text()


def test_without_a_terminal_it_says_what_to_use(project: Project, seqexec: Tool) -> None:
    result = project.run([seqexec.path, "--watch"])
    assert (result.returncode, result.stdout) == (125, b"")
    assert result.stderr.count(b"\n") == 1 and b"--status" in result.stderr


def test_the_status_is_coloured_on_a_terminal_only(
    project: Project, seqexec: Tool, window: Window, holder: Holder
) -> None:
    window.line("%s --status" % seqexec.path)
    window.expect("PID %d" % holder.pid)
    assert "\x1b[1m" in window.screen("-e")
    window.line("clear; NO_COLOR=1 %s --status; %s --status | cat" % (seqexec.path, seqexec.path))
    wait_until(lambda: window.screen().count("PID %d" % holder.pid) == 2)
    assert "\x1b[1m" not in window.screen("-e")
    holder.release()


def test_the_waiting_line_is_one_line_that_goes_away(
    project: Project, seqexec: Tool, window: Window, holder: Holder
) -> None:
    window.line("clear; %s echo done" % seqexec.path)
    window.expect("waiting, 1 of 1")
    wait_until(lambda: ", running for " in window.screen(), "80 columns are enough to say since when")
    before = window.screen()
    wait_until(lambda: window.screen() != before, "it updates itself")
    assert window.screen().count("waiting") == 1
    holder.release()
    window.expect("done")
    assert "waiting" not in window.screen()


def test_columns_line_up_with_wide_and_combining_characters(
    project: Project, seqexec: Tool, holder: Holder
) -> None:
    waiters = []
    for word in ("日本語" * 20, "e\u0301" * 60, "plain " * 20):
        waiters.append(project.start(seqexec.wrap(["echo", word])))
        wait_for_waiter(project.state, waiters[-1])
    result = project.run([seqexec.path, "--status"])
    lines = [line for line in result.stdout.decode().splitlines() if "PID" in line]
    assert len({line.index("PID") for line in lines}) == 1
    assert len({line.index("echo") for line in lines[1:]}) == 1
    cells = [sum(0 if c == "\u0301" else 2 if ord(c) > 0x2E80 else 1 for c in line) for line in lines[1:]]
    assert all(78 <= each <= 80 for each in cells), cells
    assert all(line.endswith("...") for line in lines[1:])
    holder.release()
    assert [ended(waiter) for waiter in waiters] == [0, 0, 0]
