"""What pages say of a field that cannot be read: no word of it is a programmer's."""

import pytest

from crypto_orders.kit.plain_words import plain, plain_detail


@pytest.mark.parametrize(
    ("name", "text", "said"),
    [
        ("kind", "Invalid enum value 'foo'", "Kind: choose one that the page offers."),
        ("older_than_hours", "Expected `int` <= 8760", "Older than hours: a number of at most 8760."),
        ("older_than_hours", "Expected `int` >= 1", "Older than hours: a number of at least 1."),
        ("q", "Expected `str` of length <= 100", "Search: at most 100 characters."),
        ("reason", "Required", "Reason: needed."),
        ("until", "Must be later than since", "To: must be later than From."),
        ("limit", "Is not a whole number", "Limit: is not a whole number."),
    ],
)
def test_a_fault_is_said_as_its_field_is_labelled(name: str, text: str, said: str) -> None:
    assert plain({name: [text]}) == said


def test_what_is_wrong_with_the_whole_is_said_as_it_is() -> None:
    assert plain({}, ["The query is longer than 8192 bytes"]) == "The query is longer than 8192 bytes."
    said = plain_detail("until: Must be later than since, by at most 31 days.")
    assert said == "To: must be later than From, by at most 31 days."
    assert plain_detail("Choose what the key may do.") == "Choose what the key may do."
    assert plain_detail("Not done: try again.") == "Not done: try again."
