"""Erasing a tenant or one of its end users, for an operator."""

from collections.abc import AsyncGenerator
from contextlib import aclosing
from dataclasses import asdict
from typing import Annotated, Literal

from pydantic import AfterValidator, BaseModel, ConfigDict, Field
from pydantic_core import PydanticCustomError

from coatcheck.protocol import is_end_user, is_tenant
from coatcheck.store import Erased, Left, Store

from .work import Line, Work


def _tenant(name: str) -> str:
    if not is_tenant(name):
        raise PydanticCustomError("tenant_invalid", "no tenant can have this name")
    return name


def _end_user(name: str) -> str:
    if not is_end_user(name):
        raise PydanticCustomError("end_user_invalid", "no end user can have this name")
    return name


class EraseRequest(BaseModel):
    """Whom to erase. A field that is misspelt is refused: without an end user the tenant goes."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    tenant: Annotated[str, AfterValidator(_tenant)]
    end_user: Annotated[str, AfterValidator(_end_user)] | None = Field(
        default=None, description="Only what was stored for this one; without, the whole tenant."
    )
    rewrite: bool = Field(
        default=True,
        description="Rewrite the databases at the end, so that no fragment of what was erased stays in "
        "their files. Nobody writes meanwhile, about 10 s for a gigabyte.",
    )


class ErasingLine(Line):
    """What was erased so far."""

    kind: Literal["progress"] = "progress"
    ended_grants: int
    kept_grants: int = Field(
        description="Of which only the end user's claim went: others claim them, or nobody was named."
    )
    removed_blobs: int
    removed_bytes: int
    removed_prompts: int
    removed_uploads: int


class LeftEntry(BaseModel):
    """What was looked for afterwards, and found."""

    model_config = ConfigDict(frozen=True)

    rows: int = Field(description="In the databases; of what came meanwhile, if any.")
    files: int = Field(description="Of removed blobs.")
    databases: int = Field(
        description="Not rewritten, or their logs not cut, for lack of room or because somebody read."
    )
    keys: int = Field(description="Valid keys of the tenant: they stay until they are revoked.")


class ErasedLine(Line):
    """What was erased in all, and whether it is gone."""

    kind: Literal["done"] = "done"
    verified: bool = Field(description="It was looked for, and nothing found but keys.")
    rewritten: bool
    ended_grants: int
    kept_grants: int
    removed_blobs: int
    removed_bytes: int
    removed_prompts: int
    removed_uploads: int
    left: LeftEntry


async def _erase(store: Store, request: EraseRequest) -> AsyncGenerator[Line]:
    steps = store.erasure.run(request.tenant, request.end_user, rewrite=request.rewrite)
    async with aclosing(steps):
        async for erased in steps:
            if erased.left is None:
                yield ErasingLine(kind="progress", **_counts(erased))
            else:
                yield _done(erased, erased.left, request)


def _done(erased: Erased, left: Left, request: EraseRequest) -> ErasedLine:
    return ErasedLine(
        kind="done",
        verified=left.is_nothing,
        rewritten=request.rewrite and not left.databases,
        left=LeftEntry(**asdict(left)),
        **_counts(erased),
    )


def _counts(erased: Erased) -> dict[str, int]:
    return {
        "ended_grants": erased.ended_grants,
        "kept_grants": erased.kept_grants,
        "removed_blobs": erased.removed_blobs,
        "removed_bytes": erased.removed_bytes,
        "removed_prompts": erased.removed_prompts,
        "removed_uploads": erased.removed_uploads,
    }


ERASE = Work(
    "erase",
    EraseRequest,
    _erase,
    "Erase a tenant, or one of its end users",
    "`progress` after each step; at the end `done` with what was erased and what is left",
)
