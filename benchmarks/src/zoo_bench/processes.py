"""Several processes as one: launched on this machine, counted, and sharing the work of a benchmark in pinned chunks.

`--processes N` starts N copies of the very command through torch's own launcher. `torchrun` and `accelerate launch`
start the copies themselves, on one machine or on several; each finds itself among the others by torch's environment
variables, and a count that is not the expected one is an error, never a silent run on one process.
"""

from __future__ import annotations

import atexit
import contextlib
import gc
import logging
import os
import shutil
import signal
import sys
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, TypeVar

import torch
from accelerate import PartialState
from accelerate.utils import broadcast_object_list, gather_object
from torch import Tensor

from zoo_core.errors import ZooError

T = TypeVar("T")

GO_ON = {
    "train": "what had been written remains (--resume continues from the last checkpoint)",
    "bench": "finished cards remain (the same command continues)",
}


class Disconnected(ZooError):
    """Another process of this run is gone: nothing that needs all of them can go on."""


@contextlib.contextmanager
def connected() -> Iterator[None]:
    """Around what all processes do together: one that is gone is told as such, not as the library's failure."""
    try:
        yield
    except RuntimeError as error:
        if start().num_processes > 1 and ("gloo" in str(error) or isinstance(error, torch.distributed.DistError)):
            raise Disconnected("the connection to another process of this run is lost") from error
        raise


def start() -> PartialState:
    """This process among those that were launched with it; `ZooError` unless all of them run together.

    Without a GPU Accelerate would run each launched process alone, so it is told to use the CPU.
    """
    launched = int(os.environ.get("WORLD_SIZE", "1"))
    ours = torch.distributed.is_available() and not torch.distributed.is_initialized()
    state = PartialState(cpu=launched > 1 and not torch.cuda.is_available())
    if state.num_processes != launched:
        raise ZooError(
            f"{launched} processes were launched, but Accelerate runs {state.num_processes}; something else in this "
            "program set up its state before the training (restart it, and train first)"
        )
    if launched > 1 and ours:
        atexit.register(_leave)
    return state


def _leave() -> None:
    """Ends the group while Python still runs: a thread of gloo that drops its last tensor later aborts the process."""
    if torch.distributed.is_initialized():
        torch.distributed.destroy_process_group()
    gc.collect()  # wrapped models lie in cycles, and hold the group


def device() -> torch.device:
    """Where this process evaluates: its GPU, else the CPU (Apple's MPS has no float64, which likelihoods need)."""
    state = start()
    return state.device if state.device.type == "cuda" else torch.device("cpu")


def is_main() -> bool:
    """Whether this process writes files and speaks. Asks the environment only, so it costs nothing."""
    return int(os.environ.get("RANK", "0")) == 0


def share(count: int, compute: Callable[[int], Tensor]) -> list[Tensor]:
    """Every chunk on every process, in order; process r computes chunks r, r + N, ... An error of one is of all."""
    state = start()
    if state.num_processes == 1:
        return [compute(c) for c in range(count)]
    mine: list[tuple[int, Tensor]] = []
    trouble = None
    try:
        mine = [(c, compute(c).cpu()) for c in range(state.process_index, count, state.num_processes)]
    except (ZooError, RuntimeError) as error:
        trouble = error
    with connected():
        gathered = gather_object([(mine, None if trouble is None else str(trouble))])
    if trouble is not None:
        raise trouble
    if troubles := [text for _, text in gathered if text]:
        raise ZooError(f"another process failed: {troubles[0]}")
    return [chunk for _, chunk in sorted((pair for pairs, _ in gathered for pair in pairs), key=lambda pair: pair[0])]


def decided(decide: Callable[[], T]) -> T:
    """What `decide()` returns on the main process, on every process: for answers that depend on files."""
    if start().num_processes == 1:
        return decide()
    answer: list[Any] = [None, None]
    if is_main():
        try:
            answer[0] = decide()
        except ZooError as error:
            answer[1] = error
    with connected():
        broadcast_object_list(answer)
    if answer[1] is not None:
        raise answer[1]
    return answer[0]


def must_launch(processes: int | None) -> bool:
    """Whether this command has yet to be started `processes` times; `ZooError` for a number that cannot be."""
    if processes is None:
        return False
    if "WORLD_SIZE" in os.environ:  # started by this launcher, or by torchrun on any number of machines
        if int(os.environ["WORLD_SIZE"]) != processes:
            raise ZooError(
                f"--processes {processes}, but {os.environ['WORLD_SIZE']} were launched; leave one of them out"
            )
        return False
    kind, most = "GPU", torch.cuda.device_count()
    if not most:
        kind, most = "CPU core", _cores()
    if not 1 <= processes <= most:
        plural = "" if most == 1 else "s"
        raise ZooError(f"--processes {processes}: expected 1 to {most}; this machine has {most} {kind}{plural}")
    return processes > 1


def launch(processes: int, arguments: list[str]) -> int:
    """Run `zoo ARGUMENTS` as so many processes on this machine; the exit status. One that fails ends them all."""
    from torch.distributed.elastic.multiprocessing.api import DefaultLogsSpecs, SignalException, Std
    from torch.distributed.elastic.multiprocessing.errors import ChildFailedError
    from torch.distributed.launcher.api import LaunchConfig, elastic_launch

    os.environ.setdefault("OMP_NUM_THREADS", str(max(1, _cores() // processes)))
    logging.disable(logging.CRITICAL)  # this process only launches, and says below what torch's launcher would
    logs = tempfile.mkdtemp(prefix="zoo-processes-")
    others = dict.fromkeys(range(1, processes), Std.ALL)  # to files: the main process speaks for all
    config = LaunchConfig(
        min_nodes=1,
        max_nodes=1,
        nproc_per_node=processes,
        run_id="zoo",
        rdzv_backend="c10d",
        rdzv_endpoint="localhost:0",
        max_restarts=0,
        logs_specs=DefaultLogsSpecs(log_dir=logs, redirects=others),
    )
    try:
        elastic_launch(config, sys.executable)("-m", "zoo_core", *arguments)
    except ChildFailedError as error:
        codes = {rank: int(failure.exitcode) for rank, failure in error.failures.items()}
        for rank, code in codes.items():
            if code < 0 and -code != signal.SIGTERM:  # which the launcher itself sends to the others
                raise ZooError(
                    f"process {rank} of {processes} was ended by {signal.Signals(-code).name}, so the others were "
                    f"ended too; {GO_ON.get(arguments[0], 'nothing was written')}"
                ) from None
        if codes.get(0, 0) > 0:
            return codes[0]  # it has said why
        rank, first = error.get_first_failure()
        said = "".join(path.read_text() for path in Path(logs).glob(f"**/{rank}/stderr.log"))
        sys.stderr.write(f"process {rank} of {processes}: {said}")
        return int(first.exitcode)
    except SignalException:
        return 130
    finally:
        shutil.rmtree(logs, ignore_errors=True)
    return 0


def _cores() -> int:
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
