import base64
import json

import pytest
from bench.turn_bodies import TURN_FORMS, TurnForm

from coatcheck.protocol import DIALECTS, FoundInline, FoundRef

every_form = pytest.mark.parametrize("form", TURN_FORMS.values(), ids=TURN_FORMS)


def test_every_dialect_has_a_form() -> None:
    assert set(TURN_FORMS) == set(DIALECTS)


@every_form
def test_the_two_forms_of_a_turn_have_the_same_images(form: TurnForm) -> None:
    images = [b"one image", b"another"]
    refs = ["blob:sha256:" + "a" * 64, "blob:sha256:" + "b" * 64]
    spoken = DIALECTS[form.dialect]
    inline = spoken.walk(json.loads(form.inline_turn(images))[spoken.messages_key])
    named = spoken.walk(json.loads(form.refs_turn(refs))[spoken.messages_key])
    found = [slot.found for slot in inline]
    assert [one.decode() for one in found if isinstance(one, FoundInline)] == images
    assert [str(slot.found.ref) for slot in named if isinstance(slot.found, FoundRef)] == refs


@every_form
def test_a_refs_turn_becomes_the_inline_turn(form: TurnForm) -> None:
    ref = "blob:sha256:" + "a" * 64
    body, spoken = json.loads(form.refs_turn([ref])), DIALECTS[form.dialect]
    (slot,) = spoken.walk(body[spoken.messages_key])
    slot.put_inline("image/jpeg", base64.b64encode(b"one image").decode())
    assert body == json.loads(form.inline_turn([b"one image"]))


@every_form
def test_a_text_turn_has_no_image(form: TurnForm) -> None:
    body, spoken = json.loads(form.text_turn("hello")), DIALECTS[form.dialect]
    assert not spoken.walk(body[spoken.messages_key])
    assert "hello" in form.text_turn("hello").decode()
