"""Bytes as the protocol takes them: anything flat that hashing and slicing accept uncopied."""

Buffer = bytes | bytearray | memoryview
