import base64
import json

from bench.turn_bodies import inline_turn, refs_turn, text_turn


def test_the_two_forms_of_a_turn_differ_in_the_images_alone() -> None:
    images = [b"one image", b"another"]
    refs = ["blob:sha256:" + "a" * 64, "blob:sha256:" + "b" * 64]
    as_refs = refs_turn(refs).decode()
    for image, ref in zip(images, refs, strict=True):
        url = "data:image/jpeg;base64," + base64.b64encode(image).decode()
        as_refs = as_refs.replace(ref, url)
    assert as_refs.encode() == inline_turn(images)


def test_a_text_turn_has_no_image() -> None:
    content = json.loads(text_turn("hello"))["messages"][0]["content"]
    assert content == [{"type": "text", "text": "hello"}]
