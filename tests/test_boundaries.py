"""Who may import whom. The service stands without torch and without training; libraries have one user each."""

import ast
from pathlib import Path

import pytest

REPOSITORY = Path(__file__).parents[1]
ONLY_USER = {"bentoml": "service/api.py", "PIL": "service/images.py", "onnxruntime": "service/runtime.py"}
FOUNDATION = {"artifact", "errors", "files", "images", "runtime"}
MODELS = {"detector", "generator"}
HTTP = {"api", "routes", "schemas", "answers", "limits", "metrics", "uploads", "catalog", "batcher"}


def modules(package):
    return sorted((REPOSITORY / package).glob("*.py"))


def imports(path):
    """Return the full names that a module imports, wherever in it the statement stands."""
    names = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path}: imports are absolute"
            names |= {f"{node.module}.{alias.name}" for alias in node.names}
    return names


def imported_from(path, package):
    """Return the modules of `package` that a module imports."""
    return {name.split(".")[1] for name in imports(path) if name.startswith(f"{package}.")}


@pytest.mark.parametrize("path", modules("service"), ids=lambda path: path.stem)
def test_the_service_imports_neither_torch_nor_training(path):
    assert {name.split(".")[0] for name in imports(path)}.isdisjoint({"torch", "torchvision", "training"})


@pytest.mark.parametrize("path", modules("service"), ids=lambda path: path.stem)
def test_imports_in_the_service_go_one_way(path):
    imported = imported_from(path, "service")
    if path.stem in FOUNDATION:
        assert imported <= FOUNDATION
    if path.stem in MODELS:
        assert imported <= FOUNDATION
    if path.stem not in HTTP:
        assert imported.isdisjoint(HTTP)
    assert "api" not in imported


@pytest.mark.parametrize("path", modules("training"), ids=lambda path: path.stem)
def test_training_uses_what_runs_models_and_nothing_that_answers_requests(path):
    assert imported_from(path, "service") <= FOUNDATION | MODELS


@pytest.mark.parametrize("library", ONLY_USER)
def test_a_library_has_one_user_in_the_service(library):
    users = {
        path.relative_to(REPOSITORY).as_posix()
        for path in modules("service")
        if library in {name.split(".")[0] for name in imports(path)}
    }
    assert users == {ONLY_USER[library]}
