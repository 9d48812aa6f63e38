"""What jobs and errors say, as every database can keep it."""


def storable(text: str) -> str:
    r"""Return *text* with what a database refuses in words: NULs and half characters.

    >>> print(storable("a\0b\udcff"))
    a\0b\udcff
    """
    return text.encode(errors="backslashreplace").decode().replace("\0", r"\0")


def told_of(error: Exception) -> str:
    r"""Return class and message of *error*, though it may be unable to say its message.

    >>> told_of(ValueError("a\0b"))
    'ValueError: a\\0b'
    """
    try:
        message = str(error)
    except Exception:
        message = "it cannot say what is wrong."
    return storable(f"{type(error).__name__}: {message}")
