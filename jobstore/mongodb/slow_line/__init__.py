"""Commands that carry no more bytes than the line does in their time."""
