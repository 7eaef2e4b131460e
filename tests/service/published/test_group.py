import numpy as np
import pytest
from artifacts import write_detector
from typer.testing import CliRunner

from service import cli, images
from service.published import artifact, group
from service.published.conformal import Rule
from service.published.detector import Detector
from service.published.group import Group


@pytest.fixture(scope="module")
def detectors(linear_models) -> list[Detector]:
    return [Detector(artifact.load(linear_models / name), "cpu", 1) for name in ("mnist-0", "mnist-1")]


@pytest.fixture(scope="module")
def both(detectors) -> Group:
    return group.groups_among(detectors)[0]


def test_the_closest_class_has_the_highest_p_value_and_gives_the_figures(both, detectors, digits):
    pixels = images.fit(digits["x_test"], 32)
    scores, each = both.score(pixels), [detector.score(pixels) for detector in detectors]
    np.testing.assert_array_equal(scores.p_values, np.stack([one.p_value for one in each], axis=1))
    np.testing.assert_array_equal(scores.p_value, scores.p_values.max(axis=1))
    for index, one in enumerate(each):
        chosen = scores.closest == index
        assert chosen.any()
        np.testing.assert_array_equal(scores.score[chosen], one.score[chosen])
        np.testing.assert_array_equal(scores.l_con[chosen], one.l_con[chosen])
    tied = each[0].p_value == each[1].p_value
    assert tied.any()
    np.testing.assert_array_equal(scores.closest[tied], (each[1].score < each[0].score)[tied])


def test_most_images_of_a_class_are_closest_to_it(both, digits):
    for label in (0, 1):  # the linear models tell only these two apart well
        scores = both.score(images.fit(digits["x_test"][digits["y_test"] == label], 32))
        assert np.mean(scores.closest == label) > 0.8
    assert both.class_names == ("0", "1")


def test_pictures_are_those_of_the_closest_class(both, detectors, digits):
    pixels = images.fit(digits["x_test"][:20], 32)
    planes, closest = both.compare(pixels), both.score(pixels).closest
    each = np.stack([detector.compare(pixels) for detector in detectors])
    np.testing.assert_array_equal(planes, each[closest, np.arange(20)])


def test_a_group_reconstructs_only_if_every_detector_does(linear_models, detectors, digits):
    mixed = Group("mixed", [Detector(artifact.load(linear_models / "verdict-0"), "cpu", 1), detectors[1]])
    pixels = images.fit(digits["x_test"], 32)
    examined = mixed.examine(pixels)
    assert not mixed.reconstructs
    assert Group("alike", detectors).reconstructs
    assert examined.planes.shape == (len(pixels), 2, 32, 32)
    np.testing.assert_array_equal(np.isnan(examined.scores.l_con), examined.scores.closest == 0)
    assert {row.latent is None for row in examined.scores.rows(map(str, range(len(pixels))), mixed.decide(Rule()))} == {
        True,
        False,
    }


def test_no_images_get_no_scores(both):
    assert both.score(np.empty((0, 32, 32), np.uint8)).p_values.shape == (0, 2)


def test_a_group_has_one_detector_for_each_class_and_two_at_least(tmp_path, zeros, digits):
    ones = digits["x_train"][digits["y_train"] == 1]
    for name, normal, label in (("b", zeros, "0"), ("a", zeros, "0"), ("c", ones, "1")):
        write_detector(tmp_path / name, normal, normal_class=label)
    manifests = {path.name: artifact.read_manifest(path) for path in artifact.find(tmp_path)}
    assert group.members(manifests.values()) == {"all-mnist": ["a", "c"]}
    assert group.members([manifests["a"], manifests["b"]]) == {}
    elsewhere = manifests["c"].model_copy(
        update={"provenance": manifests["c"].provenance.model_copy(update={"data": "./My Digits"})}
    )
    assert group.members([manifests["a"], elsewhere]) == {}


def test_http_answers_which_class(client, pngs, both):
    files = [("images", (f"{number}.png", png, "image/png")) for number, png in enumerate(pngs)]
    answer = client.post("/score", files=files, data={"model": "all-mnist"}).json()
    assert answer["model"] == "all-mnist"
    for result in answer["results"]:
        assert result["p_values"].keys() == {"0", "1"}
        assert result["p_value"] == result["p_values"][result["closest"]] == max(result["p_values"].values())
    pixels = np.stack([images.decode(png, 32) for png in pngs])
    assert [result["closest"] for result in answer["results"]] == [str(k) for k in both.score(pixels).closest]
    alone = client.post("/score", files=files).json()["results"][0]
    assert not {"closest", "p_values"} & alone.keys()
    details = client.get("/models/all-mnist").json()
    assert details["members"] == ["mnist-0", "mnist-1"]
    assert details["calibration_size"] == both.calibration_size
    assert details["provenance"] is None
    picture = client.post("/explain", files=files[:1], data={"model": "all-mnist"})
    assert picture.headers["content-type"] == "image/png"


def test_the_command_line_answers_which_class(linear_models, png_folder):
    arguments = ["score", str(png_folder), "--model", "all-mnist", "--models-dir", str(linear_models)]
    result = CliRunner().invoke(cli.app, [*arguments, "--format", "csv"])
    assert result.exit_code == 0, result.output
    header, *lines = result.stdout.splitlines()
    column = header.split(",").index("closest")
    assert {line.split(",")[column] for line in lines[:20]} <= {"0", "1"}
    assert lines[-1].split(",")[column] == ""
