"""`oddglyph calibrate` with groups, with images taken out, and its doubts; `oddglyph score` by what it then knows."""

import csv
import io
import json
import shutil
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from scipy import ndimage
from scipy.stats import binomtest
from typer.testing import CliRunner

from service import cli, images
from service.errors import OddglyphError
from service.published import artifact, calibration
from service.published.conformal import Rule
from service.published.detector import Detector


@pytest.fixture
def folder(tmp_path, linear_models, digits, monkeypatch):
    """The folder with models, and new/WRITER/NUMBER.png: eight writers, of five test zeros each that no model has seen."""
    shutil.copytree(linear_models, tmp_path / "models")
    zeros = np.concatenate([digits["x_test"][digits["y_test"] == 0], digits["x_train"][digits["y_train"] == 0][1::2]])
    for number, image in enumerate(zeros[:40]):
        path = tmp_path / "new" / f"writer-{number % 8}" / f"{number:02}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(images.encode_png(image))
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("ODDGLYPH_MODELS", str(tmp_path / "models"))
    monkeypatch.setenv("COLUMNS", "200")
    return tmp_path


def run(*arguments):
    result = CliRunner().invoke(cli.app, ["--help"] if not arguments else [*arguments])
    return result.exit_code, result.stdout, result.stderr, result.exception


def bold(digits):
    """Four zeros in so bold a hand that any model takes them for anomalies."""
    return ndimage.grey_dilation(digits["x_test"][digits["y_test"] == 0][:4], size=(1, 6, 6))


def calibrate(*options):
    code, out, err, error = run("calibrate", "new", "--name", "own", "--models-dir", "models", *options)
    assert code == 0, error
    return out, err


def write_groups(names, path="writers.csv"):
    lines = [f"{name},{Path(name).parent.name}" for name in names]
    Path(path).write_text("\n".join(["id,group", *lines]) + "\n")


def test_groups_told_by_folders_and_by_a_file_give_the_same_calibration(folder):
    _, told = calibrate("--groups", "folder")
    assert "normal images: 40, of which mnist-0 calls " in told
    assert "groups: 8, unreadable: 0, out: models/own" in told
    by_folder = artifact.load(Path("models/own"))
    names = [path.relative_to("new").as_posix() for path in sorted(Path("new").rglob("*.png"))]
    for written in (names, [f"new/{name}" for name in names]):
        write_groups(written)
        calibrate("--groups", "writers.csv", "--replace")
        by_file = artifact.load(Path("models/own"))
        np.testing.assert_array_equal(by_file.calibration_set().groups, by_folder.calibration_set().groups)
    promised = by_folder.manifest.guarantee
    assert (promised.method, promised.images, promised.groups) == ("held-out groups", 40, 8)
    assert (by_folder.manifest.calibration.groups, by_folder.manifest.calibration.excluded) == (8, 0)
    described = json.loads(run("models", "own", "--json", "--models-dir", "models")[1])
    assert described["guarantee"] == promised.model_dump()
    assert "exactly" in run("models", "own", "--models-dir", "models")[1]


def test_strict_scores_are_told_in_the_summary_and_those_of_the_detector(folder):
    calibrate("--groups", "folder")
    code, out, err, _ = run("score", "new", "--model", "own", "--models-dir", "models", "--strict", "--alpha", "0.2")
    assert code == 0
    assert "(strict p-value at most 0.2)" in err
    detector = Detector(artifact.load(Path("models/own")), "cpu")
    pixels = np.stack([images.decode(path.read_bytes(), 32) for path in sorted(Path("new").rglob("*.png"))])
    expected = detector.score(pixels).rows(map(str, range(40)), detector.decide(Rule(0.2, strict=True)))
    assert [float(row["p_value"]) for row in csv.DictReader(io.StringIO(out))] == [row.p_value for row in expected]


def test_a_confident_threshold_is_told_in_the_summary(folder):
    calibrate()
    options = "--model", "own", "--models-dir", "models", "--alpha", "0.2", "--confidence", "0.9"
    _, out, err, _ = run("score", "new", *options)
    threshold = Detector(artifact.load(Path("models/own")), "cpu").decide(Rule(0.2, confidence=0.9)).threshold
    assert f"(p-value at most {threshold:.4g}, for alpha 0.2 with confidence 0.9)" in err
    rows = list(csv.DictReader(io.StringIO(out)))
    assert [row["is_anomaly"] == "true" for row in rows] == [float(row["p_value"]) <= threshold for row in rows]


def test_an_alpha_out_of_reach_is_told_before_and_after(folder):
    _, out, err, _ = run("score", "new", "--models-dir", "models", "--alpha", "0.01")
    first, summary = err.splitlines()
    assert first.startswith("oddglyph: note: no image can be an anomaly at alpha 0.01: with 20 normal images")
    assert "anomalies: 0 (none is possible at alpha 0.01, see the note)" in summary
    assert "true" not in out


def test_the_oddest_images_are_listed_with_their_pictures_and_nothing_is_published(folder, digits):
    stranger = bold(digits)[0]
    Path("new/writer-3/stranger.png").write_bytes(images.encode_png(stranger))
    out, err = calibrate("--review", "5")
    rows = list(csv.DictReader(io.StringIO(out)))
    assert len(rows) == 5
    assert rows[0]["id"] == "new/writer-3/stranger.png"
    scores = [float(row["score"]) for row in rows]
    assert scores == sorted(scores, reverse=True)
    assert "the 5 oddest of 41 images; pictures: review.png" in err
    picture = np.asarray(Image.open("review.png"))
    shown = picture[:128, :128].reshape(32, 4, 32, 4)[:, 0, :, 0]
    np.testing.assert_array_equal(shown, images.fit(stranger[None], 32)[0])
    assert not Path("models/own").exists()


def test_what_is_taken_out_does_not_calibrate_and_the_effect_is_told(folder, digits):
    for number, image in enumerate(bold(digits)):
        Path(f"new/writer-3/stranger-{number}.png").write_bytes(images.encode_png(image))
    calibrate()
    before = artifact.load(Path("models/own")).calibration()
    strangers = [f"new/writer-3/stranger-{number}.png" for number in range(4)]
    Path("odd.csv").write_text("\n".join(["id,score", *(f"{name},1" for name in strangers)]))
    _, err = calibrate("--exclude", "odd.csv", "--replace")
    own = artifact.load(Path("models/own"))
    assert len(own.calibration()) == 40
    assert own.manifest.calibration.excluded == 4
    above, formerly = (calibration.alarm_above(scores) for scores in (own.calibration(), before))
    assert above < formerly
    assert (
        f"excluded: 4; an image is an anomaly at 0.05 above a score of {above:.4g}, with them above {formerly:.4g}"
        in err
    )


@pytest.mark.parametrize(
    ("options", "sentence"),
    [
        (
            ["--groups", "absent.csv"],
            "absent.csv: expected a CSV file with the columns id and group, got: No such file",
        ),
        (["--groups", "few.csv"], "few.csv: expected a group for new/writer-0/08.png, got none; add it"),
        (["--groups", "one.csv"], "groups: expected at least 2 among the normal images, got 1; leave --groups out"),
        (["--exclude", "wrong.csv"], "wrong.csv: expected ids of the images given, got nowhere.png; correct it"),
        (["--review", "5", "--pictures", "absent/a.png"], "absent/a.png: expected a file name in a folder that exists"),
    ],
)
def test_wrong_files_are_refused_in_one_sentence_and_leave_nothing(folder, options, sentence):
    write_groups(["new/writer-0/00.png"], "few.csv")
    names = [path.as_posix() for path in Path("new").rglob("*.png")]
    Path("one.csv").write_text("\n".join(["id,group", *(f"{name},ann" for name in names)]))
    Path("wrong.csv").write_text("id\nnowhere.png\n")
    code, out, _, error = run("calibrate", "new", "--name", "own", "--models-dir", "models", *options)
    assert (code, out) == (1, "")
    assert isinstance(error, OddglyphError)
    assert str(error).startswith(sentence)
    assert not Path("models/own").exists()


def test_images_in_no_folder_of_a_group_are_named(folder):
    code, _, _, error = run(
        "calibrate", "new/writer-0", "--name", "own", "--models-dir", "models", "--groups", "folder"
    )
    assert code == 1
    assert str(error).startswith("new/writer-0/00.png: expected it in the folder of its group, SOURCE/GROUP/image.png")


@pytest.mark.parametrize(
    ("alarms", "says"), [(5, "were they fitted?"), (30, "--review 20"), (15, None), (8, None), (24, None)]
)
def test_far_too_few_alarms_are_as_suspicious_as_too_many(alarms, says):
    doubt = calibration.doubt(alarms, 300, 999)
    assert (
        (doubt is None)
        == (says is None)
        == (2 * binomtest(alarms, 300, 0.05, "less" if alarms < 15 else "greater").pvalue > 0.01)
    )
    if says is not None:
        assert says in doubt
        assert doubt.startswith(f"{alarms} of 300 images raise an alarm, where about 15 are due")


def test_images_that_were_fitted_are_noticed(folder, digits):
    fitted = digits["x_train"][digits["y_train"] == 0][::2]
    np.save("fitted.npy", np.concatenate([fitted] * 8))  # the more, the surer
    arguments = "calibrate", "fitted.npy", "--name", "own", "--models-dir", "models"
    assert (
        "warning: mnist-0: 0 of 160 images raise an alarm, where about 8 are due: were they fitted?"
        in run(*arguments)[2]
    )


def test_false_discoveries_are_controlled_for_plain_p_values_only(folder):
    for option in (["--strict"], ["--confidence", "0.9"]):
        code, _, _, error = run(
            "score", "new", "--models-dir", "models", "--model", "mnist-1", "--alpha", "0.5", "--fdr", *option
        )
        assert code == 1
        assert str(error).startswith("--fdr: expected plain p-values")
