"""Build a wheel from sources by the hooks of PEP 517. Runs in the sandbox; everything here is at the build's mercy.

Arguments: the source archive, then the requirements that the backend asked for before and that are installed now,
or `*` where whatever it asks for is.
Standard output: one line of JSON, {"requires": [...]} or {"filename": ...}, the latter followed by the wheel's bytes.
What the build itself prints goes to standard error.
"""

import importlib
import json
import os
import shutil
import sys
import tarfile
import tomllib
import zipfile

ANSWER = os.fdopen(os.dup(1), "wb")
os.dup2(2, 1)
ARCHIVE, INSTALLED = sys.argv[1], sys.argv[2:]


def answer(head, path=None):
    ANSWER.write(json.dumps(head).encode() + b"\n")
    if path is not None:
        with open(path, "rb") as file:
            shutil.copyfileobj(file, ANSWER, 1 << 20)
    ANSWER.flush()


def unpack(archive, folder):
    if archive.endswith(".zip"):
        with zipfile.ZipFile(archive) as file:
            file.extractall(folder)
    else:
        with tarfile.open(archive) as file:
            if hasattr(tarfile, "data_filter"):
                file.extraction_filter = tarfile.data_filter
            file.extractall(folder)
    tops = [name for name in os.listdir(folder) if os.path.isdir(os.path.join(folder, name))]
    if len(tops) != 1:
        sys.exit(f"the sources have {len(tops)} folders at the top, one is needed")
    return os.path.join(folder, tops[0])


def backend_of(root):
    path = os.path.join(root, "pyproject.toml")
    system = {}
    if os.path.exists(path):
        with open(path, "rb") as file:
            system = tomllib.load(file).get("build-system", {})
    name = system.get("build-backend", "setuptools.build_meta:__legacy__")
    sys.path[0:1] = [os.path.join(root, entry) for entry in system.get("backend-path", [])]
    module, _, attributes = name.partition(":")
    backend = importlib.import_module(module)
    for attribute in filter(None, attributes.split(".")):
        backend = getattr(backend, attribute)
    return backend


def main():
    root = unpack(ARCHIVE, "/work/sources")
    os.chdir(root)
    backend = backend_of(root)
    ask = getattr(backend, "get_requires_for_build_wheel", lambda settings: [])
    missing = [] if INSTALLED == ["*"] else [text for text in ask({}) if text not in INSTALLED]
    if missing:
        return answer({"requires": missing})
    os.mkdir("/work/wheel")
    name = backend.build_wheel("/work/wheel", {})
    answer({"filename": name}, os.path.join("/work/wheel", name))


main()
