"""Bytes as the protocol takes them: anything flat that hashing and slicing accept uncopied."""

import mmap

Buffer = bytes | bytearray | memoryview

Whole = bytes | mmap.mmap
"""All of a text, to be searched. A long one may be in memory that is mapped for it alone."""
