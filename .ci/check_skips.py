"""Fail on every skipped test that `.ci/skips` does not allow, and on a run of no tests.

Usage: check_skips.py JUNIT_XML... Outside CI (no `CI` in the environment) a skip is only shown, since
a machine without root may lack a package that a test needs.
"""

import os
import sys
from collections.abc import Sequence
from pathlib import Path
from xml.etree import ElementTree


def allowed_prefixes(text: str) -> list[str]:
    """Return the test ids' prefixes of a skips file."""
    lines = (line.split("\t") for line in text.splitlines() if line and not line.startswith("#"))
    return [fields[0] for fields in lines if len(fields) == 2 and fields[1].strip()]


def main(reports: Sequence[Path]) -> int:
    """Return the exit code."""
    allowed = allowed_prefixes(Path(__file__).with_name("skips").read_text("utf-8"))
    cases = [case for report in reports for case in ElementTree.parse(report).iter("testcase")]
    skipped = {
        f"{case.get('classname')}::{case.get('name')}": entry.get("message")
        for case in cases
        if (entry := case.find("skipped")) is not None
    }
    refused = {
        name: reason
        for name, reason in skipped.items()
        if not any(name.startswith(prefix) for prefix in allowed)
    }
    for name, reason in refused.items():
        print(f"skipped, and .ci/skips does not allow it: {name}: {reason}")
    if not cases:
        print("no test ran")
        return 1
    return 1 if refused and os.environ.get("CI") else 0


if __name__ == "__main__":
    sys.exit(main([Path(argument) for argument in sys.argv[1:]]))
