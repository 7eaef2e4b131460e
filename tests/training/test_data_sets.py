import gzip
import struct
from pathlib import Path

import numpy as np
import pytest
from containers import write_classes

from training import data_sets
from training.errors import DataError


def test_a_folder_has_a_class_per_subfolder(tmp_path: Path, digits: dict[str, np.ndarray]):
    root = write_classes(tmp_path / "glyphs", {"one": digits["x_train"][:3], "two": digits["x_train"][3:5]})
    loaded = data_sets.load(str(root), tmp_path, 32)
    assert loaded.name == "glyphs"
    assert loaded.class_names == ("one", "two")
    assert loaded.train.pixels.shape == (5, 32, 32)
    assert loaded.train.labels.tolist() == [0, 0, 0, 1, 1]
    assert len(loaded.test.labels) == 0


def test_a_folder_may_have_train_and_test_splits(tmp_path: Path, digits: dict[str, np.ndarray]):
    write_classes(tmp_path / "glyphs" / "train", {"one": digits["x_train"][:3]})
    root = write_classes(
        tmp_path / "glyphs" / "test", {"one": digits["x_test"][:1], "two": digits["x_test"][1:3]}
    ).parent
    loaded = data_sets.load(str(root), tmp_path, 32)
    assert loaded.class_names == ("one", "two")
    assert (len(loaded.train.labels), loaded.test.labels.tolist()) == (3, [0, 1, 1])


def test_a_folder_and_an_npz_of_the_same_images_give_the_same_pixels(tmp_path: Path, digits: dict[str, np.ndarray]):
    pixels = digits["x_train"][:4]
    np.savez(tmp_path / "set.npz", x_train=pixels, y_train=np.array(["a", "a", "b", "b"]))
    folder = write_classes(tmp_path / "folder", {"a": pixels[:2], "b": pixels[2:]})
    from_npz, from_folder = (data_sets.load(str(path), tmp_path, 32) for path in (tmp_path / "set.npz", folder))
    assert from_npz.class_names == from_folder.class_names
    assert np.array_equal(from_npz.train.pixels, from_folder.train.pixels)
    assert from_npz.sha256 == from_folder.sha256


def test_invert_turns_dark_on_light_into_light_on_dark(tmp_path: Path, digits: dict[str, np.ndarray]):
    np.savez(tmp_path / "light.npz", x_train=digits["x_train"], y_train=digits["y_train"])
    np.savez(tmp_path / "dark.npz", x_train=255 - digits["x_train"], y_train=digits["y_train"])
    light = data_sets.load(str(tmp_path / "light.npz"), tmp_path, 32)
    dark = data_sets.load(str(tmp_path / "dark.npz"), tmp_path, 32, invert=True)
    assert np.array_equal(light.train.pixels, dark.train.pixels)


def test_colour_becomes_grey(tmp_path: Path):
    red = np.zeros((60, 32, 32, 3), np.uint8)
    red[..., 0] = 255
    np.savez(tmp_path / "red.npz", x_train=red, y_train=np.zeros(60, int))
    assert set(np.unique(data_sets.load(str(tmp_path / "red.npz"), tmp_path, 32).train.pixels)) == {
        76
    }  # ITU-R 601 luma


def test_classes_go_by_name_or_index(tmp_path: Path, digits: dict[str, np.ndarray]):
    folder = write_classes(tmp_path / "set", {"ant": digits["x_train"][:1], "bee": digits["x_train"][1:2]})
    loaded = data_sets.load(str(folder), tmp_path, 32)
    assert loaded.indices(["bee", "0"]) == [1, 0]
    with pytest.raises(DataError, match="expected one of: ant, bee"):
        loaded.indices(["cow"])


def test_an_npz_names_the_groups_of_its_training_images(tmp_path: Path):
    arrays = {"x_train": np.zeros((4, 8, 8), np.uint8), "y_train": np.array(["a", "a", "a", "b"])}
    np.savez(tmp_path / "writers.npz", **arrays, groups=np.array(["ann", "bob", "ann", "bob"]))
    train = data_sets.load(str(tmp_path / "writers.npz"), tmp_path, 32).train
    assert train.groups_of([0]).tolist() == [0, 1, 0]
    np.savez(tmp_path / "wrong.npz", **arrays, groups=np.array(["ann"]))
    with pytest.raises(DataError, match="expected groups \\[4\\]"):
        data_sets.load(str(tmp_path / "wrong.npz"), tmp_path, 32)


def test_the_writers_of_mnist_are_known_and_none_wrote_for_both_splits(data_root: Path):
    loaded = data_sets.load("mnist", data_root, 32)
    train, test = (set(split.groups.tolist()) for split in (loaded.train, loaded.test))
    assert (len(train), len(test)) == (539, 297)
    assert train.isdisjoint(test)


@pytest.mark.parametrize(
    ("arrays", "says"),
    [
        ({"x_test": np.zeros(3)}, "x_train and y_train"),
        ({"x_train": np.zeros((3, 8, 8)), "y_train": np.zeros(3)}, "expected uint8"),
        ({"x_train": np.zeros((3, 8), np.uint8), "y_train": np.zeros(3)}, "expected uint8"),
        ({"x_train": np.zeros((3, 8, 8), np.uint8), "y_train": np.zeros(2)}, "labels: expected 3"),
    ],
)
def test_a_wrong_npz_is_refused_in_one_sentence(tmp_path: Path, arrays: dict[str, np.ndarray], says: str):
    np.savez(tmp_path / "wrong.npz", **arrays)
    with pytest.raises(DataError, match=says):
        data_sets.load(str(tmp_path / "wrong.npz"), tmp_path, 32)


def test_other_wrong_sources_are_refused_in_one_sentence(tmp_path: Path):
    (tmp_path / "text.npz").write_text("no archive")
    (tmp_path / "empty").mkdir()
    (tmp_path / "broken" / "a").mkdir(parents=True)
    (tmp_path / "broken" / "a" / "x.png").write_text("no image")
    for name, says in {
        "text.npz": "plain arrays",
        "empty": "one subfolder",
        "broken": "x.png",
        "none": "expected one of",
    }.items():
        with pytest.raises(DataError, match=says):
            data_sets.load(str(tmp_path / name), tmp_path, 32)


def test_mnist_is_read_from_torchvision_s_layout(data_root: Path):
    mnist = data_sets.load("mnist", data_root, 32)
    assert mnist.class_names == tuple("0123456789")
    assert mnist.train.pixels.shape == (60_000, 32, 32)
    assert mnist.test.pixels.shape == (10_000, 32, 32)
    assert len(mnist.train.of([0])) == 5_923


def test_emnist_is_turned_upright(tmp_path: Path, digits: dict[str, np.ndarray]):
    stored = digits["x_train"][:2].transpose(0, 2, 1)
    raw = tmp_path / "EMNIST" / "raw"
    raw.mkdir(parents=True)
    for split in ("train", "test"):
        write_idx(raw / f"emnist-balanced-{split}-images-idx3-ubyte", stored)
        write_idx(raw / f"emnist-balanced-{split}-labels-idx1-ubyte", digits["y_train"][:2].astype(np.uint8))
    loaded = data_sets.load("emnist", tmp_path, 28)
    assert np.array_equal(loaded.train.pixels, digits["x_train"][:2])
    assert len(loaded.class_names) == 47


def write_idx(path: Path, array: np.ndarray) -> None:
    header = struct.pack(f">HBB{array.ndim}I", 0, 8, array.ndim, *array.shape)
    path.write_bytes(header + array.tobytes())
    path.with_name(path.name + ".gz").write_bytes(gzip.compress(header + array.tobytes()))
