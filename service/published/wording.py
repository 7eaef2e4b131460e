"""What a value was expected to be, in words, where pydantic refused it: none of pydantic's sentences reaches a person."""

from collections.abc import Mapping
from typing import Any

from pydantic_core import ErrorDetails

SHOWN_CHARACTERS = 60
# What was expected, by pydantic's type of error; braces name its context.
EXPECTED: Mapping[str, str] = {
    "missing": "a value",
    "extra_forbidden": "a known field",
    "int_type": "a whole number",
    "int_parsing": "a whole number",
    "int_from_float": "a whole number",
    "float_type": "a number",
    "float_parsing": "a number",
    "finite_number": "a finite number",
    "bool_type": "true or false",
    "bool_parsing": "true or false",
    "string_type": "text",
    "string_pattern_mismatch": "text of the form {pattern}",
    "greater_than": "more than {gt}",
    "greater_than_equal": "at least {ge}",
    "less_than": "less than {lt}",
    "less_than_equal": "at most {le}",
    "literal_error": "{expected}",
    "tuple_type": "values with commas between",
    "list_type": "a list",
    "too_short": "at least {min_length} values",
    "too_long": "at most {max_length} values",
    "dict_type": "fields by name",
    "model_type": "fields by name",
    "json_invalid": "JSON",
    "value_error": "{error}",
}


def expected(error: ErrorDetails) -> str:
    """Return "expected X, got Y" about one `error` of a ValidationError.

    For values that do not fit together, it is the sentence of the validator alone.
    """
    context: Mapping[str, Any] = error.get("ctx", {})
    if error["type"] == "value_error":
        return str(context["error"])
    wanted = EXPECTED.get(error["type"], "another value").format(**context)
    return f"expected {wanted}, got {'none' if error['type'] == 'missing' else _shown(error['input'])}"


def place(error: ErrorDetails) -> str:
    """Return where `error` is, such as "graphs.detector.file"; "the file" if all of it is wrong."""
    return ".".join(str(part) for part in error["loc"]) or "the file"


def _shown(value: object) -> str:
    text = repr(value)
    return text if len(text) <= SHOWN_CHARACTERS else f"{text[:SHOWN_CHARACTERS]}..."
