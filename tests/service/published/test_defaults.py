"""The default models and their default folder."""

from pathlib import Path

import pytest
from artifacts import write_detector, write_generator

from service.published import artifact, defaults

REPOSITORY = Path(__file__).parents[3]


@pytest.fixture(scope="module")
def manifests(tmp_path_factory, digits):
    folder = tmp_path_factory.mktemp("models")
    for name in ("fashion-0", "mnist-0", "mnist-1"):
        write_detector(folder / name, digits["x_train"][:20])
    write_generator(folder / "a-plain-one", conditional=False)
    for name in ("b-generator", "cifar10-cond"):
        write_generator(folder / name)
    return {path.name: artifact.read_manifest(path) for path in artifact.find(folder)}


def test_models_are_beside_the_package_unless_the_environment_says_otherwise(monkeypatch):
    monkeypatch.delenv("ODDGLYPH_MODELS", raising=False)
    assert defaults.models_dir() == REPOSITORY / "models"
    monkeypatch.setenv("ODDGLYPH_MODELS", "")
    assert defaults.models_dir() == REPOSITORY / "models"
    monkeypatch.setenv("ODDGLYPH_MODELS", "/elsewhere")
    assert defaults.models_dir() == Path("/elsewhere")


@pytest.mark.parametrize(
    ("kind", "names", "expected"),
    [
        ("detector", ["cifar10-cond", "fashion-0", "mnist-0", "mnist-1"], "mnist-0"),
        ("detector", ["b-generator", "fashion-0", "mnist-1"], "fashion-0"),
        ("detector", ["b-generator"], "mnist-0"),
        ("generator", ["b-generator", "cifar10-cond", "mnist-0"], "cifar10-cond"),
        ("generator", ["b-generator", "mnist-0"], "b-generator"),
        ("generator", ["a-plain-one", "b-generator"], "b-generator"),
        ("generator", ["a-plain-one"], "a-plain-one"),
        ("generator", [], "cifar10-cond"),
    ],
)
def test_the_preferred_model_else_the_first_of_its_kind_else_the_preferred_name(kind, names, expected, manifests):
    assert defaults.model_name(kind, [manifests[name] for name in names]) == expected
