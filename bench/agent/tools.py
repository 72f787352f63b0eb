"""What an agent is told once and sends with every turn: its instructions and fifty tools."""

from random import Random

from .words import words

Schema = dict[str, object]

TOOLS = 50
_AREAS = (
    "browser",
    "files",
    "ledger",
    "mail",
    "calendar",
    "desktop",
    "shell",
    "search",
    "crm",
    "crop",
)
_VERBS = ("open", "list", "update", "compare", "export")
_STRING: Schema = {"type": "string"}


def instructions() -> str:
    """Return the agent's instructions, some six kilobytes."""
    random = Random("instructions")
    rules = [f"{number}. {words(random, 30).capitalize()}." for number in range(1, 33)]
    return "You operate a desktop for an accountant. Rules:\n" + "\n".join(rules)


def tools(dialect: str, count: int = TOOLS) -> list[Schema]:
    """Return the definitions of the tools as a dialect writes them; together some 50 kB of JSON."""
    return [_defined(dialect, number) for number in range(count)]


def tool_name(number: int) -> str:
    """Return what a tool is called."""
    area, verb = _AREAS[number % len(_AREAS)], _VERBS[number // len(_AREAS) % len(_VERBS)]
    return f"{area}_{verb}"


def _defined(dialect: str, number: int) -> Schema:
    random = Random(f"tool {number}")
    name, about = tool_name(number), f"{words(random, 20).capitalize()}."
    schema = _parameters(random)
    if dialect == "anthropic.messages":
        return {"name": name, "description": about, "input_schema": schema}
    function = {"name": name, "description": about, "parameters": schema, "strict": False}
    if dialect == "openai.responses":
        return {"type": "function", **function}
    return {"type": "function", "function": function}


def _parameters(random: Random) -> Schema:
    def told(schema: Schema) -> Schema:
        return {**schema, "description": f"{words(random, 7).capitalize()}."}

    properties: Schema = {
        "target": told(_STRING),
        "x": told({"type": "integer", "minimum": 0, "maximum": 4096}),
        "y": told({"type": "integer", "minimum": 0, "maximum": 4096}),
        "mode": told({"type": "string", "enum": [words(random, 1) for _ in range(4)]}),
        "threshold": told({"type": "number", "default": 0.5}),
        "rows": told({"type": "array", "items": {"type": "integer"}, "maxItems": 50}),
        "options": told(
            {
                "type": "object",
                "properties": {"dry_run": told({"type": "boolean"}), "note": told(_STRING)},
                "additionalProperties": False,
            }
        ),
    }
    return {
        "type": "object",
        "properties": properties,
        "required": ["target"],
        "additionalProperties": False,
    }
