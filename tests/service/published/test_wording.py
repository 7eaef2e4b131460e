"""What pydantic refuses is said in our words."""

from typing import Literal

import pytest
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from service.published import wording


class Example(BaseModel):
    model_config = ConfigDict(extra="forbid")

    count: int = Field(1, ge=1, le=9)
    share: float = Field(0.5, gt=0, lt=1, allow_inf_nan=False)
    pair: tuple[int, int] = (1, 2)
    kind: Literal["a", "b"] = "a"
    flag: bool = False
    name: str = Field("x", pattern="^[a-z]+$")


@pytest.mark.parametrize(
    ("field", "value", "says"),
    [
        ("count", 0, "expected at least 1, got 0"),
        ("count", 10, "expected at most 9, got 10"),
        ("count", "many", "expected a whole number, got 'many'"),
        ("count", 1.5, "expected a whole number, got 1.5"),
        ("share", 1, "expected less than 1.0, got 1"),
        ("share", 0, "expected more than 0.0, got 0"),
        ("share", float("nan"), "expected a finite number, got nan"),
        ("share", "x", "expected a number, got 'x'"),
        ("pair", (1,), "expected a value, got none"),
        ("pair", (1, 2, 3), "expected at most 2 values, got (1, 2, 3)"),
        ("pair", 3, "expected values with commas between, got 3"),
        ("kind", "c", "expected 'a' or 'b', got 'c'"),
        ("flag", "maybe", "expected true or false, got 'maybe'"),
        ("name", "X", "expected text of the form ^[a-z]+$, got 'X'"),
        ("name", 3, "expected text, got 3"),
        ("other", 3, "expected a known field, got 3"),
    ],
)
def test_what_was_expected(field, value, says):
    with pytest.raises(ValidationError) as caught:
        Example(**{field: value})
    (error,) = caught.value.errors()
    assert wording.expected(error) == says
    assert wording.place(error).startswith(field)


def test_a_long_value_is_cut_and_the_whole_file_is_named():
    with pytest.raises(ValidationError) as caught:
        Example.model_validate_json("[" + "1," * 100)
    (error,) = caught.value.errors()
    assert wording.place(error) == "the file"
    assert len(wording.expected(error)) < 100
