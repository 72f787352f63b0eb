"""Recalling: what an envelope names, from where it is kept."""

import asyncio

from coatcheck.protocol import Dialect, Envelope, prompt_root

from .errors import PromptNotFoundError
from .fields import Fields
from .source import PromptSource
from .turn import Recalled


class Recall:
    """Finds the messages and fields of envelopes. Owns nothing."""

    def __init__(self, prompts: PromptSource, fields: Fields) -> None:
        self._prompts = prompts
        self._fields = fields

    async def of(self, envelope: Envelope | None, tenant: str, dialect: Dialect) -> Recalled:
        """Return what is kept of what the envelope names, without the fields that are not.

        Raises:
            PromptNotFoundError: the parent is not kept.
        """
        if envelope is None:
            return Recalled()
        parent = None if envelope.parent == prompt_root(dialect.name) else envelope.parent
        if parent is None and not envelope.fields:
            return Recalled()
        finding = asyncio.create_task(self._fields.find(tenant, envelope.fields))
        try:
            kept = await self._prompts.expand(tenant, dialect.name, parent) if parent else []
            fields = await finding
        finally:
            finding.cancel()
            await asyncio.gather(finding, return_exceptions=True)
        if kept is None:
            assert parent is not None
            absent = {key: item for key, item in envelope.fields.items() if key not in fields}
            raise PromptNotFoundError(parent, absent)
        return Recalled(kept, fields)
