"""Measures what Coatcheck promises about time and memory, as ratios to a bare proxy.

Run with `python -m bench`. Every server is a process of its own, on loopback.
"""
