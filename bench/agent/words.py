"""Text that reads like a log, made from a seed."""

from random import Random

_TEXT = (
    "the window shows a table of invoices with three rows marked late and a button that opens the "
    "supplier page where totals differ from what the ledger says so check each amount before you "
    "confirm it because the export of last month was wrong in two places once for a name written "
    "as Müller and once for a price of 12.50 € that lost its comma now scroll down past the "
    "chart until the footer appears and read its date then go back and open the next entry"
)


def words(random: Random, count: int) -> str:
    """Return so many words."""
    return " ".join(random.choices(_TEXT.split(), k=count))
