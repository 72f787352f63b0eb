"""Lists of models in the forms of three providers: read, and written page by page."""

from typing import Any

import pytest

from coatcheck.protocol import DIALECTS, Json, JsonObject, ListedModel

PROVIDERS = {spoken.provider.name: spoken.provider for spoken in DIALECTS.values()}
NAMES = {"openai": "id", "anthropic": "id", "gemini": "name"}


def entry(provider: str, model: str) -> JsonObject:
    return {NAMES[provider]: f"models/{model}" if provider == "gemini" else model, "x": {"y": 1}}


def listed(provider: str, *ids: str) -> list[ListedModel]:
    return [ListedModel(name, entry(provider, name)) for name in ids]


@pytest.mark.parametrize("provider", NAMES)
def test_what_is_written_is_read_again(provider: str) -> None:
    models = PROVIDERS[provider].models
    some = listed(provider, "a", "org/b", "c:d")
    page = models.read(models.write(some, {}))
    assert page is not None
    assert (list(page.models), page.after) == (some, None)
    own = models.own("echo")
    (read,) = (models.read(models.write([ListedModel("echo", own)], {})) or page).models
    assert read == ListedModel("echo", own)


@pytest.mark.parametrize("provider", NAMES)
@pytest.mark.parametrize("answer", [None, [], "x", {"data": {}}, {"models": 3}, {"error": {}}])
def test_what_is_no_list_is_none(provider: str, answer: Json) -> None:
    assert PROVIDERS[provider].models.read(answer) is None


@pytest.mark.parametrize("provider", NAMES)
def test_entries_without_a_name_are_passed_over(provider: str) -> None:
    key = "models" if provider == "gemini" else "data"
    answer: JsonObject = {key: [3, {}, {NAMES[provider]: 4}, entry(provider, "a")]}
    page = PROVIDERS[provider].models.read(answer)
    assert page is not None
    assert [model.id for model in page.models] == ["a"]


def test_anthropics_pages_go_both_ways() -> None:
    models = PROVIDERS["anthropic"].models
    some = listed("anthropic", *"abcde")

    def page(**query: str) -> tuple[str, Any, Any, Any]:
        answer: Any = models.write(some, query)
        ids = "".join(each["id"] for each in answer["data"])
        return ids, answer["has_more"], answer["first_id"], answer["last_id"]

    assert page() == ("abcde", False, "a", "e")
    assert page(limit="2") == ("ab", True, "a", "b")
    assert page(limit="2", after_id="b") == ("cd", True, "c", "d")
    assert page(limit="2", after_id="d") == ("e", False, "e", "e")
    assert page(after_id="gone") == ("", False, None, None)
    assert page(limit="2", before_id="e") == ("cd", True, "c", "d")
    assert page(limit="2", before_id="c") == ("ab", False, "a", "b")
    assert page(limit="nonsense", after_id="d") == ("e", False, "e", "e")
    assert page(limit="0") == ("a", True, "a", "a")


def test_anthropics_lists_are_asked_for_page_by_page() -> None:
    models = PROVIDERS["anthropic"].models
    assert models.query(None) == "limit=1000"
    assert models.query("a b") == "limit=1000&after_id=a+b"
    answer: JsonObject = {"data": [{"id": "a"}], "has_more": True, "last_id": "a"}
    page = models.read(answer)
    assert page is not None
    assert page.after == "a"
    assert (models.read({"data": [], "has_more": True, "last_id": "a"}) or page).after is None


def test_geminis_pages_have_tokens() -> None:
    models = PROVIDERS["gemini"].models
    some = listed("gemini", *"abc")
    first = models.write(some, {"pageSize": "2"})
    assert first == {"models": [entry("gemini", "a"), entry("gemini", "b")], "nextPageToken": "b"}
    rest = models.write(some, {"page_size": "2", "page_token": "b"})
    assert rest == {"models": [entry("gemini", "c")]}
    assert models.write(some, {"pageToken": "gone"}) == {"models": []}
    page = models.read({"models": [], "nextPageToken": "t/="})
    assert page is not None
    assert models.query(page.after) == "pageSize=1000&pageToken=t%2F%3D"
    assert models.read({}) is not None
