"""Which clients are tried: where each lives, what it runs, which dialects it speaks."""

from dataclasses import dataclass, replace
from typing import Literal

from .environments import FRAMEWORKS, HERE, LITELLM, NODE_MODULES, OLD, Environment

Route = Literal["straight", "through", "onward"]
"""To us straight; `through` LiteLLM's proxy in front of us; `onward` from us to LiteLLM's proxy."""

CHAT, RESPONSES = "openai.chat", "openai.responses"
MESSAGES, GENERATE = "anthropic.messages", "gemini.generate"


@dataclass(frozen=True)
class Client:
    """One row of the table, or one for each of its dialects. `name` is part of its models' names."""

    name: str
    label: str
    package: str
    program: str
    environment: Environment
    dialects: tuple[str, ...]
    raises_from: str = ""
    """The package of its errors; npm's have none."""

    route: Route = "straight"
    beside: str = ""
    """Another package of it whose version counts."""

    has_files: bool = False
    """Whether it can make a file itself; else it is given the id of one."""

    @property
    def version(self) -> str:
        """Return what is installed; for a proxy, the proxy's."""
        where = self.environment if self.route == "straight" else LITELLM
        packages = (self.package, self.beside) if self.beside else (self.package,)
        return ", ".join(where.version_of(package) for package in packages)


_OPENAI = Client(
    name="openai",
    label="openai (Python)",
    package="openai",
    program="openai_sdk.py",
    environment=HERE,
    dialects=(CHAT, RESPONSES),
    raises_from="openai",
    has_files=True,
)
_ANTHROPIC = Client(
    name="anthropic",
    label="anthropic (Python)",
    package="anthropic",
    program="anthropic_sdk.py",
    environment=HERE,
    dialects=(MESSAGES,),
    raises_from="anthropic",
    has_files=True,
)


def _proxied(client: Client, route: Route, label: str) -> Client:
    """Return a client that meets LiteLLM's proxy, whose version is what counts."""
    return replace(
        client,
        name=f"{route}-{client.name}",
        label=f"LiteLLM's proxy, {label}",
        package="litellm",
        route=route,
        has_files=route == "onward",
    )


CLIENTS = (
    _OPENAI,
    replace(_OPENAI, name="openai1", environment=OLD),
    _ANTHROPIC,
    replace(_ANTHROPIC, name="anthropic0", environment=OLD),
    Client(
        name="genai",
        label="google-genai (Python)",
        package="google-genai",
        program="genai_sdk.py",
        environment=HERE,
        dialects=(GENERATE,),
        raises_from="google",
        has_files=True,
    ),
    Client(
        name="npm-openai",
        label="openai (npm)",
        package="openai",
        program="openai.mjs",
        environment=NODE_MODULES,
        dialects=(CHAT, RESPONSES),
        has_files=True,
    ),
    Client(
        name="npm-anthropic",
        label="@anthropic-ai/sdk (npm)",
        package="@anthropic-ai/sdk",
        program="anthropic.mjs",
        environment=NODE_MODULES,
        dialects=(MESSAGES,),
        has_files=True,
    ),
    Client(
        name="vercel",
        label="ai, @ai-sdk/openai-compatible (npm)",
        package="ai",
        program="vercel.mjs",
        environment=NODE_MODULES,
        dialects=(CHAT,),
        beside="@ai-sdk/openai-compatible",
    ),
    Client(
        name="langchain-openai",
        label="langchain-openai",
        package="langchain-openai",
        program="langchain.py",
        environment=FRAMEWORKS,
        dialects=(CHAT, RESPONSES),
        raises_from="langchain_openai",
    ),
    Client(
        name="langchain-anthropic",
        label="langchain-anthropic",
        package="langchain-anthropic",
        program="langchain.py",
        environment=FRAMEWORKS,
        dialects=(MESSAGES,),
        raises_from="langchain_anthropic",
    ),
    Client(
        name="pydantic-ai",
        label="pydantic-ai",
        package="pydantic-ai-slim",
        program="pydantic_agent.py",
        environment=FRAMEWORKS,
        dialects=(CHAT, RESPONSES, MESSAGES, GENERATE),
        raises_from="pydantic_ai",
    ),
    _proxied(_OPENAI, "through", "in front of us"),
    _proxied(_ANTHROPIC, "through", "in front of us"),
    _proxied(_OPENAI, "onward", "behind us"),
    _proxied(_ANTHROPIC, "onward", "behind us"),
)
