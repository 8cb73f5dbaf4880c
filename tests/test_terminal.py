"""On a terminal of 80 columns, what `zoo` lists and how it helps is whole: no word is broken, no sentence cut off."""

from __future__ import annotations

import fcntl
import os
import struct
import subprocess
import sys
import termios

import pytest
from click.testing import CliRunner

import zoo_core
from zoo_core.cli import main
from zoo_core.commands import output


def help_of(command: str, columns: int) -> str:
    """`zoo COMMAND --help`; that of `zoo` itself for ""."""
    arguments = [*([command] if command else []), "--help"]
    done = CliRunner().invoke(main, arguments, terminal_width=columns, max_content_width=columns)
    assert done.exit_code == 0, done.output
    return done.output


def commands() -> list[str]:
    """The core's and the plugins'."""
    found = main.list_commands(main.make_context("zoo", ["list"]))
    assert {"list", "sample", "train", "bench", "judge"} <= set(found)
    return found


@pytest.mark.parametrize("command", ["", *commands()])
def test_help_is_made_of_whole_words(command: str) -> None:
    text = help_of(command, 80)
    assert text.split() == help_of(command, 1000).split()
    assert max(map(len, text.splitlines())) <= 80


def test_the_list_of_commands_has_a_whole_sentence_for_each() -> None:
    text = " ".join(help_of("", 80).split())
    for command in commands():
        found = main.get_command(main.make_context("zoo", ["list"]), command)
        assert found is not None and found.help is not None
        sentence = " ".join(found.help.partition(".\n")[0].split()).partition(". ")[0]
        assert sentence.rstrip(".") in text
    assert "..." not in text.partition("Commands:")[2]


def on_terminal(columns: int, *arguments: str) -> str:
    """What `zoo` prints on a terminal."""
    ours, its = os.openpty()
    fcntl.ioctl(its, termios.TIOCSWINSZ, struct.pack("HHHH", 24, columns, 0, 0))
    env = {key: value for key, value in os.environ.items() if key not in ("COLUMNS", "LINES")}
    with subprocess.Popen([sys.executable, "-m", "zoo_core", *arguments], stdout=its, env=env) as process:
        os.close(its)
        said = b""
        while part := _read(ours):
            said += part
    os.close(ours)
    assert process.returncode == 0
    return said.decode().replace("\r\n", "\n")


def _read(terminal: int) -> bytes:
    try:
        return os.read(terminal, 65536)
    except OSError:  # how Linux tells that nobody writes any more
        return b""


@pytest.mark.parametrize(
    "arguments", [("list",), ("list", "--pretrained"), ("plugins",), ("show", "made")], ids=" ".join
)
def test_lines_end_between_words(arguments: tuple[str, ...]) -> None:
    piped = subprocess.run([sys.executable, "-m", "zoo_core", *arguments], capture_output=True, text=True, check=True)
    shown = on_terminal(80, *arguments)
    assert sorted(shown.split()) == sorted(piped.stdout.split())
    if arguments != ("show", "made"):  # which shows a config as it is written
        assert max(map(len, shown.splitlines())) <= 80


def test_a_piped_list_has_a_line_for_each_model() -> None:
    done = subprocess.run([sys.executable, "-m", "zoo_core", "list"], capture_output=True, text=True, check=True)
    head, *rows = done.stdout.splitlines()
    assert head.split()[:2] == ["MODEL", "FAMILY"]
    assert [row.split()[0] for row in rows] == zoo_core.list_models()
    assert all(row.endswith(zoo_core.spec(row.split()[0]).summary) for row in rows)


def test_what_does_not_fit_is_wrapped_and_the_last_column_stands_below(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(output, "_width", lambda: 22)
    output.table(("NAME", "TAGS", "WHAT"), ("a", "one two three-and-four", "five six seven eight"), ("b", "", "ten"))
    assert capsys.readouterr().out.splitlines() == [
        "NAME  TAGS",
        "    WHAT",
        "a     one two",
        "      three-and-four",
        "    five six seven",
        "    eight",
        "b",
        "    ten",
    ]
    monkeypatch.setattr(output, "_width", lambda: 10)  # a word that is wider stays whole
    output.table(("a", "x" * 30, "y"))
    assert capsys.readouterr().out.splitlines() == ["a  " + "x" * 30, "    y"]
