"""The `hub` command: a file per command, each with `configure(parser)` and `run(arguments) -> exit code`.

`main` holds the table of commands and the one place where errors are printed; `output` everything that prints.
"""
