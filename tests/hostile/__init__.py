"""Generators of files that nobody should trust, and the watch under which the tests open them."""
