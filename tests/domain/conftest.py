"""What the tests of the domain share."""

import json
from pathlib import Path

import pytest

VECTORS = Path(__file__).parent.parent / "data" / "ipn_vectors.json"


@pytest.fixture(scope="session")
def ipn_vectors() -> list[dict[str, str]]:
    """Bodies, each with its secret, the text that is signed and the signature."""
    return json.loads(VECTORS.read_text())["vectors"]
