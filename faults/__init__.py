"""Breaks a store on purpose, and looks whether anything that was acknowledged is gone.

`python -m faults` fails system calls of the write path and cuts the power of disks.
"""
