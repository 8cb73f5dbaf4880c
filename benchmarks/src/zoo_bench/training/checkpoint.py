"""A run's folder: what identifies the run, its checkpoints, its log, its weights. Everything is written atomically.

run.json                 identity (recipe, config, images), status, images seen; error if it failed
checkpoint.pt            all that a resumed training needs, with its own sha256; read with weights_only=True
checkpoint.previous.pt   the one before, until the run is finished: in case the last one is damaged
log.jsonl                one line a logging interval
grids/                   samples while training
weights/                 config.json + model.safetensors: the moving average where there is one
weights_raw/             the last weights as they are, where `weights/` holds an average
"""

from __future__ import annotations

import io
import json
import os
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch

from zoo_bench.training import sealed
from zoo_bench.training.recipe import decisive, written
from zoo_core.errors import ZooError
from zoo_core.files import atomic


class RunFolder:
    """The folder of one training run."""

    def __init__(self, path: str | Path) -> None:
        self.path = Path(path)
        self.checkpoint = self.path / "checkpoint.pt"
        self.previous = self.path / "checkpoint.previous.pt"
        self.log_file = self.path / "log.jsonl"
        self.weights = self.path / "weights"
        self.raw_weights = self.path / "weights_raw"

    def read(self) -> dict[str, Any] | None:
        """run.json, or None where there is none."""
        file = self.path / "run.json"
        if not file.exists():
            return None
        try:
            return dict(json.loads(file.read_text()))
        except (json.JSONDecodeError, TypeError, ValueError) as error:
            raise ZooError(f"{file} is damaged ({error}); choose another --out or delete the folder") from error

    def open(self, identity: dict[str, Any], *, resume: bool, overwrite: bool) -> None:
        """Claim the folder for the run `identity`; what an overwritten run left behind is removed.

        A folder that holds another run, or anything that is no run, is left as it is: `ZooError` says what differs.
        """
        if resume and overwrite:
            raise ZooError("--resume continues a run and --overwrite replaces it: give one of them")
        if self.path.exists() and not self.path.is_dir():
            raise ZooError(f"{self.path} is a file; --out must be a folder")
        held = self.read()
        if held is None:
            if self.path.exists() and set(self.path.iterdir()) - set(self._left_behind()):
                raise ZooError(f"{self.path} holds files that are no run of zoo; choose another --out")
            if resume:
                raise ZooError(f"{self.path} holds no run to resume; start one without --resume")
        elif not overwrite:
            self._must_match(held, identity)
            if held.get("status") == "finished":
                raise ZooError(
                    f"{self.path} holds this same run, finished; use its weights, or --overwrite, or another --out"
                )
            if not resume:
                raise ZooError(
                    f"{self.path} holds this run, {held.get('status')}; continue with --resume, or --overwrite it"
                )
        self.path.mkdir(parents=True, exist_ok=True)
        for path in self._left_behind():
            shutil.rmtree(path) if path.is_dir() else path.unlink()
        if overwrite:
            for file in (self.checkpoint, self.previous, self.log_file):
                file.unlink(missing_ok=True)
            for folder in (self.weights, self.raw_weights, self.path / "grids"):
                shutil.rmtree(folder, ignore_errors=True)

    def _left_behind(self) -> list[Path]:
        """Temporary files and folders, `.NAME.RANDOM`, of a process that was killed while it wrote."""
        owners = (self.path / "run.json", self.checkpoint, self.log_file, self.weights, self.raw_weights)
        found = [path for owner in owners for path in self.path.glob(f".{owner.name}.*")]
        return [*found, *self.path.glob("grids/.*")]

    def _must_match(self, held: dict[str, Any], identity: dict[str, Any]) -> None:
        there = dict(held.get("identity", {}))
        if "recipe" in there:
            there["recipe"] = decisive(written(there["recipe"], f"{self.path / 'run.json'}: recipe"))
        mine, theirs = _flat(identity), _flat(there)
        differ = [key for key in sorted({*mine, *theirs}) if mine.get(key) != theirs.get(key)]
        if differ:
            shown = ", ".join(f"{key} is {theirs.get(key)!r} there and {mine.get(key)!r} here" for key in differ[:3])
            raise ZooError(
                f"{self.path} holds another run: {shown}; choose another --out, or --overwrite to replace that run"
            )

    def describe(self, identity: dict[str, Any], status: str, **facts: Any) -> None:
        """Write run.json."""
        write_json(self.path / "run.json", {"status": status, "identity": identity, **facts})

    def log(self, values: dict[str, Any]) -> None:
        """Add a line to log.jsonl."""
        with self.log_file.open("a") as file:
            file.write(json.dumps(values) + "\n")

    def cut_log(self, images: int) -> None:
        """Forget what was logged after the checkpoint that a run resumes from."""
        if self.log_file.exists():
            lines = [line for line in self.log_file.read_text().splitlines(keepends=True) if line.endswith("}\n")]
            with atomic(self.log_file) as temporary:
                temporary.write_text("".join(line for line in lines if json.loads(line)["images"] <= images))

    def has_checkpoint(self) -> bool:
        """Whether there is anything to go on from; `find_checkpoint` says whether it is sound."""
        return self.checkpoint.exists() or self.previous.exists()

    def save_checkpoint(self, state: dict[str, Any]) -> None:
        """Write the next checkpoint. Once it is read and is what was written, the one before the last goes."""
        with atomic(self.checkpoint) as temporary:
            buffer = io.BytesIO()  # torch.save onto a full disk hides the OSError behind one of its own
            torch.save(state, buffer)
            sealed.seal(buffer)
            with temporary.open("wb") as file:
                file.write(buffer.getbuffer())
                file.flush()
                os.fsync(file.fileno())
            if sealed.state(temporary) != "sound":
                raise ZooError(f"{self.checkpoint}: what was written is not what is read; is the disk damaged?")
            if self.checkpoint.exists():
                self.checkpoint.replace(self.previous)  # killed here, the run goes on from it

    def find_checkpoint(self, tell: Callable[[str], Any]) -> bool:
        """Whether there is a checkpoint; it is then `checkpoint`, and sound. `ZooError` if there are only damaged ones.

        A damaged last one is replaced by the one before. tell: hears what the user must know of that.
        """
        damaged: list[str] = []
        for file in (self.checkpoint, self.previous):
            if not file.exists():
                continue
            state = sealed.state(file)
            if state == "damaged":
                damaged.append(str(file))
                continue
            if damaged:
                tell(f"{damaged[0]} is damaged (its sha256 is another): continuing from the one before, {file.name}")
            if state == "unsealed":
                tell(f"{file} was written before checkpoints held their sha256: whether it is damaged cannot be told")
            if file != self.checkpoint:
                file.replace(self.checkpoint)
            return True
        if damaged:
            raise ZooError(
                f"{' and '.join(damaged)}: damaged (not what was written, by sha256); put a copy of either there and "
                "--resume again, or start again with --overwrite"
            )
        return False

    def load_checkpoint(self) -> dict[str, Any]:
        """The content of `checkpoint`, which `find_checkpoint` has found to be sound."""
        try:
            if sealed.state(self.checkpoint) == "damaged":
                raise ValueError("its sha256 is another")
            saved = dict(torch.load(self.checkpoint, map_location="cpu", weights_only=True))
            if missing := {"model", "step", "average", "seen", "seconds"} - set(saved):
                raise KeyError(f"it lacks {', '.join(sorted(missing))}")
            return saved
        except Exception as error:
            raise ZooError(f"{self.checkpoint} is damaged ({error}); start again with --overwrite") from error

    def drop_previous(self) -> None:
        """Of a finished run nothing can be lost any more: its weights are there."""
        self.previous.unlink(missing_ok=True)


def read_log(folder: str | Path) -> list[dict[str, float]]:
    """The lines of a run's log.jsonl."""
    return [json.loads(line) for line in (Path(folder) / "log.jsonl").read_text().splitlines()]


def write_json(path: Path, value: Any) -> None:
    """JSON, atomically; NaN is refused."""
    with atomic(path) as temporary:
        temporary.write_text(json.dumps(value, indent=2, allow_nan=False) + "\n")


def _flat(value: Any, path: str = "") -> dict[str, Any]:
    if not isinstance(value, dict):
        return {path: value}
    flat: dict[str, Any] = {}
    for key, item in value.items():
        flat |= _flat(item, f"{path}.{key}" if path else str(key))
    return flat
