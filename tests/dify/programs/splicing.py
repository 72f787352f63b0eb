"""A program in a plugin SDK's environment: its class for OpenAI-compatible models, with the hook's splice.

Arguments: the folder that has the hook as `coatcheck_dify_hook`. Prints what each scenario saw.
"""

import sys

sys.path.insert(0, sys.argv[1])

import base64
import binascii
import hashlib
import http.client
import io
import json
import logging
import threading
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from random import Random
from urllib.parse import urlsplit

import requests
from coatcheck_dify_hook import splice
from dify_plugin import OAICompatLargeLanguageModel  # replaces sockets and threads by gevent's
from dify_plugin.entities.model.message import (
    DocumentPromptMessageContent,
    ImagePromptMessageContent,
    TextPromptMessageContent,
    UserPromptMessage,
)
from dify_plugin.errors.model import InvokeBadRequestError
from dify_plugin.interfaces.model.openai_compatible import llm
from requests.adapters import HTTPAdapter
from urllib3 import Retry

AT_ONCE = 8
IMAGES = [Random(seed).randbytes(200_000 + seed) for seed in range(AT_ONCE)]
TEXTS = [base64.b64encode(data).decode() for data in IMAGES]


class Handler(BaseHTTPRequestHandler):
    """A model: says how each request came, and answers as told."""

    protocol_version = "HTTP/1.1"

    def do_POST(self):
        if Handler.all_are_here:
            Handler.all_are_here.wait(20)
        length = self.headers["Content-Length"]
        body = self.rfile.read(int(length))
        content = json.loads(body)["messages"][0]["content"]
        urls = [part["image_url"]["url"] for part in content if part["type"] == "image_url"]
        Handler.seen.append(
            {
                "text": content[0]["text"],
                "path": self.path,
                "chunked": self.headers["Transfer-Encoding"],
                "images": [digest(url.removeprefix("data:image/png;base64,")) for url in urls],
            }
        )
        status, headers = Handler.answers.pop(0) if Handler.answers else (200, {})
        answer = b'data: {"choices": [{"index": 0, "delta": {"content": "Yes"}}], "usage": '
        answer += b'{"prompt_tokens": 1, "completion_tokens": 1}}\n\ndata: [DONE]\n\n'
        self.send_response(status)
        for name, value in {**headers, "Content-Length": str(len(answer))}.items():
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(answer)

    def log_message(self, *args):
        pass


Handler.seen, Handler.answers, Handler.all_are_here = [], [], None


class Model(OAICompatLargeLanguageModel):
    """As most plugins have it: `_invoke` and the reading of the response are its own."""

    __module__ = "provider.models.llm.llm"  # the SDK names it in errors

    def __init__(self):
        super().__init__(model_schemas=[])
        self.has_seen = []

    def _invoke(self, model, credentials, prompt_messages, *args, **named):
        self.look(prompt_messages)
        return super()._invoke(model, credentials, prompt_messages, *args, **named)

    def _handle_generate_stream_response(self, model, credentials, response, prompt_messages):
        self.look(prompt_messages)
        self.sent = response.request
        return super()._handle_generate_stream_response(
            model, credentials, response, prompt_messages
        )

    def look(self, prompt_messages):
        self.has_seen.append([digest(part.base64_data) for part in prompt_messages[0].content[1:]])


class OwnConvert(Model):
    def _convert_prompt_message_to_dict(self, message, credentials=None):
        self.look([message])
        made = super()._convert_prompt_message_to_dict(message, credentials)
        for part in made["content"][1:]:
            self.has_seen.append([digest(part["image_url"]["url"].partition(",")[2])])
        return made


class OwnGenerate(Model):
    def _generate(self, model, credentials, prompt_messages, *args, **named):
        made = self._convert_prompt_message_to_dict(prompt_messages[0], credentials)
        self.has_seen.append([digest(made["content"][1]["image_url"]["url"].partition(",")[2])])
        requests.post(credentials["endpoint_url"], json={"messages": [made]})
        return iter(())


class OwnCount(Model):
    def _num_tokens_from_messages(self, messages, tools=None, credentials=None):
        return 0


class OwnVocabulary(Model):
    def _get_num_tokens_by_gpt2(self, text):
        return 0


def digest(text):
    return hashlib.sha256(base64.b64decode(text, validate=True)).hexdigest()


def image(text):
    return ImagePromptMessageContent(
        format="png", mime_type="image/png", base64_data=text, detail="low"
    )


def prompt(name, *parts):
    return [UserPromptMessage(content=[TextPromptMessageContent(data=name), *parts])]


def ask(model, messages, *offered):
    """Invoke as `executor` does, each step within the offer; return the text of the answer."""
    offer = splice.Offer(offered)
    credentials = {"endpoint_url": url, "mode": "chat", "context_size": "1000"}
    with offer:
        chunks = iter(model.invoke("m", credentials, messages, {}, None, None, True, None))
    answer = ""
    while True:
        with offer:
            chunk = next(chunks, None)
        if chunk is None:
            return answer
        answer += chunk.delta.message.content


def told(model=None, **more):
    """Return, and forget, what the model server has seen."""
    seen, Handler.seen = Handler.seen, []
    own = {"plugin": model.has_seen} if model else {}
    return {"requests": seen, **own, **more}


def is_short(request):
    return len(request.body) < 1000 and request.headers["Content-Length"] == str(len(request.body))


def plain():
    model = Model()
    messages = prompt("plain \u00e9", image(TEXTS[0]), image(TEXTS[1]), image(TEXTS[0]))
    answer = ask(model, messages, TEXTS[0], TEXTS[1])
    return told(model, answer=answer, is_short=is_short(model.sent))


def not_offered():
    """Equal base64 from elsewhere is the SDK's own matter."""
    model = Model()
    ask(model, prompt("other", image(TEXTS[0][:1] + TEXTS[0][1:])), TEXTS[1])
    return told(model, is_short=is_short(model.sent))


def redirected():
    model = Model()
    Handler.answers = [(307, {"Location": f"{url}/elsewhere"})]
    ask(model, prompt("redirected", image(TEXTS[0])), TEXTS[0])
    return told(is_short=is_short(model.sent))


def tried_again():
    retry = Retry(2, status_forcelist=[503], allowed_methods=None, backoff_factor=0)
    requests.sessions.HTTPAdapter = partial(HTTPAdapter, max_retries=retry)
    Handler.answers = [(503, {}), (503, {})]
    try:
        ask(Model(), prompt("again", image(TEXTS[0])), TEXTS[0])
    finally:
        requests.sessions.HTTPAdapter = HTTPAdapter
    return told()


def at_once():
    Handler.all_are_here = threading.Barrier(AT_ONCE)
    models = [Model() for _ in range(AT_ONCE)]

    def one(number):
        text = TEXTS[number]
        return ask(models[number], prompt(f"{number}", image(text)), text)

    with ThreadPoolExecutor(AT_ONCE) as pool:
        list(pool.map(one, range(AT_ONCE)))
    Handler.all_are_here = None
    return told(are_short=[is_short(model.sent) for model in models])


def overridden(kind):
    model = kind()
    ask(model, prompt("own", image(TEXTS[0])), TEXTS[0])
    return told(model)


def left_out():
    """The SDK leaves documents out."""
    part = DocumentPromptMessageContent(
        format="pdf", mime_type="application/pdf", base64_data=TEXTS[1]
    )
    ask(Model(), prompt("left out", image(TEXTS[0]), part), TEXTS[0], TEXTS[1])
    return told()


def unsent():
    """Another library sends the body; what it sends is no base64."""
    bodies = []

    class Other:
        @staticmethod
        def post(target, headers, json=None, data=None, **named):
            bodies.append(data or globals()["json"].dumps(json).encode())
            parts = urlsplit(target)
            connection = http.client.HTTPConnection(parts.hostname, parts.port)
            connection.close()
            response = requests.Response()
            response.status_code, response.raw = 200, io.BytesIO(b"data: [DONE]\n\n")
            response.request = None
            return response

    llm.requests, before = Other, llm.requests
    try:
        said = ask(Model(), prompt("unsent", image(TEXTS[0])), TEXTS[0])
    except InvokeBadRequestError as error:
        said = [type(error).__name__, str(error)]
    finally:
        llm.requests = before
    name = json.loads(bodies[0])["messages"][0]["content"][1]["image_url"]["url"].partition(",")[2]
    try:
        base64.b64decode(name)
    except binascii.Error:
        return {"said": said, "decodes": False}
    return {"said": said, "decodes": True}


def counting():
    kinds = (OAICompatLargeLanguageModel, Model, OwnVocabulary, OwnConvert, OwnCount)
    return {kind.__name__: splice.counts_text(kind.__new__(kind)) for kind in kinds}


server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
serving = threading.Thread(target=server.serve_forever)
serving.start()
url = f"http://127.0.0.1:{server.server_port}"
log = io.StringIO()
logging.basicConfig(stream=log, level=logging.DEBUG)
results = {
    "images": [hashlib.sha256(data).hexdigest() for data in IMAGES],
    "plain": plain(),
    "not_offered": not_offered(),
    "redirected": redirected(),
    "tried_again": tried_again(),
    "at_once": at_once(),
    "own_convert": overridden(OwnConvert),
    "own_generate": overridden(OwnGenerate),
    "left_out": left_out(),
    "unsent": unsent(),
    "counting": counting(),
}
server.shutdown()
serving.join()
server.server_close()
print(json.dumps({**results, "logged": log.getvalue()}))
