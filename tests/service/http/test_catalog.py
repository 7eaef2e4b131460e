"""The catalog serves the chosen models, finds them by name, and names the known ones when it refuses."""

import pytest

from service.errors import ArtifactError, UnknownModelError
from service.http.catalog import Catalog


def test_all_models_of_the_folder_are_served_with_their_groups(linear_models):
    catalog = Catalog(linear_models, "cpu", 1)
    assert list(catalog.models) == ["mnist-0", "mnist-1", "verdict-0", "all-mnist", "black-and-white", "colours"]
    assert catalog.model("all-mnist").details.members == ["mnist-0", "mnist-1"]
    assert catalog.detector(None).details.name == "mnist-0"
    assert catalog.generator(None).details.name == "colours"


def test_chosen_models_alone_are_served_and_the_first_is_the_default(linear_models):
    catalog = Catalog(linear_models, "cpu", 1, ["mnist-1"])
    assert list(catalog.models) == ["mnist-1"]
    assert catalog.detector(None).details.name == "mnist-1"
    with pytest.raises(UnknownModelError, match="generator 'cifar10-cond': expected one of: none;"):
        catalog.generator(None)


def test_a_name_of_the_other_kind_is_refused_by_naming_the_known_ones(linear_models):
    catalog = Catalog(linear_models, "cpu", 1)
    with pytest.raises(
        UnknownModelError, match="detector 'colours': expected one of: mnist-0, mnist-1, verdict-0, all-mnist;"
    ):
        catalog.detector("colours")
    with pytest.raises(UnknownModelError, match="generator 'mnist-0': expected one of: black-and-white, colours;"):
        catalog.generator("mnist-0")
    with pytest.raises(UnknownModelError, match="model 'mnist-7': expected one of: mnist-0, "):
        catalog.model("mnist-7")


def test_a_folder_without_models_is_refused(tmp_path):
    with pytest.raises(ArtifactError, match="expected at least one published model, found none"):
        Catalog(tmp_path, "cpu", 1)


@pytest.mark.parametrize(
    ("device", "has_gpu", "end"),
    [("auto", True, "on cpu: there is a GPU, but "), ("cpu", True, "on cpu"), ("auto", False, "on cpu")],
)
def test_the_summary_says_why_a_gpu_is_not_used(linear_models, monkeypatch, device, has_gpu, end):
    monkeypatch.setattr("service.http.catalog.cuda_is_usable", lambda: has_gpu)
    catalog = Catalog(linear_models, device, 1)
    assert {served.details.device for served in catalog.models.values()} == {"cpu"}
    assert catalog.summary().startswith(f"serving {len(catalog.models)} models {end}")
    assert ("pip install" in catalog.summary()) is ("GPU" in end)
