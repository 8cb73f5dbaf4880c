"""Python that has imported torch and the harness: what is asked of it runs in a fork, which need not import them again.

    with Forks() as forks:
        done = forks.run(["-m", "zoo_core", "list"], folder)   # or [script]; CompletedProcess, as from subprocess.run

The imports take some three seconds and the pages show over a hundred commands and pieces of Python. This file is also
the process that forks: it reads requests from its standard input, a line of JSON each, and answers by exit codes.
"""

from __future__ import annotations

import json
import os
import runpy
import signal
import subprocess
import sys
import traceback
from pathlib import Path
from types import TracebackType
from typing import Self

PRELOADED = ("torch", "accelerate", "matplotlib", "zoo_core.cli", "zoo_core.weights", "zoo_bench")
LIMIT = 240  # seconds


class Forks:
    """The process that forks, as long as the `with` lasts."""

    def __enter__(self) -> Self:
        env = {**os.environ, "OMP_NUM_THREADS": "1"}  # a process with threads cannot be forked safely
        command = [sys.executable, __file__]
        self.process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, env=env)
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        assert self.process.stdin
        self.process.stdin.close()
        self.process.wait()

    def run(self, arguments: list[str], folder: Path) -> subprocess.CompletedProcess[str]:
        """`python *arguments` in `folder`: `-m MODULE …` or a script."""
        assert self.process.stdin
        assert self.process.stdout
        out, err = folder / ".stdout", folder / ".stderr"
        request = {"arguments": arguments, "folder": str(folder), "out": str(out), "err": str(err)}
        print(json.dumps(request), file=self.process.stdin, flush=True)
        code = int(self.process.stdout.readline())
        return subprocess.CompletedProcess(arguments, code, out.read_text(), err.read_text())


def serve() -> None:
    """Fork for each request, and wait for it."""
    for name in PRELOADED:
        __import__(name)
    for line in sys.stdin:
        child = os.fork()
        if not child:
            work(**json.loads(line))
        code = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
        print(code, flush=True)


def work(arguments: list[str], folder: str, out: str, err: str) -> None:
    """What a fork does: `python *arguments`, and no return."""
    signal.alarm(LIMIT)
    os.chdir(folder)
    for number, path in ((0, os.devnull), (1, out), (2, err)):
        os.dup2(os.open(path, os.O_RDWR | os.O_CREAT | os.O_TRUNC, 0o644), number)
    code = 0
    try:
        if arguments[0] == "-m":
            sys.argv = arguments[1:]
            runpy.run_module(arguments[1], run_name="__main__", alter_sys=True)
        else:
            sys.argv = arguments
            runpy.run_path(arguments[0], run_name="__main__")
    except SystemExit as end:
        code = end.code if isinstance(end.code, int) else int(end.code is not None)
    except BaseException:
        traceback.print_exc()
        code = 1
    finally:
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(code)


if __name__ == "__main__":
    serve()
