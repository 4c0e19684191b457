"""What browsers load of other people's is what their manifests say, with its licence, and nothing else."""

import hashlib
import json
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).parents[2]
MANIFESTS = sorted(
    manifest for top in ("src", "tests") for manifest in (ROOT / top).rglob("vendor/manifest.json")
)
ENTRIES = [(manifest.parent, entry) for manifest in MANIFESTS for entry in json.loads(manifest.read_text())]
PERMITTED = {"0BSD", "Apache-2.0", "ISC", "MIT", "OFL-1.1"}
PERMITTED_IN_TESTS = {*PERMITTED, "MPL-2.0"}

each_entry = pytest.mark.parametrize(
    ("folder", "entry"),
    ENTRIES,
    ids=[f"{folder.parents[1].name}-{entry['file']}" for folder, entry in ENTRIES],
)


def shown(folder: Path) -> str:
    return str(folder.relative_to(ROOT))


@each_entry
def test_a_vendored_file_is_the_one_that_was_looked_at(folder: Path, entry: dict[str, Any]) -> None:
    assert hashlib.sha256((folder / entry["file"]).read_bytes()).hexdigest() == entry["file_sha256"]
    assert len(bytes.fromhex(entry["package_sha512"])) == 64


@each_entry
def test_a_vendored_file_has_its_licence_beside_it(folder: Path, entry: dict[str, Any]) -> None:
    in_tests = folder.is_relative_to(ROOT / "tests")
    assert entry["spdx"] in (PERMITTED_IN_TESTS if in_tests else PERMITTED)
    assert len((folder / entry["licence"]).read_text()) > 500


@each_entry
def test_a_vendored_file_is_told_of(folder: Path, entry: dict[str, Any]) -> None:
    """One line of the list of other people's software says what it is and where."""
    lines = (ROOT / "THIRD_PARTY.md").read_text().splitlines()
    wanted = (f"{entry['name']} {entry['version']}", entry["spdx"], shown(folder))
    assert [line for line in lines if all(text in line for text in wanted)], wanted


@pytest.mark.parametrize("manifest", MANIFESTS, ids=lambda manifest: shown(manifest.parent))
def test_a_folder_of_vendored_files_holds_nothing_that_its_manifest_does_not_name(manifest: Path) -> None:
    named = {manifest.name}
    for folder, entry in ENTRIES:
        if folder == manifest.parent:
            named |= {entry["file"], entry["licence"], *entry.get("beside", {})}
    assert {file.name for file in manifest.parent.iterdir()} == named


def test_no_folder_of_vendored_files_is_without_a_manifest() -> None:
    folders = {
        folder for top in ("src", "tests") for folder in (ROOT / top).rglob("vendor") if folder.is_dir()
    }
    assert folders == {manifest.parent for manifest in MANIFESTS}
