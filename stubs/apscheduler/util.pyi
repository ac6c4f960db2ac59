from datetime import datetime
from typing import Any

undefined: object

def datetime_to_utc_timestamp(timeval: datetime | None) -> Any: ...
def maybe_ref(ref: Any) -> Any: ...
