import base64
import json

import pytest
from bench.turn_bodies import TURN_FORMS, TurnForm

from coatcheck.protocol import DIALECTS, FoundInline, FoundRef, messages_in

every_form = pytest.mark.parametrize("form", TURN_FORMS.values(), ids=TURN_FORMS)


def test_every_dialect_has_a_form() -> None:
    assert set(TURN_FORMS) == set(DIALECTS)


@every_form
def test_the_two_forms_of_a_turn_have_the_same_images(form: TurnForm) -> None:
    images = [b"one image", b"another"]
    refs = ["blob:sha256:" + "a" * 64, "blob:sha256:" + "b" * 64]
    spoken = DIALECTS[form.dialect]
    inline = spoken.walk(messages_in(spoken, json.loads(form.inline_turn(images))))
    named = spoken.walk(messages_in(spoken, json.loads(form.refs_turn(refs))))
    found = [slot.found for slot in inline]
    assert [one.decode() for one in found if isinstance(one, FoundInline)] == images
    digests = [slot.found.ref.digest for slot in named if isinstance(slot.found, FoundRef)]
    assert [f"blob:{digest}" for digest in digests] == refs


@every_form
def test_a_refs_turn_becomes_the_inline_turn(form: TurnForm) -> None:
    ref = "blob:sha256:" + "a" * 64
    body, spoken = json.loads(form.refs_turn([ref])), DIALECTS[form.dialect]
    (slot,) = spoken.walk(messages_in(spoken, body))
    slot.put_inline("image/jpeg", base64.b64encode(b"one image").decode())
    assert body == json.loads(form.inline_turn([b"one image"]))


@every_form
def test_a_text_turn_has_no_image(form: TurnForm) -> None:
    body, spoken = json.loads(form.text_turn("hello")), DIALECTS[form.dialect]
    assert not spoken.walk(messages_in(spoken, body))
    assert "hello" in form.text_turn("hello").decode()
