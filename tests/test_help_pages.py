"""docs/cli/ shows the current help of both commands."""

import subprocess
import sys
from pathlib import Path


def test_the_pages_are_the_help():
    script = Path(__file__).with_name("help_pages.py")
    compared = subprocess.run([sys.executable, str(script)], capture_output=True, text=True, check=False)
    assert compared.returncode == 0, compared.stderr
