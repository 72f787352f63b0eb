"""A conversation by `previous_response_id` with the `openai` package; it runs under 3 and under 1.109.

Reads `url`, `key`, `stream` and `turns` from standard input, prints the id of each answer.
"""

import json
import sys
from typing import Any

import openai

plan = json.load(sys.stdin)
answered: list[Any] = []
named: dict[str, str] = {}
with openai.OpenAI(base_url=plan["url"], api_key=plan["key"]) as ai:
    create: Any = ai.responses.create
    for turn in plan["turns"]:
        items = turn.get("items") or [
            {"type": f"{item.type}_output", "call_id": item.call_id, "output": turn["output"]}
            for item in answered
            if item.type.endswith("_call")
        ]
        asked = {**plan["fields"], "input": items, **named}
        if plan["stream"]:
            response: Any = None
            for event in create(**asked, stream=True):
                response = getattr(event, "response", response)
        else:
            response = create(**asked)
        answered, named = response.output, {"previous_response_id": response.id}
        print(response.id, flush=True)
    try:
        create(**{**plan["fields"], "input": "hi", "previous_response_id": "resp_unknown"})
    except openai.BadRequestError as error:
        print(error.code, flush=True)
