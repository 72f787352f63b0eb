"""What a request says beside an image of how closely to look at it."""

from coatcheck.protocol import Json, JsonObject, Path


def detail_at(body: JsonObject, path: Path) -> str | None:
    """Return the `detail` that stands in the part of an attachment, or in its value there.

    OpenAI's dialects have it: `image_url.detail` in one, beside `image_url` in the other.
    """
    part: Json = body
    for step in path[:-1]:
        if isinstance(part, dict) and isinstance(step, str):
            part = part.get(step)
        elif isinstance(part, list) and isinstance(step, int):
            part = part[step]
        else:
            return None  # one object in place of a list: no dialect that has it writes so
    if not isinstance(part, dict):
        return None
    value = part.get(str(path[-1]))
    inner = value.get("detail") if isinstance(value, dict) else None
    detail = part.get("detail") if inner is None else inner
    return detail if isinstance(detail, str) else None
