"""What binds where a goal is missed: looked into by people, and shown beside each row that misses its goal."""

FINDINGS: dict[str, str] = {}
