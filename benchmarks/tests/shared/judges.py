"""Three alternatives to judge between, and `zoo judge` as a process."""

from __future__ import annotations

import re
import subprocess
import sys

NAMES = ["zebrafish", "wombat", "okapi"]
SERVE = "from zoo_bench.commands.judge import judge; judge(standalone_mode=False)"


def start(*arguments: object) -> tuple[subprocess.Popen[str], str]:
    """`zoo judge` as a process of its own, and the address that it prints."""
    command = [sys.executable, "-c", SERVE, *map(str, arguments), "--no-browser"]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    assert process.stdout
    lines = []
    for line in process.stdout:
        lines.append(line)
        if found := re.search(r"http://\S+", line):
            return process, found[0]
    raise AssertionError("".join(lines) + (process.stderr.read() if process.stderr else ""))
