"""A page of files, of any size."""

from coatcheck.store import Files, Page, StoredFile

_FILES_AT_ONCE = 250  # some 10 ms of the index


async def collect_files(
    files: Files,
    tenant: str,
    limit: int,
    after: str | None,
    *,
    purpose: str | None = None,
    oldest_first: bool = False,
) -> Page[StoredFile]:
    """Return a page, asked for in turns that keep no other question waiting; see `Files.list`."""
    items: list[StoredFile] = []
    while True:
        page = await files.list(
            tenant,
            limit=min(_FILES_AT_ONCE, limit - len(items)),
            after=after,
            purpose=purpose,
            oldest_first=oldest_first,
        )
        items.extend(page.items)
        after = page.next_cursor
        if after is None or len(items) == limit:
            return Page(items, after)
