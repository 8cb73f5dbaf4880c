"""What is written is UTF-8, whatever the locale says text is."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

from made_cards import card, distance, likelihood, saved
from zoo_bench.cards.types import Weights

from zoo_core import registry

ALL = """
import sys
from pathlib import Path
from types import SimpleNamespace

from zoo_bench.cards import files
from zoo_bench.commands.bench import bench
from zoo_bench.commands.report import report
from zoo_bench.judging import mturk
from zoo_bench.judging.server import open_study
from zoo_bench.reports import modelcards
import zoo_bench.evaluation.bench

folder, samples = Path(sys.argv[1]), sys.argv[2:]
result = SimpleNamespace(folder=folder, missing={}, failed=[])
zoo_bench.evaluation.bench.bench = lambda *_, **__: result
bench(["quick"], standalone_mode=False)
report([str(folder), "--format", "markdown", "--out", str(folder / "out.md")], standalone_mode=False)
report([str(folder), "--update", str(folder / "page.md")], standalone_mode=False)
modelcards.update(folder / "pages", files.read_all([folder]))
modelcards.update(folder / "pages", files.read_all([folder]))
study = open_study(folder / "study.sqlite", samples, n=5, mode="contrast", question="Gr\\xf6\\xdfer?")
mturk.export(study, folder / "batch.csv", "https://example.org/\\xfc")
"""


def test_reports_pages_and_batches_are_utf_8_in_any_locale(tmp_path: Path, sample_files: list[str]) -> None:
    spec = next(spec for spec in registry.models.all() for one in spec.pretrained if one.tag == "digits")
    (sha256,) = [one.sha256 for one in spec.pretrained if one.tag == "digits"]
    made = card(spec.name, likelihood(2.0, "≤"), distance(0.2))
    own = made.but(model=made.model.but(weights=Weights(source="weights", sha256=sha256, kind="ema")))
    folder = saved([own, card("other", likelihood(2.5, "="))], tmp_path / "out")
    (folder / "page.md").write_text(f"Grüße\n<!-- begin results: {spec.name} -->\n<!-- end results -->\n", "utf-8")
    locale = {"LC_ALL": "C", "PYTHONCOERCECLOCALE": "0", "PYTHONUTF8": "0", "PYTHONIOENCODING": "utf-8"}
    command = [sys.executable, "-c", ALL, str(folder), *sample_files]
    done = subprocess.run(command, capture_output=True, encoding="utf-8", env={**os.environ, **locale})
    assert done.returncode == 0, done.stderr
    for name in ("report.md", "report.csv", "out.md", "page.md", f"pages/{spec.name}.digits.md"):
        assert "≤" in (folder / name).read_text("utf-8"), name
    assert "Größer?" in (folder / "batch.html").read_text("utf-8")
    assert "https://example.org/ü/" in (folder / "batch.csv").read_text("utf-8")
    assert not list(folder.rglob(".*"))
