"""Writes down the schema that all migrations make together, in PostgreSQL's own words.

`python -m tests.support.schema` writes `schema.sql` anew (`make schema`); a test compares the two.
"""

import re
import subprocess
from pathlib import Path

from tests.support.cluster import Cluster

SCHEMA = Path(__file__).parents[2] / "src" / "crypto_orders" / "store" / "schema.sql"

HEAD = """\
-- The whole schema, as all migrations together make it. Written by `make schema`: read it, change migrations.

"""

NOISE = re.compile(r"^(--.*|SET .*;|SELECT pg_catalog\.set_config.*;|\\(un)?restrict .*)$\n?", re.MULTILINE)


def dump(dsn: str, programs: str | Path) -> str:
    """The schema of a database as SQL, without what differs between machines."""
    done = subprocess.run(
        [
            Path(programs) / "pg_dump",
            "--schema-only",
            "--no-owner",
            "--no-privileges",
            "--exclude-table=schema_migrations",
            f"--dbname={dsn}",
        ],
        stdout=subprocess.PIPE,
        text=True,
        check=True,
    )
    return HEAD + re.sub(r"\n{3,}", "\n\n", NOISE.sub("", done.stdout)).strip() + "\n"


def main() -> None:
    """Write the file."""
    cluster = Cluster()
    try:
        SCHEMA.write_text(dump(cluster.template_dsn, cluster.server.programs))
    finally:
        cluster.close()


if __name__ == "__main__":
    main()
