# SPDX-License-Identifier: MIT
"""Make tests/picture.svg: three real terminals in one checkout, one command runs, two wait.

A tmux of its own with three windows, in a scratch checkout with copies of the tools; what `capture-pane -e`
gives is drawn as it is. Needs tmux, git and make; takes half a minute, since the estimate that is to be seen
comes from earlier runs.

    picture.py [FILE]
"""

import os
import re
import shutil
import subprocess
import sys
import tempfile
import time
import unicodedata
from html import escape

ROOT = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
COLUMNS, ROWS = 104, 5
CELL, LINE, SIZE = 8.43, 19, 14  # pixels: a character's width, a line's height, the font's size
TITLE, MARGIN = 26, 12
MAKEFILE = """\
test:
\t@for each in cart price stock; do echo "test_$$each.py ....... ok"; sleep 2.5; done
lint:
\t@sleep 1; echo "no complaints"
"""
COMMANDS = ["./seqexec.py make test", "./seqexec.py make lint", "./seqexec.py git commit -qm 'Round prices up'"]
SHOWN = ["price.py", "waiting, 1 of 2", "waiting, 2 of 2"]
COLOURS = "#3b4252 #bf616a #a3be8c #ebcb8b #81a1c1 #b48ead #88c0d0 #e5e9f0".split()
BACK, FRONT, BAR, EDGE = "#20242c", "#d8dee9", "#363c48", "#4c566a"


class Session:
    """A tmux server of its own, gone at the end."""

    def __init__(self, directory, environment):
        self.base = ["tmux", "-S", os.path.join(directory, "tmux"), "-f", "/dev/null"]
        self.environment = environment

    def call(self, *words):
        done = subprocess.run(self.base + list(words), env=self.environment, stdout=subprocess.PIPE, check=True)
        return done.stdout.decode()

    def window(self, name, directory):
        size = ["-x", str(COLUMNS), "-y", str(ROWS)]
        self.call("new-session", "-d", "-s", name, *size, "-c", directory, "sh")
        self.call("set-option", "-t", name, "status", "off")

    def type(self, name, text):
        self.call("send-keys", "-t", name, "-l", text)
        self.call("send-keys", "-t", name, "Enter")

    def screen(self, name, *flags):
        return self.call("capture-pane", "-p", "-t", name, *flags)

    def expect(self, name, text):
        deadline = time.monotonic() + 60
        while text not in self.screen(name):
            if time.monotonic() > deadline:
                sys.exit("window %s never showed %r:\n%s" % (name, text, self.screen(name)))
            time.sleep(0.05)


def cells(text):
    """Yield (column, text, style) for every run of like characters of a captured line."""
    # \x1b[1mproject  /home/me/shop\x1b[0m
    style = {"bold": False, "dim": False, "colour": FRONT}
    column = 0
    for part in re.split(r"(\x1b\[[\d;]*m)", text):
        if part.startswith("\x1b["):
            for number in part[2:-1].split(";"):
                change(style, int(number or 0))
        elif part:
            yield column, part, dict(style)
            column += sum(width(each) for each in part)


def change(style, number):
    if number == 0:
        style.update(bold=False, dim=False, colour=FRONT)
    elif number in (1, 2):
        style["bold" if number == 1 else "dim"] = True
    elif 30 <= number <= 37 or 90 <= number <= 97:
        style["colour"] = COLOURS[number % 10]
    elif number == 39:
        style["colour"] = FRONT


def width(character):
    if unicodedata.combining(character):
        return 0
    return 2 if unicodedata.east_asian_width(character) in "WF" else 1


def drawn(lines, title, top, wide):
    """Return the SVG of one window, and its height."""
    height = TITLE + MARGIN * 2 + LINE * len(lines)
    frame = '<rect x="0.5" y="%.1f" width="%d" height="%d" rx="6" fill="%s" stroke="%s"/>'
    parts = [frame % (top + 0.5, wide - 1, height - 1, BACK, EDGE)]
    parts.append('<rect x="1" y="%d" width="%d" height="%d" rx="5" fill="%s"/>' % (top + 1, wide - 2, TITLE, BAR))
    parts.append('<text x="%d" y="%d" fill="%s">%s</text>' % (MARGIN, top + 18, FRONT, escape(title)))
    for number, line in enumerate(lines):
        for column, text, style in cells(line):
            if not text.strip():
                continue
            look = ' font-weight="bold"' if style["bold"] else ""
            look += ' opacity="0.6"' if style["dim"] else ""
            place = MARGIN + column * CELL, top + TITLE + MARGIN + LINE * number + 14
            length = sum(width(each) for each in text) * CELL
            parts.append('<text x="%.1f" y="%.1f" textLength="%.1f" fill="%s"%s>%s</text>' % (
                *place, length, style["colour"], look, escape(text)))
    return "\n".join(parts), height


def picture(screens):
    """Return the SVG of some screens, one below the other."""
    wide = int(COLUMNS * CELL + MARGIN * 2)
    parts, top = [], 0
    for number, screen in enumerate(screens, 1):
        text, height = drawn(screen, "terminal %d" % number, top, wide)
        parts.append(text)
        top += height + 8
    head = '<svg xmlns="http://www.w3.org/2000/svg" width="%d" height="%d" viewBox="0 0 %d %d"\n' % (
        wide, top, wide, top)
    head += ' font-family="DejaVu Sans Mono, Menlo, Consolas, monospace" font-size="%d" xml:space="preserve">\n' % SIZE
    return head + "\n".join(parts) + "\n</svg>\n"


def shop(directory, environment):
    """Make the checkout, and the earlier runs of two commands in it."""
    path = os.path.join(directory, "shop")
    os.mkdir(path)
    for name in "seqexec.py", "memmon.py":
        shutil.copy(os.path.join(ROOT, name), path)
    with open(os.path.join(path, "Makefile"), "w") as stream:
        stream.write(MAKEFILE)

    def run(*words):
        subprocess.run(words, cwd=path, env=environment, stdout=subprocess.DEVNULL, check=True)

    run("git", "init", "-q", "-b", "main")
    run("git", "add", "-A")
    for _ in range(5):
        run("./seqexec.py", "make", "test")
        run("./seqexec.py", "make", "lint")
    return path


def main(arguments):
    target = arguments[0] if arguments else os.path.join(ROOT, "tests", "picture.svg")
    directory = tempfile.mkdtemp(prefix="seqexec-picture-")
    environment = {"PATH": os.environ["PATH"], "HOME": directory, "TERM": "xterm-256color", "LANG": "C.UTF-8"}
    environment.update(SEQEXEC_DIR=os.path.join(directory, "state"), PS1="shop$ ", SHELL="/bin/sh")
    for role in "AUTHOR", "COMMITTER":
        environment.update({"GIT_%s_NAME" % role: "me", "GIT_%s_EMAIL" % role: "me@example.org"})
    session = Session(directory, environment)
    try:
        path = shop(directory, environment)
        for number, command in enumerate(COMMANDS):
            name = "t%d" % number
            session.window(name, path)
            session.expect(name, "shop$")
            session.type(name, command)
            session.expect(name, (SHOWN[0].replace("price", "cart"), SHOWN[1].replace("2", "1"), SHOWN[2])[number])
        for number, text in enumerate(SHOWN):
            session.expect("t%d" % number, text)
        screens = [session.screen("t%d" % number, "-e").rstrip("\n").split("\n") for number in range(3)]
    finally:
        subprocess.run(session.base + ["kill-server"], stderr=subprocess.DEVNULL, env=environment)
        shutil.rmtree(directory, ignore_errors=True)
    with open(target, "w", encoding="utf-8") as stream:
        stream.write(picture([screen[:ROWS] for screen in screens]))
    print("\n\n".join("\n".join(screen) for screen in screens))
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
