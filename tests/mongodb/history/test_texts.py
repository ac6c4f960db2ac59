"""Texts of records: bounded, storable, and made without an error."""

from bson import encode

from jobstore.mongodb.history.texts import error_text, short_text


class HostileError(Exception):
    def __str__(self):
        raise RuntimeError("no text")


def test_text_has_500_characters_at_most():
    assert short_text("x" * 501) == "x" * 500
    assert len(error_text(ValueError("x" * 501))) == 500


def test_error_is_named_with_its_class():
    assert error_text(ValueError("no such file")) == "ValueError: no such file"


def test_text_that_raises_is_replaced():
    assert short_text(HostileError()) == "<its text can't be made: RuntimeError>"
    assert error_text(HostileError()) == "HostileError: <its text can't be made: RuntimeError>"


def test_every_text_can_be_stored():
    assert short_text("a\ud800b") == "a?b"
    encode({"": short_text("\ud800" * 600)})
