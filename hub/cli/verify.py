"""`hub verify`: every file's digest, then the golden example replayed."""

from __future__ import annotations

import argparse
from typing import Any

from hub.cli.loading import load_paddle
from hub.cli.output import table, write, write_json
from hub.errors import HubError, UsageError


def configure(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("names", nargs="+", metavar="NAME", help="a module name, name@version or ./folder")


def run(arguments: argparse.Namespace) -> int:
    """Print one row for each module; 1 when one of them is not what it should be."""
    reports = [_verify(name) for name in arguments.names]
    if arguments.json:
        write_json(reports)
    else:
        rows = [(report["module"], "ok" if report["ok"] else "FAILED", report["found"]) for report in reports]
        write(table(rows, ("MODULE", "RESULT", "FOUND")))
    return 0 if all(report["ok"] for report in reports) else 1


def _verify(name: str) -> dict[str, Any]:
    from hub.registry.client import locate, verify_files

    try:
        located = locate(name)
        problems = verify_files(located)
        if problems:
            return {"module": name, "ok": False, "found": "; ".join(problems)}
        load_paddle()
        from hub.module import Module

        module = Module(str(located.folder))
        if module.spec.golden is None:  # as others publish networks
            return {"module": name, "ok": True, "found": "loads; it brings no golden values to replay"}
        report = module.verify()
    except HubError as error:
        if error.exit_code == UsageError.exit_code:  # no module was named: that is not a finding about one
            raise
        return {"module": name, "ok": False, "found": "; ".join(filter(None, (error.message, error.hint)))}
    return {"module": name, "ok": report.ok, "found": str(report)}
