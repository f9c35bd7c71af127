"""A small reading of OSV's evaluation algorithm, with the order of `packaging`: what the tests compare with.

Usage: osv_reading.py ZIP                     every record at every version that it names, and around those
       osv_reading.py ZIP REQUIREMENTS...     the pinned versions of requirement files
Prints one line for each (name, version): name, version, the ids of the records that affect it.
"""

import functools
import json
import re
import sys
import zipfile

try:
    from packaging.version import InvalidVersion, Version
except ImportError:
    from pip._vendor.packaging.version import InvalidVersion, Version


def normalized(name):
    return re.sub(r"[-_.]+", "-", name).lower()


version_of = functools.lru_cache(maxsize=None)(Version)


@functools.lru_cache(maxsize=None)
def parsed(text):
    try:
        return Version(text)
    except InvalidVersion:
        return None


def readable(events):
    """Whether every event is at a version: two of the records name others."""
    return all(text == "*" or parsed(text) for event in events for text in event.values())


def packages(archive):
    """For each name, the records with what they say of it: (id, set of versions, lists of events)."""
    found = {}
    with zipfile.ZipFile(archive) as archive:
        for name in archive.namelist():
            record = json.loads(archive.read(name))
            if "withdrawn" in record:
                continue
            for affected in record.get("affected", []):
                if affected["package"]["ecosystem"] != "PyPI":
                    continue
                versions = {parsed(text) for text in affected.get("versions", [])} - {None}
                ranges = [r["events"] for r in affected.get("ranges", []) if r["type"] != "GIT"]
                ranges = [events for events in ranges if readable(events)]
                entry = (record["id"], versions, ranges)
                found.setdefault(normalized(affected["package"]["name"]), []).append(entry)
    return found


def position(event):
    """Where an event is among the versions; `introduced: 0` is before all."""
    (kind, text), = event.items()
    return (0, Version("0")) if (kind, text) == ("introduced", "0") else (1, version_of(text))


def is_in_range(version, events):
    limits = [event["limit"] for event in events if "limit" in event]
    if limits and not any(limit == "*" or version < version_of(limit) for limit in limits):
        return False
    vulnerable = False
    for event in sorted((e for e in events if "limit" not in e), key=position):
        if "introduced" in event:
            if event["introduced"] == "0" or version >= version_of(event["introduced"]):
                vulnerable = True
        elif "fixed" in event:
            if version >= version_of(event["fixed"]):
                vulnerable = False
        elif "last_affected" in event:
            if version > version_of(event["last_affected"]):
                vulnerable = False
    return vulnerable


def affecting(version, entries):
    ids = {
        id
        for id, versions, ranges in entries
        if version in versions or any(is_in_range(version, events) for events in ranges)
    }
    return sorted(ids)


def interesting(entries):
    """Every version that is named, and its neighbours on both sides."""
    named = set()
    for _, versions, ranges in entries:
        named |= versions
        for events in ranges:
            named |= {parsed(text) for event in events for text in event.values()} - {None}
    around = set()
    for version in named:
        public = version.public
        for text in [f"{public}.dev0", f"{public}rc0", f"{public}.post1", f"{public}.1", f"{public}.0"]:
            around.add(parsed(text))
        release = list(version.release)
        release[-1] += 1
        around.add(parsed(f"{version.epoch}!" + ".".join(map(str, release))))
    return named | around - {None} | {Version("0"), Version("0.dev0"), Version("99999")}


def pinned(path):
    pin = re.compile(r"([A-Za-z0-9][A-Za-z0-9._-]*)(?:\[[^]]*\])?==([^\s;\\]+)")
    with open(path, encoding="utf-8") as lines:
        for line in lines:
            if found := pin.match(line.strip()):
                yield normalized(found[1]), Version(found[2])


def main():
    known = packages(sys.argv[1])
    if len(sys.argv) > 2:
        asked = sorted({pin for path in sys.argv[2:] for pin in pinned(path)})
    else:
        asked = [(name, version) for name in sorted(known) for version in sorted(interesting(known[name]))]
    for name, version in asked:
        print(name, version, *affecting(version, known.get(name, [])))


if __name__ == "__main__":
    main()
