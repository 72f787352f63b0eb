"""`python -m coatcheck.cli` is the command `coatcheck`."""

from .main import main

main()
