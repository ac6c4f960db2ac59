"""Names of parameters in test ids."""


def kind(value):
    """Name a parameter by its type, or by itself if it is a str.

    Texts of other objects may have an address or the time. Then pytest-xdist finds other tests in
    each process.
    """
    return value if type(value) is str else type(value).__name__
