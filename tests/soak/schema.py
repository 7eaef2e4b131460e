"""Requests made from /docs.json, good and bad ones, to find answers that it does not describe.

    PYTHONPATH=tests python -m soak.schema --count 5000 [--seed 7] [--url http://127.0.0.1:3000]

Without --url it starts the service on small models. It prints each failure of Schemathesis with a curl command, and the
seed, so that a run can be repeated.
"""

import argparse
import contextlib
import json
import subprocess
import sys
import tempfile
from pathlib import Path

import numpy as np
from soak.small import small_service

HERE = Path(__file__).parent
OPERATIONS = 17  # Schemathesis makes so many times --max-examples requests, and some hundreds beside
SECONDS = 3600


def run(url: str, examples: int, seed: int, phases: str = "examples,coverage,fuzzing") -> tuple[int, bool, str]:
    """Return the number of requests made of `url`, whether all answers were as described, and what Schemathesis says."""
    with tempfile.TemporaryDirectory() as folder:
        report = Path(folder) / "report.ndjson"
        options = {
            "checks": "all",
            "phases": phases,
            "max-examples": examples,
            "seed": seed,
            "generation-database": "none",
            "suppress-health-check": "all",
            "report": "ndjson",
            "report-ndjson-path": report,
        }
        command = [sys.executable, "-m", "schemathesis.cli", "--no-color", "--config-file", HERE / "schemathesis.toml"]
        command += ["run", f"{url.rstrip('/')}/docs.json", "--continue-on-failure"]
        command += [f"--{name}={value}" for name, value in options.items()]
        ran = subprocess.run(command, cwd=folder, capture_output=True, text=True, check=False, timeout=SECONDS)
        lines = map(json.loads, report.read_text().splitlines()) if report.exists() else ()
        finished = [line["ScenarioFinished"] for line in lines if "ScenarioFinished" in line]
    requests = sum(len(scenario["recorder"].get("cases", ())) for scenario in finished)
    return requests, ran.returncode == 0, ran.stdout + ran.stderr


def main() -> None:
    """Make requests until there were as many as asked for; exit status 1 if an answer was not as described."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--count", type=int, default=5000)
    parser.add_argument("--seed", type=int, default=int(np.random.SeedSequence().entropy) % 2**32)
    parser.add_argument("--url")
    arguments = parser.parse_args()
    done, seed = 0, arguments.seed
    with contextlib.ExitStack() as stack:
        url = arguments.url or str(stack.enter_context(small_service()).base_url)
        while done < arguments.count:
            requests, is_good, said = run(url, max(1, (arguments.count - done) // OPERATIONS), seed)
            if not is_good or not requests:
                sys.stdout.write(said)
                sys.exit(1)
            done, seed = done + requests, seed + 1
    sys.stdout.write(f"seed {arguments.seed}: {done:,} requests, all answered as /docs.json says\n")


if __name__ == "__main__":
    main()
