"""Problems: what went wrong, as a value (RFC 9457).

A problem has a stable `code`, and says whether sending the same request again can help.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field

from .json_value import Json, JsonObject

PROBLEM_TYPE = "application/problem+json"


@dataclass(frozen=True, slots=True)
class Problem:
    """A failed request. `detail` is one sentence for the person who reads the log."""

    status: int
    code: str
    title: str
    detail: str = ""
    extensions: Mapping[str, Json] = field(default_factory=dict[str, Json])
    retryable: bool = False
    retry_after_seconds: int | None = None
    """When a resend may help, where that is known."""

    def to_json(self) -> JsonObject:
        """Return the problem details object (RFC 9457 section 3)."""
        body: JsonObject = {
            "type": f"urn:coatcheck:problem:{self.code}",
            "title": self.title,
            "status": self.status,
            "code": self.code,
        }
        if self.detail:
            body["detail"] = self.detail
        return {**body, **self.extensions}
