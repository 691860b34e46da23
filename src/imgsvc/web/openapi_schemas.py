"""JSON Schemas of requests and answers, in the dialect of OpenAPI 3.0.

OpenAPI 3.0.3 uses its own subset of JSON Schema (Specification 3.0.3, "Schema Object"):
no `const`, no `examples`, no type `null`. Pydantic writes the 2020-12 dialect.
"""

from collections.abc import Sequence
from typing import Any

from pydantic import BaseModel
from pydantic.json_schema import (
    GenerateJsonSchema,
    JsonSchemaMode,
    JsonSchemaValue,
    models_json_schema,
)
from pydantic_core import core_schema

_REF = "#/components/schemas/{model}"


def reference(model: type[BaseModel]) -> dict[str, Any]:
    """Return the schema that points at a model of :func:`component_schemas`."""
    return {"$ref": _REF.format(model=model.__name__)}


def component_schemas(
    *, requests: Sequence[type[BaseModel]], answers: Sequence[type[BaseModel]]
) -> dict[str, Any]:
    """Return the schemas of models and of all that they use, by class name.

    Requests are described as they are read, answers and callbacks as they are written.
    """
    models: list[tuple[type[BaseModel], JsonSchemaMode]] = [
        *((model, "validation") for model in requests),
        *((model, "serialization") for model in answers),
    ]
    _, schema = models_json_schema(models, ref_template=_REF, schema_generator=_OpenApi30)
    definitions: dict[str, Any] = schema["$defs"]
    for definition in definitions.values():
        definition.pop("title", None)  # it only repeats the name
    return definitions


class _OpenApi30(GenerateJsonSchema):
    """Writes the dialect of OpenAPI 3.0, by the rule that a field is absent, never null."""

    def generate_inner(self, schema: Any) -> JsonSchemaValue:  # pydantic's type is a private union
        """Return the schema, with `example` in place of `examples`."""
        result = super().generate_inner(schema)
        if "examples" in result:
            result["example"] = result.pop("examples")[0]
        return result

    def nullable_schema(self, schema: core_schema.NullableSchema) -> JsonSchemaValue:
        """Return what the value is if it is there."""
        return self.generate_inner(schema["schema"])

    def default_schema(self, schema: core_schema.WithDefaultSchema) -> JsonSchemaValue:
        """Return the schema without a default: for an absent field the server chooses."""
        return self.generate_inner(schema["schema"])

    def literal_schema(self, schema: core_schema.LiteralSchema) -> JsonSchemaValue:
        """Return an enumeration, also for a single value."""
        result = super().literal_schema(schema)
        if "const" in result:
            result["enum"] = [result.pop("const")]
        return result

    def model_schema(self, schema: core_schema.ModelSchema) -> JsonSchemaValue:
        """Return an object; one that the server writes may get more fields some day."""
        result = super().model_schema(schema)
        if self.mode == "serialization":
            result.pop("additionalProperties", None)
        return result

    def field_title_should_be_set(self, schema: Any) -> bool:  # noqa: ARG002 - pydantic's signature; no field needs a title
        """Leave titles out: they only repeat the field's name."""
        return False

    def field_is_required(self, field: Any, total: bool) -> bool:  # noqa: FBT001 - pydantic's signature
        """Tell whether a field is always there; the server leaves out those without a value."""
        if self.mode == "validation":
            return super().field_is_required(field, total)
        value = field["schema"]
        if value["type"] == "default":
            value = value["schema"]
        return bool(value["type"] != "nullable")
