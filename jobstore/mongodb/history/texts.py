"""Texts of records: bounded, and such as a document can have."""

__all__ = ["MAX_TEXT", "error_text", "short_text"]

MAX_TEXT = 500  # characters


def short_text(value: object) -> str:
    """Return the first 500 characters of a value's text; never raises.

    A document can't have lone surrogates: they are replaced.
    """
    try:
        text = str(value)[:MAX_TEXT]
    except Exception as error:  # the text of a user's exception is the user's code
        text = f"<its text can't be made: {type(error).__name__}>"
    return text.encode("utf-8", "replace").decode()


def error_text(error: object) -> str:
    """Return the class and the first characters of an error, 500 in all."""
    return f"{type(error).__name__}: {short_text(error)}"[:MAX_TEXT]
