"""What is known of prompts used last, each true until it expires or something of its tenant's is erased."""

from collections import OrderedDict

from coatcheck.protocol import Digest

from .changes import Changes
from .prompt_row import PromptHead, PromptKey

_HEADS = 4096
_ALL = Digest.of(b"coatcheck.prompts")  # what a change of any of a tenant's messages is noted under


class PromptHeads:
    """Heads of prompts, in this process; what other processes erase is forgotten here too."""

    def __init__(self, changes: Changes) -> None:
        """`changes` stays the caller's."""
        self._changes = changes
        self._heads: OrderedDict[PromptKey, tuple[PromptHead, int]] = OrderedDict()

    def stamp(self, tenant: str) -> int:
        """Return what stands for the tenant's messages as they are; erasing some changes it."""
        return self._changes.stamp(tenant, _ALL).grant

    def find(self, key: PromptKey) -> PromptHead | None:
        """Return what is known of a prompt; it may have expired."""
        head, stamp = self._heads.get(key, (None, 0))
        return head if head is not None and stamp == self.stamp(key.tenant) else None

    def newest(self, key: PromptKey, head: PromptHead) -> PromptHead:
        """Return the head, or what is known of it when an extension is still to be written."""
        known = self.find(key)
        return known if known is not None and known.expires_at > head.expires_at else head

    def remember(self, key: PromptKey, head: PromptHead, stamp: int) -> None:
        """Remember a head that was read when the tenant's stamp was this."""
        self._heads[key] = (head, stamp)
        self._heads.move_to_end(key)
        while len(self._heads) > _HEADS:
            self._heads.popitem(last=False)

    def forget(self) -> None:
        """Forget all of them, here."""
        self._heads.clear()

    def forget_tenant(self, tenant: str) -> None:
        """Forget those of a tenant, in every process."""
        self._changes.change(tenant, _ALL)
