"""The description of every route, made from what guards it: /openapi.json, and /docs for people."""

import json
import re
from collections.abc import Iterator, Mapping
from importlib.metadata import PackageNotFoundError, version
from typing import Any

from apispec import APISpec
from apispec.ext.marshmallow import MarshmallowPlugin
from flask import Blueprint, Flask, Response, current_app, render_template
from flask.typing import ResponseReturnValue
from marshmallow import Schema, fields
from werkzeug.routing import Rule

from service.api.describe import Description, Query, description_of, document
from service.storage.records import KeyClass
from service.use_cases.sessions import COOKIE

bp = Blueprint("openapi", __name__)

_SEPARATORS = re.compile(r"[^A-Za-z0-9_.]+")
_PARAMETER = re.compile(r"<(?:(?P<converter>\w+)(?:\([^)]*\))?:)?(?P<name>\w+)>")
_TYPES = {"int": "integer", "float": "number"}
_UNWRITTEN = frozenset({"HEAD", "OPTIONS"})
DOCS_CSP = "default-src 'none'; style-src 'self'; img-src 'self'; frame-ancestors 'none'; base-uri 'none'"
EXTENSION = "opportune_openapi"
_VALUES: Mapping[str, object] = {
    "date-time": "2026-11-22T10:00:00Z",
    "integer": 1,
    "number": 1.5,
    "boolean": True,
}


class Pointer(Schema):
    """One finding inside a refused body."""

    pointer = fields.String(required=True)
    reason = fields.String(required=True)


class Problem(Schema):
    """RFC 9457; `code` is stable."""

    type = fields.String(required=True)
    title = fields.String(required=True)
    status = fields.Integer(required=True)
    detail = fields.String(required=True)
    instance = fields.String(required=True)
    code = fields.String(required=True)
    errors = fields.List(fields.Nested(Pointer))


class OfrepFailure(Schema):
    """OFREP's own form of an error; bulk has no key."""

    key = fields.String()
    errorCode = fields.String(required=True)  # noqa: N815 - OFREP's word
    errorDetails = fields.String(required=True)  # noqa: N815 - OFREP's word


@bp.get("/openapi.json")
@document(Description(summary="This description", tag="operations", scopes=None))
def get_openapi() -> ResponseReturnValue:
    """Return the OpenAPI 3.1 description, complete by construction."""
    return specification(current_app)


@bp.get("/docs")
@document(
    Description(summary="All routes, for people", tag="operations", scopes=None, media_type="text/html")
)
def get_docs() -> Response:
    """Return a plain page with every route."""
    spec = specification(current_app)
    page = render_template("routes.html", info=spec["info"], groups=_groups(spec))
    return Response(
        page, content_type="text/html; charset=utf-8", headers={"Content-Security-Policy": DOCS_CSP}
    )


def specification(app: Any) -> dict[str, Any]:  # noqa: ANN401 - the application or its proxy
    """Return the description of `app`, made once."""
    known = app.extensions.get(EXTENSION)
    if known is None:
        known = app.extensions[EXTENSION] = build(app)
    return dict(known)


def build(app: Flask) -> dict[str, Any]:
    """Write the description: one operation for each rule and method of the URL map."""
    spec = APISpec(
        title="Opportune",
        version=_version(),
        openapi_version="3.1.0",
        info={
            "description": "Experimentation and personalization: variants, events, verdicts, recommendations."
        },
        plugins=[MarshmallowPlugin(schema_name_resolver=_schema_name)],
    )
    spec.components.security_scheme("bearer", {"type": "http", "scheme": "bearer"})
    spec.components.security_scheme("api_key", {"type": "apiKey", "in": "header", "name": "X-API-Key"})
    spec.components.security_scheme("sign_in", {"type": "apiKey", "in": "cookie", "name": COOKIE})
    spec.components.security_scheme("basic", {"type": "http", "scheme": "basic"})
    for rule in sorted(app.url_map.iter_rules(), key=lambda r: r.rule):
        view = app.view_functions[rule.endpoint]
        operations = {
            method.lower(): _operation(rule, method, view)
            for method in sorted((rule.methods or set()) - _UNWRITTEN)
        }
        spec.path(path=_PARAMETER.sub(r"{\g<name>}", rule.rule), operations=operations)
    return spec.to_dict()


def _operation(rule: Rule, method: str, view: object) -> dict[str, Any]:
    about = description_of(view) or _page(rule.endpoint, view)
    operation: dict[str, Any] = {
        # The path belongs to it: a view may have several.
        "operationId": f"{rule.endpoint}.{method.lower()}.{_SEPARATORS.sub('-', rule.rule).strip('-')}",
        "summary": about.summary,
        "tags": [about.tag.lower()],
        "parameters": list(_parameters(rule)),
        "responses": _responses(about, is_ofrep=rule.rule.startswith("/ofrep/")),
    }
    if about.body is not None and issubclass(about.body, Query):
        operation["parameters"].append({"in": "query", "schema": about.body})
    elif about.body is not None:
        schema = getattr(about.body, "documented_by", about.body)
        operation["requestBody"] = {"required": True, "content": {"application/json": {"schema": schema}}}
    if about.scopes is not None:
        operation["security"] = [{"bearer": []}, {"api_key": []}, {"basic": []}]
        operation["x-scopes"] = [c.value for c in KeyClass if c in about.scopes]
    if about.sign_in:
        operation.setdefault("security", []).append({"sign_in": []})
    return operation


def _page(endpoint: str, view: object) -> Description:
    """Return a description of a route that has none of its own: a page of the dashboard."""
    if endpoint.endswith(".static"):
        return Description(summary="A file that the pages need", tag="pages", scopes=None, media_type="*/*")
    first = (getattr(view, "__doc__", "") or "A page").strip().partition("\n")[0]
    return Description(
        summary=first,
        tag="pages",
        scopes=None,
        media_type="text/html",
        sign_in=getattr(view, "needs_sign_in", False),
    )


def _parameters(rule: Rule) -> Iterator[dict[str, Any]]:
    for found in _PARAMETER.finditer(rule.rule):
        kind = _TYPES.get(found["converter"] or "", "string")
        yield {"in": "path", "name": found["name"], "required": True, "schema": {"type": kind}}


def _responses(about: Description, *, is_ofrep: bool) -> dict[str, Any]:
    good: dict[str, Any] = {"description": "Done"}
    schema: Any = about.answer or {}
    good["content"] = {about.media_type: {"schema": schema}}
    failure: type[Schema] = OfrepFailure if is_ofrep else Problem
    kind = "application/json" if is_ofrep else "application/problem+json"
    bad = {"description": "Refused or failed; see docs/http.md", "content": {kind: {"schema": failure}}}
    return {str(about.status): good, "default": bad}


def _groups(spec: Mapping[str, Any]) -> dict[str, list[dict[str, str]]]:
    groups: dict[str, list[dict[str, str]]] = {}
    for path, operations in spec["paths"].items():
        for method, operation in operations.items():
            keys = [f"{scope}_" for scope in operation.get("x-scopes", ())]
            keys += ["sign-in"] if {"sign_in": []} in operation.get("security", ()) else []
            row = {
                "method": method.upper(),
                "path": path,
                "summary": operation["summary"],
                "key_classes": ", ".join(keys) or "none",
                "body": _body_example(spec, operation),
            }
            groups.setdefault(operation["tags"][0], []).append(row)
    return dict(sorted(groups.items()))


def _body_example(spec: Mapping[str, Any], operation: Mapping[str, Any]) -> str:
    """Return a body of the right form, every member there, values only of the right type."""
    if "requestBody" not in operation:
        return ""
    schema = operation["requestBody"]["content"]["application/json"]["schema"]
    return json.dumps(_example(spec["components"]["schemas"], schema), indent=2)


def _example(schemas: Mapping[str, Any], schema: Mapping[str, Any]) -> Any:  # noqa: ANN401 - any JSON
    schema = schemas[schema["$ref"].rpartition("/")[2]] if "$ref" in schema else schema
    kind = schema.get("type", "object")
    kind = next(k for k in kind if k != "null") if isinstance(kind, list) else kind
    if "enum" in schema:
        return schema["enum"][0]
    if kind == "array":
        return [_example(schemas, schema.get("items", {}))]
    if kind == "object":
        return {name: _example(schemas, member) for name, member in schema.get("properties", {}).items()}
    return _VALUES.get(schema.get("format", ""), _VALUES.get(kind, "..."))


def _schema_name(schema: Any) -> str:  # noqa: ANN401 - apispec passes a class or an instance
    cls = schema if isinstance(schema, type) else type(schema)
    return f"{cls.__module__.rpartition('.')[2]}_{cls.__name__}"


def _version() -> str:
    try:
        return version("opportune")
    except PackageNotFoundError:
        return "0"
