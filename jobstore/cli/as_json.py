"""Jobs and marks as JSON: times in ISO 8601, ids that are no strings as extended JSON."""

import json
from datetime import datetime
from typing import Any

from bson import json_util

__all__ = ["to_json"]


def to_json(value: Any) -> Any:
    """Convert a value to one that `json.dumps` takes; a named tuple becomes an object.

    >>> to_json(QuarantineMark("gone", None, None))
    {'reason': 'gone', 'since': None, 'next_run_time': None}
    """
    if value is None or isinstance(value, bool | str):
        return value
    if isinstance(value, datetime):
        return value.isoformat()
    if isinstance(value, tuple) and hasattr(value, "_asdict"):
        return {name: to_json(each) for name, each in value._asdict().items()}
    if isinstance(value, tuple | list):
        return [to_json(each) for each in value]
    if isinstance(value, dict) and all(isinstance(key, str) for key in value):
        return {key: to_json(each) for key, each in value.items()}
    text = json_util.dumps(value, json_options=json_util.RELAXED_JSON_OPTIONS)
    return json.loads(text)
