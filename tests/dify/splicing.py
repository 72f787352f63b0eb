"""What the hook's splice must show with an SDK's own class, for each SDK (`programs/splicing.py`)."""

import json
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest

from coatcheck.client.dify import hook

from ..clients.environments import Environment
from .conftest import skip_without

PROGRAM = Path(__file__).parent / "programs/splicing.py"


class SplicingContract:
    """Subclasses name the environment. The program runs once; each test looks at one scenario."""

    environment: Environment

    @pytest.fixture(scope="class")
    @classmethod
    def told(cls, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
        skip_without(cls.environment)
        folder = tmp_path_factory.mktemp("splicing")
        shutil.copytree(Path(hook.__file__).parent, folder / "coatcheck_dify_hook")
        done = subprocess.run(
            [cls.environment.python, PROGRAM, folder],
            cwd=folder,
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )
        assert done.returncode == 0, done.stderr
        told: dict[str, Any] = json.loads(done.stdout)
        return told

    def test_the_model_has_the_images_and_the_plugin_has_base64(self, told: dict[str, Any]) -> None:
        first, second = told["images"][:2]
        images = [first, second, first]
        assert told["plain"] == {
            "requests": [request("plain é", images)],
            "plugin": [images] * 2,  # before its model is asked, and after
            "answer": "Yes",
            "is_short": True,  # the request that requests keeps
        }

    def test_what_is_not_of_this_request_is_left_alone(self, told: dict[str, Any]) -> None:
        images = told["images"][:1]
        assert told["not_offered"]["requests"] == [request("other", images)]
        assert not told["not_offered"]["is_short"]
        assert told["left_out"]["requests"] == [request("left out", images)]

    def test_redirects_and_retries_send_the_whole_again(self, told: dict[str, Any]) -> None:
        images = told["images"][:1]
        assert told["redirected"]["requests"] == [
            request("redirected", images),
            request("redirected", images, "/elsewhere"),
        ]
        assert told["redirected"]["is_short"]
        assert told["tried_again"]["requests"] == [request("again", images)] * 3

    def test_invocations_at_once_do_not_mix(self, told: dict[str, Any]) -> None:
        seen = sorted(told["at_once"]["requests"], key=lambda each: int(each["text"]))
        assert seen == [request(f"{n}", [image]) for n, image in enumerate(told["images"])]
        assert told["at_once"]["are_short"] == [True] * len(seen)

    def test_a_class_with_its_own_way_has_base64_all_along(self, told: dict[str, Any]) -> None:
        images = told["images"][:1]
        assert told["own_convert"] == {
            "requests": [request("own", images)],
            "plugin": [images] * 4,
        }
        assert told["own_generate"] == {
            "requests": [request("own", images, "/")],
            "plugin": [images] * 2,
        }

    def test_a_stand_in_that_was_not_sent_is_an_error(self, told: dict[str, Any]) -> None:
        kind, message = told["unsent"]["said"]
        assert kind == "InvokeBadRequestError"
        assert message.startswith("coatcheck: hook_not_spliced: 1 images were not sent")
        assert not told["unsent"]["decodes"]

    def test_nothing_is_logged_of_it(self, told: dict[str, Any]) -> None:
        assert "POST /chat/completions" in told["logged"]
        assert "Coatcheck" not in told["logged"]
        assert len(told["logged"]) < 10_000

    def test_which_classes_count_text_alone(self, told: dict[str, Any]) -> None:
        assert told["counting"] == {
            "OAICompatLargeLanguageModel": True,
            "Model": True,
            "OwnVocabulary": True,
            "OwnConvert": False,
            "OwnCount": False,
        }


def request(text: str, images: list[str], path: str = "/chat/completions") -> dict[str, Any]:
    """Return what the program's model server tells of one: read by its Content-Length."""
    return {"text": text, "path": path, "chunked": None, "images": images}
