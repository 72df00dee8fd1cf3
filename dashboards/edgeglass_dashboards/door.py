"""What a request may ask: the one callback, checked before Dash has it, and faults answered in a line of text."""

from __future__ import annotations

import sys
from typing import Annotated, Literal, Self

import flask
from dash.exceptions import DependencyException
from pydantic import BaseModel, Field, ValidationError, model_validator
from werkzeug.exceptions import HTTPException, InternalServerError, NotFound

OUTPUTS = (("page", "children"), ("picker", "data"), ("picker", "value"))
"""What the callback sets: components and their properties."""

_CALLBACK = "/_dash-update-component"
_LONGEST = 200


class Place(BaseModel):
    """Which page is to be drawn, as the browser says it."""

    address: str = "/"
    search: str = ""
    scheme: Literal["light", "dark"] = "light"


class _Input(BaseModel):
    id: Literal["place"]
    property: Literal["data"]
    value: Place | None = None


class _Output(BaseModel):
    id: str
    property: str


class _Callback(BaseModel):
    """A call of the callback that draws a page: what Dash reads of it."""

    output: str
    outputs: list[_Output]
    inputs: Annotated[list[_Input], Field(min_length=1, max_length=1)]
    state: Annotated[list[str], Field(max_length=0)] = []
    changedPropIds: Annotated[list[Literal["place.data"]], Field(max_length=1)] = []  # noqa: N815  Dash's name

    @model_validator(mode="after")
    def _is_ours(self) -> Self:
        joined = "...".join(".".join(place) for place in OUTPUTS)
        if self.output != f"..{joined}.." or [(out.id, out.property) for out in self.outputs] != list(OUTPUTS):
            raise ValueError("its outputs are those of none")
        return self


def guard_the_door(server: flask.Flask) -> None:
    """Refuse requests that nothing of ours sends with 400, and answer every fault in one line of text.

    Args:
        server: the Flask application behind the dashboard.
    """

    def check_request() -> None:
        asked = flask.request
        try:
            asked.query_string.decode()
        except UnicodeDecodeError:
            flask.abort(400, "the query is not UTF-8")
        if asked.path != _CALLBACK or asked.method != "POST":
            return
        if not asked.is_json:
            flask.abort(400, "expected JSON")
        try:
            _Callback.model_validate_json(asked.get_data())
        except ValidationError as error:
            flask.abort(400, f"no callback of this dashboard: {first_fault(error)}")

    server.before_request(check_request)
    server.register_error_handler(HTTPException, _in_a_line)
    server.register_error_handler(DependencyException, lambda _: _in_a_line(NotFound("no such file")))
    server.register_error_handler(Exception, _unexpected)


def first_fault(error: ValidationError) -> str:
    """Return where the first fault lies and what it is, in a line.

    >>> try:
    ...     Place.model_validate_json('{"address": 3}')
    ... except ValidationError as error:
    ...     first_fault(error)
    'address: Input should be a valid string'
    """
    fault = error.errors(include_url=False, include_context=False, include_input=False)[0]
    place = ".".join(map(str, fault["loc"]))
    return _line(f"{place}: {fault['msg']}" if place else fault["msg"])


def _line(text: str) -> str:
    line = " ".join(text.split())
    return line if len(line) <= _LONGEST else line[: _LONGEST - 1] + "…"


def _in_a_line(error: HTTPException) -> flask.Response:
    """Return the answer for a fault."""
    text = _line(f"{error.code} {error.name}: {error.description}")
    return flask.Response(f"{text}\n", error.code, mimetype="text/plain")


def _unexpected(error: Exception) -> flask.Response:
    """Return the answer for a fault of ours, and write it as one line on stderr."""
    print(_line(f"dashboard: {flask.request.path}: {type(error).__name__}: {error}"), file=sys.stderr, flush=True)
    return _in_a_line(InternalServerError("the dashboard cannot answer this request"))
