"""EMsoft as an engine: its programs driven, supervised and believed only when their files agree."""
