"""Coatcheck: hand in each image once, carry a ticket."""
