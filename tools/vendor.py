#!/usr/bin/env python3
"""Fetch the browser files that this repository keeps, exactly as their manifest names them.

    tools/vendor.py FOLDER                make what FOLDER/manifest.json names again; it must be the same
    tools/vendor.py FOLDER NAME@VERSION   take another version of a package, and write down its hashes

An entry of a manifest names a package of npm (`name`, `version`), the path in it (`source`) and the file here
(`file`, with the version in its name where that changes what a cache holds), its licence (`licence`, `spdx`),
other texts to ship (`beside`: file here to path in the package), and two hashes. With `icons` the file is a
sprite of those pictures of the folder `source`. Nothing of a package is ever run.
"""

import hashlib
import io
import json
import re
import subprocess
import sys
import tarfile
import tempfile
from pathlib import Path
from typing import Any, NoReturn

MANIFEST = "manifest.json"

LICENCES = ("LICENSE", "LICENSE.txt", "LICENSE.md", "LICENCE", "COPYING")
"""Where packages keep their licence, in the order in which they are looked for."""

SYMBOL = (
    '<symbol id="{}" viewBox="0 0 24 24" fill="none" stroke="currentColor" stroke-width="2"'
    ' stroke-linecap="round" stroke-linejoin="round">{}</symbol>'
)


class Package:
    """A package of npm, as the registry sends it."""

    def __init__(self, name: str, version: str) -> None:
        with tempfile.TemporaryDirectory() as place:
            command = ["npm", "pack", f"{name}@{version}", "--ignore-scripts", "--silent"]
            subprocess.run(command, cwd=place, check=True, stdout=subprocess.DEVNULL)
            (archive,) = Path(place).glob("*.tgz")
            body = archive.read_bytes()
        self.sha512 = hashlib.sha512(body).hexdigest()
        self._files: dict[str, bytes] = {}
        with tarfile.open(fileobj=io.BytesIO(body)) as tar:
            for member in tar:
                file = tar.extractfile(member) if member.isfile() else None
                if file is not None:
                    # Below one folder, which most packages call `package`.
                    self._files[member.name.partition("/")[2]] = file.read()

    def read(self, path: str) -> bytes:
        """One file of it."""
        if path not in self._files:
            stop(f"the package has no {path}")
        return self._files[path]

    def licence(self) -> bytes:
        """The text of its licence."""
        return self.read(next((path for path in LICENCES if path in self._files), LICENCES[0]))

    def sprite(self, folder: str, icons: list[str]) -> bytes:
        """One SVG with a symbol for each icon."""
        symbols = [SYMBOL.format(icon, inside(self.read(f"{folder}/{icon}.svg"))) for icon in icons]
        return "\n".join(['<svg xmlns="http://www.w3.org/2000/svg">', *symbols, "</svg>\n"]).encode()


def inside(picture: bytes) -> str:
    """What is drawn in an SVG, on one line."""
    found = re.search(r"<svg[^>]*>(.*)</svg>", picture.decode(), re.DOTALL)
    if found is None:
        stop("a picture is no SVG")
    text = re.sub(r"\s+", " ", found[1])
    return text.replace("> <", "><").replace(" />", "/>").strip()


def stop(why: str) -> NoReturn:
    """End with a sentence."""
    sys.exit(f"vendor: {why}.")


def fetch(folder: Path, entry: dict[str, Any], package: Package) -> None:
    """Write the files of one entry, and its hashes when it has none."""
    if entry.setdefault("package_sha512", package.sha512) != package.sha512:
        stop(f"{entry['name']} {entry['version']} is not the package that the manifest knows")
    icons = entry.get("icons")
    body = package.sprite(entry["source"], icons) if icons else package.read(entry["source"])
    digest = hashlib.sha256(body).hexdigest()
    if entry.setdefault("file_sha256", digest) != digest:
        stop(f"{entry['file']} would differ from what the manifest knows")
    (folder / entry["file"]).write_bytes(body)
    (folder / entry["licence"]).write_bytes(package.licence())
    for file, path in entry.get("beside", {}).items():
        (folder / file).write_bytes(package.read(path))


def take_version(folder: Path, entry: dict[str, Any], version: str) -> None:
    """Make an entry stand for another version, whose hashes nobody knows yet."""
    (folder / entry["file"]).unlink(missing_ok=True)
    entry["file"] = entry["file"].replace(entry["version"], version)
    entry["version"] = version
    entry.pop("package_sha512", None)
    entry.pop("file_sha256", None)


def main(folder: Path, wanted: str | None) -> None:
    """Do what the command line asks for."""
    manifest = folder / MANIFEST
    entries: list[dict[str, Any]] = json.loads(manifest.read_text(encoding="utf-8"))
    if wanted is not None:
        # A name may itself begin with the sign.
        name, _, version = wanted.rpartition("@")
        chosen = [entry for entry in entries if entry["name"] == name]
        if not chosen:
            stop(f"{manifest} has no {name or wanted}")
        for entry in chosen:
            take_version(folder, entry, version)
    packages: dict[tuple[str, str], Package] = {}
    for entry in entries:
        key = (entry["name"], entry["version"])
        if key not in packages:
            packages[key] = Package(*key)
        fetch(folder, entry, packages[key])
    manifest.write_text(json.dumps(entries, indent=2) + "\n", encoding="utf-8")


if __name__ == "__main__":
    if len(sys.argv) not in {2, 3}:
        sys.exit(__doc__)
    main(Path(sys.argv[1]), sys.argv[2] if len(sys.argv) == 3 else None)  # noqa: PLR2004 (a folder and a name)
