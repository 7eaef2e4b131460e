from pathlib import Path

import pytest

from service.errors import SourceError
from service.published import grouping


def test_a_csv_file_tells_the_group_of_each_image(tmp_path: Path):
    path = tmp_path / "writers.csv"
    path.write_bytes(b'\xef\xbb\xbfgroup,id,note\r\nann,1.png,\r\nbob,"a, b.png",x\r\nann,3.png,\r\n')
    groups = grouping.read_groups(path)
    assert groups == {"1.png": "ann", "a, b.png": "bob", "3.png": "ann"}
    assert grouping.read_ids(path) == list(groups)
    assert grouping.numbered(list(groups.values())).tolist() == [0, 1, 0]


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        ("id,writer\n1.png,ann\n", "expected a CSV file with the columns id and group, got no group; add it"),
        ("", "expected a CSV file with the columns id and group, got no "),
        ("id,group\n1.png,\n", "line 2: expected values for id and group, got none"),
        ("id,group\n1.png\n", "line 2: expected values for id and group, got none"),
        ("id,group\n1.png,ann\n1.png,bob\n", "line 3: expected one group for 1.png, got ann and bob"),
        ("id,group\n\xff\n", "expected a CSV file with the columns id and group, got: "),
    ],
)
def test_another_file_is_refused_in_one_sentence(text: str, sentence: str, tmp_path: Path):
    (tmp_path / "groups.csv").write_bytes(text.encode("latin-1"))
    with pytest.raises(SourceError, match=r"^\S*groups\.csv[:,]") as error:
        grouping.read_groups(tmp_path / "groups.csv")
    assert sentence in str(error.value)
    assert "\n" not in str(error.value)


def test_a_missing_file_is_named(tmp_path: Path):
    with pytest.raises(SourceError, match=r"absent.csv: expected a CSV file .* got: No such file or directory"):
        grouping.read_ids(tmp_path / "absent.csv")


@pytest.mark.parametrize(("place", "group"), [("ann/1.png", "ann"), ("ann/mon/1.png", "ann"), ("1.png", None)])
def test_the_first_folder_is_the_group(place: str, group: str | None):
    assert grouping.first_folder(place) == group
