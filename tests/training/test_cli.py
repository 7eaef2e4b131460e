"""The command `oddglyph-train` itself; what its subcommands do is tested where they do it."""

import subprocess
import sys
from pathlib import Path

import pytest

REPOSITORY = Path(__file__).parents[2]
DEAR = ("torch", "torchvision", "sklearn", "scipy", "torch_fidelity", "onnxruntime", "matplotlib")


@pytest.mark.parametrize("arguments", [["list"], ["--help"], ["fit", "--help"], ["benchmark", "detection", "--help"]])
def test_list_and_help_import_nothing_that_takes_seconds(arguments: list[str]):
    script = f"""
import sys
from training import cli
sys.argv = ["oddglyph-train", *{arguments}]
try:
    cli.main()
finally:
    assert {{*{DEAR}}}.isdisjoint(sys.modules), {{*{DEAR}}} & sys.modules.keys()
"""
    completed = subprocess.run(
        [sys.executable, "-c", script], cwd=REPOSITORY, capture_output=True, text=True, check=False
    )
    assert completed.returncode == 0, completed.stderr
    assert "shared-aae" in completed.stdout or "Usage" in completed.stdout
