"""`python -m tests.daemon.reuse` takes a conversation by every way, and writes the table of docs/reuse.md."""

from .page import PAGE, measure, render

PAGE.write_text(render(measure()), "utf-8")
