"""Resumable uploads by tus 1.0.0: where they are, and how their answers name the blob."""

from typing import Final

TUS_PATH: Final = "/v1/tus"
"""Where uploads begin; each is one segment below."""
DIGEST_HEADER: Final = "Coatcheck-Digest"
"""On answers about a finished upload: the digest of the blob that it became."""
REF_HEADER: Final = "Coatcheck-Ref"
"""Beside it: the blob's ref."""
