"""A client that openapi-python-client generates from /docs.json scores, explains and samples.

    python -m venv generator && generator/bin/pip install openapi-python-client==0.29.1
    generator/bin/python tests/soak/client.py --url http://127.0.0.1:3000

The generator needs an environment of its own, since it needs an older Typer than oddglyph installs.
"""

import argparse
import base64
import importlib
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

PICTURE = Path(__file__).parents[2] / "docs" / "examples" / "zero.png"
PNG = b"\x89PNG\r\n\x1a\n"


def generate(url: str, folder: Path) -> None:
    """Write the package `generated` into `folder`."""
    command = [sys.executable, "-m", "openapi_python_client", "generate", "--meta", "none"]
    options = ["--url", f"{url}/docs.json", "--output-path", str(folder / "generated")]
    made = subprocess.run([*command, *options], capture_output=True, text=True, check=False)
    if made.returncode:
        sys.exit(made.stdout + made.stderr)


def use(url: str) -> list[str]:
    """Return what the client was answered, in a line for each operation; an AssertionError if it is not what was asked for."""
    client = part("client").Client(
        base_url=url, headers={"accept": "application/json"}, raise_on_unexpected_status=True
    )
    models = part("models")
    picture = part("types").File(PICTURE.open("rb"), PICTURE.name, "image/png")
    scores = call("scoring.score", client, body=models.ScoreForm(images=[picture], alpha=0.1))
    assert scores.alpha == 0.1
    assert scores.results[0].id == PICTURE.name
    assert 0 < scores.results[0].p_value <= 1
    array = call("scoring.score_array", client, body=models.ScoreArrayScoreArrayBody(images=[[[0, 255], [255, 0]]]))
    assert 0 < array.results[0].p_value <= 1
    picture.payload.seek(0)
    explained = call("scoring.explain", client, body=models.ExplainForm(images=[picture])).results[0]
    assert {base64.b64decode(png)[:8] for png in (explained.png, explained.input_, explained.reconstruction)} == {PNG}
    samples = call("generation.sample", client, n=3, seed=7)
    assert [base64.b64decode(sample.png)[:8] for sample in samples.results] == [PNG] * 3
    listed = call("models.list_models", client)
    assert scores.model in [model.name for model in listed.models]
    refused = call("models.describe_model", client, name="nope")
    assert "expected one of" in refused.detail
    text = call("operation.metrics", client)
    assert "oddglyph_images_scored_total" in text
    return [
        f"score: {scores.results[0].p_value:g}",
        f"score_array: {array.results[0].p_value:g}",
        f"explain: {len(explained.png):,} characters of PNG",
        f"sample: {len(samples.results)} images",
        f"list_models: {len(listed.models)}",
        f"describe_model: {refused.detail[:60]}",
        f"metrics: {len(text):,} characters",
    ]


def part(name: str) -> Any:
    """Return a module of the client."""
    return importlib.import_module(f"generated.{name}")


def call(operation: str, client: Any, **arguments: Any) -> Any:
    """Return what an operation of the client, such as scoring.score, makes of the answer."""
    return part(f"api.{operation}").sync(client=client, **arguments)


def main() -> None:
    """Generate the client and use it."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--url", default="http://127.0.0.1:3000")
    url = parser.parse_args().url.rstrip("/")
    with tempfile.TemporaryDirectory() as folder:
        generate(url, Path(folder))
        sys.path.insert(0, folder)
        sys.stdout.writelines(f"{line}\n" for line in use(url))


if __name__ == "__main__":
    main()
