"""Jobs that are overdue at a start: moved on, spread over a time, or held."""
