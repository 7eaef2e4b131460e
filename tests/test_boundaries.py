"""Who may import whom. The service imports neither torch nor training; some libraries have one user each."""

import ast
from pathlib import Path

import pytest

REPOSITORY = Path(__file__).parents[1]
ONLY_USER = {
    "bentoml": "service/api.py",
    "PIL": "service/images.py",
    "onnxruntime": "service/published/onnx_model.py",
}
FOUNDATION = {"service.errors", "service.images", "service.atomic", "service.version"}
# What each room of the service may import from other rooms. A room may import itself.
ROOMS = {
    "service": set(),
    "service.published": FOUNDATION,
    "service.batch": FOUNDATION | {"service.published"},
    "service.http": FOUNDATION | {"service.published"},
    "service.memory": set(),
    "service.workers": FOUNDATION | {"service.http"},
    "service.start": FOUNDATION | {"service.published", "service.http", "service.memory", "service.workers"},
    "service.api": FOUNDATION | {"service.http", "service.memory", "service.start", "service.workers"},
    "service.http.app": {"service.http", "service.memory", "service.start", "service.workers"},
    "service.address": FOUNDATION,
    "service.terminal": FOUNDATION | {"service.published", "service.batch"},
    "service.options": FOUNDATION | {"service.published", "service.batch", "service.loading"},
    "service.loading": FOUNDATION | {"service.published"},
    "service.commands": FOUNDATION
    | {
        "service.published",
        "service.batch",
        "service.address",
        "service.loading",
        "service.options",
        "service.terminal",
    },
    "service.cli": FOUNDATION | {"service.commands", "service.memory", "service.terminal"},
    **dict.fromkeys(FOUNDATION, FOUNDATION),
}


def modules(package):
    return sorted((REPOSITORY / package).rglob("*.py"))


def name_of(path):
    return path.relative_to(REPOSITORY).with_suffix("").as_posix().replace("/", ".").removesuffix(".__init__")


def room_of(name):
    """Return the longest name in ROOMS that `name` lies in, such as service.http for service.http.routes.build_app."""
    parts = name.split(".")
    return next(room for end in range(len(parts), 0, -1) if (room := ".".join(parts[:end])) in ROOMS)


def imports(path):
    """Return the full names that a module imports, also inside functions."""
    names = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path}: imports are absolute"
            names |= {f"{node.module}.{alias.name}" for alias in node.names}
    return names


def rooms_imported(path):
    return {room_of(name) for name in imports(path) if name.startswith("service.")}


@pytest.mark.parametrize("path", modules("service"), ids=name_of)
def test_the_service_imports_neither_torch_nor_training(path):
    assert {name.split(".")[0] for name in imports(path)}.isdisjoint({"torch", "torchvision", "training"})


@pytest.mark.parametrize("path", modules("service"), ids=name_of)
def test_imports_in_the_service_go_one_way(path):
    room = room_of(name_of(path))
    assert rooms_imported(path) <= ROOMS[room] | {room}


@pytest.mark.parametrize("path", modules("training"), ids=name_of)
def test_training_uses_published_models_and_nothing_that_answers_requests(path):
    assert rooms_imported(path) <= FOUNDATION | {"service.published"}


@pytest.mark.parametrize("library", ONLY_USER)
def test_a_library_has_one_user_in_the_service(library):
    users = {
        path.relative_to(REPOSITORY).as_posix()
        for path in modules("service")
        if library in {name.split(".")[0] for name in imports(path)}
    }
    assert users == {ONLY_USER[library]}
