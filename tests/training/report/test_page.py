import re
from pathlib import Path

import numpy as np
import pytest

from service import images
from service.published import artifact
from service.published.manifest import Graph, Manifest, Metric, Parity, Provenance
from training import recipes
from training.measure import generation
from training.report import generators, page

FIGURES = {"frechet_distance.cifar-net": 40.0, "inception_score.cifar-net": 3.0, "class_agreement.cat": 0.5}


def provenance(seed: int, command: str) -> Provenance:
    return Provenance(
        created="2020-01-01T00:00:00+00:00",
        commit="0" * 40,
        command=command,
        seed=seed,
        data="cifar10",
        data_sha256="0" * 64,
        invert=False,
        device="CPU",
        train_seconds=10.0 * (seed + 1),
        versions={},
    )


def figure(name: str, value: float, split: str = generation.GENERATED_SPLIT) -> Metric:
    return Metric(
        name=name, value=value, deviation=0.25, samples=10, data="cifar10", split=split, implementation="none"
    )


def write_generator(models_dir: Path, recipe: str, seed: int, shift: float) -> None:
    path = models_dir / f"{recipe}-s{seed}"
    path.mkdir(parents=True)
    real = figure("frechet_distance.cifar-net", 1.5, generation.GATE_SPLIT)
    table = [figure(name, value + shift) for name, value in FIGURES.items()]
    artifact.write_metrics(path, [*table, real])
    (path / "generator.onnx").write_bytes(b"")
    (path / "samples.png").write_bytes(images.encode_png(np.full((4, 4, 3), seed, np.uint8)))
    manifest = Manifest(
        schema_version=1,
        name=path.name,
        kind="generator",
        summary="a generator",
        image_size=32,
        channels=3,
        class_names=("cat",),
        normal_classes=(),
        graphs={"generator": Graph(file="generator.onnx", opset=18, inputs=(), outputs=())},
        recipe=recipes.resolve(recipe).model_dump(mode="json"),
        provenance=provenance(seed, f"oddglyph-train fit {recipe} --seed {seed}"),
        parity=Parity(tolerance=1e-4, relative_difference={1: 0.0}),
        files={},
    )
    artifact.seal(path, manifest)


@pytest.fixture(scope="module")
def models_dir(tmp_path_factory: pytest.TempPathFactory) -> Path:
    models_dir = tmp_path_factory.mktemp("models")
    write_generator(models_dir, "wgan-gp", 0, shift=9.0)
    for seed, shift in enumerate((-1.0, 0.0, 1.0)):
        write_generator(models_dir, "dcgan", seed, shift)
    return models_dir


def rows(models_dir: Path) -> dict[str, dict[str, str]]:
    head, *body = generators.table([artifact.load(path) for path in artifact.find(models_dir)])
    return {row[0]: dict(zip(head, row, strict=True)) for row in body}


def test_seeds_of_one_recipe_are_one_row_with_mean_and_deviation_over_seeds(models_dir: Path):
    row = rows(models_dir)["dcgan"]
    assert row["frechet_distance.cifar-net"] == "40 ± 1"
    assert (row["seeds"], row["seconds"], row["command"]) == ("0, 1, 2", "20", "`oddglyph-train fit dcgan --seed 0`")
    assert row["reference FID / IS"] == "54.68 / 3.65"


def test_a_single_seed_keeps_its_own_deviation(models_dir: Path):
    assert rows(models_dir)["wgan-gp"]["frechet_distance.cifar-net"] == "49 ± 0.25"


def test_real_images_come_first_and_then_the_order_of_the_reference(models_dir: Path):
    assert list(rows(models_dir)) == ["real training images", "dcgan", "wgan-gp"]
    assert rows(models_dir)["real training images"]["frechet_distance.cifar-net"] == "1.5 ± 0.25"


def test_a_changed_recipe_is_a_row_of_its_own(models_dir: Path, tmp_path: Path):
    for name in ("dcgan-s0", "dcgan-s1"):
        (tmp_path / name).symlink_to(models_dir / name)
    one, other = (artifact.load(tmp_path / name) for name in ("dcgan-s0", "dcgan-s1"))
    shorter = other.manifest.model_copy(update={"recipe": {**other.manifest.recipe, "epochs": 2}})
    table = generators.table([one, artifact.Artifact(other.path, shorter)])
    assert [row[table[0].index("epochs")] for row in table[2:]] == ["25", "2"]


def test_the_page_stands_alone_and_says_what_its_numbers_are(models_dir: Path, tmp_path: Path):
    html = page.write(models_dir, tmp_path).read_text()
    assert set(re.findall(r'<img src="([^,]*),', html)) == {"data:image/png;base64"}
    assert len(re.findall("<img ", html)) == 4
    assert "off the public scale" in html
    assert "one and the same number" in html
    assert not re.search(r'(src|href)="(http|/|\.)', html)
    assert (tmp_path / "report.md").read_text().count("| dcgan |") == 1
    assert "Class agreement: cat 50%." in html
