"""Lists of models, as each provider writes them: read page by page, merged, and written again.

Where several upstreams stand behind one address, what a client sees is one list. An entry is passed
on as its provider wrote it.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol
from urllib.parse import urlencode

from .json_value import Json, JsonObject

MODELS_MISSING_HEADER = "Coatcheck-Models-Missing"
"""Of a merged list: the upstreams whose models are not in it, since they gave no list in time."""
MAX_PAGE = 1000
"""Models on a page, of every provider that has pages."""


@dataclass(frozen=True, slots=True)
class ListedModel:
    """One entry of a list. `id` is what requests name the model by."""

    id: str
    entry: JsonObject


@dataclass(frozen=True, slots=True)
class ModelPage:
    """A page of a list; `after` says where the next one begins, None: this is the last."""

    models: Sequence[ListedModel]
    after: str | None


class ModelList(Protocol):
    """One provider's list of models. It keeps no state."""

    @property
    def paging(self) -> frozenset[str]:
        """The fields of a query that say which page; all others are the client's business."""
        ...

    def query(self, after: str | None) -> str:
        """Return the fields that ask for the largest page, from a place on."""
        ...

    def read(self, answer: Json) -> ModelPage | None:
        """Read a page; None for what is none."""
        ...

    def write(self, models: Sequence[ListedModel], query: Mapping[str, str]) -> JsonObject:
        """Write the page of a list that a query asks for; a place that is not in it has none."""
        ...

    def own(self, model: str) -> JsonObject:
        """Describe a model of our own."""
        ...


class OpenAIModelList:
    """`{"object": "list", "data": [..]}`, all in one. Source: `openai`, types/model.py, version 3."""

    paging = frozenset[str]()

    def query(self, after: str | None) -> str:
        """Return nothing: there is one page."""
        return ""

    def read(self, answer: Json) -> ModelPage | None:
        """Read the list; some speakers of the format leave `object` out."""
        models = _entries(answer, "data", "id")
        return None if models is None else ModelPage(models, None)

    def write(self, models: Sequence[ListedModel], query: Mapping[str, str]) -> JsonObject:
        """Write all of them."""
        return {"object": "list", "data": [model.entry for model in models]}

    def own(self, model: str) -> JsonObject:
        """Describe a model; when it was made is not known."""
        return {"id": model, "object": "model", "created": 0, "owned_by": "coatcheck"}


class NoModelList:
    """Of a provider that no path asks for a list."""

    paging = frozenset[str]()

    def query(self, after: str | None) -> str:
        """Return nothing."""
        return ""

    def read(self, answer: Json) -> ModelPage | None:
        """Return None: nothing is a page."""
        return None

    def write(self, models: Sequence[ListedModel], query: Mapping[str, str]) -> JsonObject:
        """Return the names alone."""
        return {"models": [model.id for model in models]}

    def own(self, model: str) -> JsonObject:
        """Return the name alone."""
        return {"model": model}


class AnthropicModelList:
    """`{"data", "has_more", "first_id", "last_id"}`, paged by ids.

    Source: `anthropic`, resources/models.py and pagination.py, version 2.
    """

    paging = frozenset({"limit", "after_id", "before_id"})
    _usual_page = 20

    def query(self, after: str | None) -> str:
        """Return `limit` and `after_id`."""
        return urlencode({"limit": MAX_PAGE, **({} if after is None else {"after_id": after})})

    def read(self, answer: Json) -> ModelPage | None:
        """Read a page."""
        models = _entries(answer, "data", "id")
        if models is None or not isinstance(answer, dict):
            return None
        last = answer.get("last_id")
        has_more = answer.get("has_more") is True and isinstance(last, str) and models
        return ModelPage(models, str(last) if has_more else None)

    def write(self, models: Sequence[ListedModel], query: Mapping[str, str]) -> JsonObject:
        """Write the page before or after an id, and whether there are more in that direction."""
        count = _page_size(query.get("limit"), self._usual_page)
        ids = [model.id for model in models]
        if before := query.get("before_id"):
            end = ids.index(before) if before in ids else 0
            begin = max(0, end - count)
            has_more = begin > 0
        else:
            begin = _behind(ids, query.get("after_id"))
            end = min(len(ids), begin + count)
            has_more = end < len(ids)
        page = models[begin:end]
        return {
            "data": [model.entry for model in page],
            "has_more": has_more,
            "first_id": page[0].id if page else None,
            "last_id": page[-1].id if page else None,
        }

    def own(self, model: str) -> JsonObject:
        """Describe a model, of an unknown date as the API writes it."""
        return {
            "type": "model",
            "id": model,
            "display_name": model,
            "created_at": "1970-01-01T00:00:00Z",
        }


class GeminiModelList:
    """`{"models": [..], "nextPageToken"}`; entries are named `models/<id>`.

    Source: `google-genai`, models.py, version 3.
    """

    paging = frozenset({"pageSize", "pageToken", "page_size", "page_token"})
    _usual_page = 50

    def query(self, after: str | None) -> str:
        """Return `pageSize` and `pageToken`."""
        return urlencode({"pageSize": MAX_PAGE, **({} if after is None else {"pageToken": after})})

    def read(self, answer: Json) -> ModelPage | None:
        """Read a page; one without models may have no list."""
        if answer == {}:
            return ModelPage((), None)
        models = _entries(answer, "models", "name")
        if models is None or not isinstance(answer, dict):
            return None
        token = answer.get("nextPageToken")
        return ModelPage(models, token if isinstance(token, str) and token else None)

    def write(self, models: Sequence[ListedModel], query: Mapping[str, str]) -> JsonObject:
        """Write a page; the token of the next one is the last id on it."""
        size = query.get("pageSize") or query.get("page_size")
        begin = _behind(
            [model.id for model in models], query.get("pageToken") or query.get("page_token")
        )
        page = models[begin : begin + _page_size(size, self._usual_page)]
        answer: JsonObject = {"models": [model.entry for model in page]}
        if page and begin + len(page) < len(models):
            answer["nextPageToken"] = page[-1].id
        return answer

    def own(self, model: str) -> JsonObject:
        """Describe a model."""
        return {
            "name": f"{_GEMINI_PREFIX}{model}",
            "version": "1",
            "displayName": model,
            "supportedGenerationMethods": ["generateContent", "countTokens"],
        }


_GEMINI_PREFIX = "models/"


def _entries(answer: Json, key: str, name: str) -> list[ListedModel] | None:
    """Return the entries of a list that have a name; None where there is no list."""
    entries = answer.get(key) if isinstance(answer, dict) else None
    if not isinstance(entries, list):
        return None
    return [
        ListedModel(called.removeprefix(_GEMINI_PREFIX) if name == "name" else called, entry)
        for entry in entries
        if isinstance(entry, dict) and isinstance(called := entry.get(name), str) and called
    ]


def _page_size(asked: str | None, usual: int) -> int:
    """Return how many a page has; what is no number within bounds is brought there."""
    if asked is None or not (asked.isascii() and asked.isdecimal()):
        return usual
    return min(max(1, int(asked[:9])), MAX_PAGE)


def _behind(ids: Sequence[str], place: str | None) -> int:
    """Return the index behind a place; behind all where it is not there."""
    if place is None:
        return 0
    return ids.index(place) + 1 if place in ids else len(ids)
