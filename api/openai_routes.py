"""The routes that OpenAI alone has: uploads in parts."""

from coatcheck.protocol import OPENAI
from coatcheck.web import END_USER_FIELD, Answer, Handler, Operation, Route

from .openai_models import UploadCompletion, UploadObject, UploadPart, UploadRequest
from .openai_uploads import OpenAIUploads

UPLOADS_PATH = "/v1/uploads"
_UPLOAD = f"{UPLOADS_PATH}/{{upload}}"


def upload_routes(uploads: OpenAIUploads) -> list[Route]:
    """Return the routes of uploads in parts."""
    answers = {200: Answer("the upload", UploadObject)}
    error = OPENAI.error_model

    def route(path: str, handler: Handler, operation: Operation) -> Route:
        return Route("POST", path, handler, operation, uploads.render_problem, scope="write")

    return [
        route(
            UPLOADS_PATH,
            uploads.create,
            Operation(
                "Begin a file in parts",
                "files",
                answers,
                body=UploadRequest,
                parameters=[END_USER_FIELD],
                error=error,
            ),
        ),
        route(
            f"{_UPLOAD}/parts",
            uploads.add,
            Operation(
                "Hand in a part",
                "files",
                {200: Answer("the part", UploadPart)},
                body=["multipart/form-data"],
                description="Its bytes are the form's `data`.",
                error=error,
            ),
        ),
        route(
            f"{_UPLOAD}/complete",
            uploads.complete,
            Operation(
                "Put the parts in order and make a file of them",
                "files",
                answers,
                body=UploadCompletion,
                error=error,
            ),
        ),
        route(
            f"{_UPLOAD}/cancel",
            uploads.cancel,
            Operation("Forget an upload and its parts", "files", answers, error=error),
        ),
    ]
