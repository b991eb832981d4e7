"""What a person should hear although nothing failed."""

from __future__ import annotations


def warn(text: str, *values: object) -> None:
    """Say something on stderr, unless the program that uses us has set up logging and sends it elsewhere."""
    import logging  # 7 ms that a listing without surprises does not need

    logging.getLogger("hub.registry").warning(text, *values)
