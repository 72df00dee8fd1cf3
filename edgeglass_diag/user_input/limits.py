"""How much of a user's file is read. A file above a limit is refused in one line that names the limit.

Sizes that must work: a log of 10^6 rows, or of 10^4 columns, and embeddings of 1 GB. Reading a file at its limit takes
at most some 4 GiB beyond its own size.
"""

from __future__ import annotations

MIB = 1 << 20

TABLE_BYTES = 1024 * MIB
"""CSV, TSV, JSON lines and binary logs, which are read row by row: 10^6 rows of 50 numbers of 20 characters."""

JSON_BYTES = 128 * MIB
"""JSON documents, which are in memory as a whole: ``{"":0},`` has 7 characters and takes 27 times as many bytes."""

CELLS = 50_000_000
"""Rows times columns of a log: a number takes 24 bytes and its place 8, 1.6 GB in all."""

COLUMNS = 100_000
"""Columns of a log, ten times the widest that must work; each is judged by its name."""

FIELD_CHARACTERS = MIB
"""Characters of one cell of a table: a whole caption or JSON document, never a picture."""

ANNOTATIONS_BYTES = 1024 * MIB
"""COCO's captions, whose JSON is text for the most part: eleven times those of train2017."""

DATA_BYTES = 1 << 40
"""Tables and shards of a user's data, which are read row by row: only a bound against files without end."""

PICTURE_BYTES = 256 * MIB
"""One encoded picture, or one caption, of a user's data."""

FILES = 100_000
"""Files that one pattern of names stands for: LAION-400M has 41,408 shards."""

DEPTH = 64
"""Mappings and lists within each other: logs have five levels, recipes three."""

SETTINGS_BYTES = 128 << 10
"""Recipes and other YAML, which takes some 10 s for each MB: a hundred times the longest shipped recipe."""

SETTINGS_NODES = 10_000
"""Values of a recipe where each alias counts as all that it stands for."""

CONFIGURATION_BYTES = MIB
"""``pyproject.toml``: a hundred times that of this project."""

ARRAY_BYTES = 8192 * MIB
"""Embeddings, unpacked: 10^6 pairs of 1024 float32 numbers."""

SHOWN = 300
"""Characters of a value that a message repeats, and half of those of the whole line at most."""
