"""pip-audit against the advisories of an archive: a service on loopback plays the part of OSV's API.

Usage: osv_audit.py ZIP REQUIREMENTS...
Prints what `osv_reading.py` prints: name, version, and the ids of the records that pip-audit finds.
"""

import json
import subprocess
import sys
import threading
import zipfile
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

from osv_reading import affecting, normalized, packages, pinned
from packaging.version import Version


def main():
    archive, files = sys.argv[1], sys.argv[2:]
    known = packages(archive)
    with zipfile.ZipFile(archive) as opened:
        records = [json.loads(opened.read(name)) for name in opened.namelist()]
    records = {record["id"]: record for record in records}

    class Api(BaseHTTPRequestHandler):
        def do_POST(self):
            asked = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
            name, version = normalized(asked["package"]["name"]), Version(asked["version"])
            vulns = [records[id] for id in affecting(version, known.get(name, []))]
            body = json.dumps({"vulns": vulns} if vulns else {}).encode()
            self.send_response(200)
            self.send_header("Content-Type", "application/json")
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_):
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Api)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    url = f"http://127.0.0.1:{server.server_port}/v1/query"
    found = {}
    for path in files:
        pins = sorted(set(pinned(path)))
        audited = audit(url, "".join(f"{name}=={version}\n" for name, version in pins))
        for dependency in audited["dependencies"]:
            key = (normalized(dependency["name"]), Version(dependency["version"]))
            names = {name for vuln in dependency["vulns"] for name in [vuln["id"], *vuln["aliases"]]}
            found[key] = sorted(name for name in names if name in records)
    for (name, version), ids in sorted(found.items()):
        print(name, version, *ids)


def audit(url, requirements):
    command = [sys.executable, "-m", "pip_audit", "--disable-pip", "--no-deps", "--progress-spinner", "off"]
    command += ["-s", "osv", "--osv-url", url, "-f", "json", "-r", "/dev/stdin"]
    done = subprocess.run(command, input=requirements, capture_output=True, text=True)
    if not done.stdout:
        sys.exit(done.stderr)
    return json.loads(done.stdout)


if __name__ == "__main__":
    main()
