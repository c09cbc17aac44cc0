#!/usr/bin/env bash
# openstacksdk 4.22.0 (PyPI)
#
# Guess:   create_image(..., filename=..., wait=True) returns the image as it is at the end of the wait.
# Seen:    it returns the record from before the upload: status "queued", size and checksum None, while the
#          image is active. Neither wait nor its absence makes a call after the upload; validate_checksum=True
#          does, and then the record is right.
# Matters: code that checks the status, or notes size and checksum of what it made, sees a failure where there
#          is none, or stores None; code that waits by itself on the returned object must fetch it first.
# Needs:   python3 with pip. A small Image API on 127.0.0.1, written here, stands for Glance.
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
python3 -m pip install -qq --disable-pip-version-check --no-compile --target "$work/lib" openstacksdk==4.22.0
cd "$work"
PYTHONPATH="$work/lib" python3 - <<'PY'
import hashlib
import http.server
import json
import os
import sys
import threading
import uuid
import warnings

warnings.simplefilter("ignore")
IMAGES = {}
CALLS = []


class Glance(http.server.BaseHTTPRequestHandler):
    """As much of the Image API v2 as the calls below need."""

    def log_message(self, *_):
        pass

    def answer(self, code, value=None):
        body = b"" if value is None else json.dumps(value).encode()
        self.send_response(code)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def read(self):
        if self.headers.get("Transfer-Encoding") != "chunked":
            return self.rfile.read(int(self.headers.get("Content-Length") or 0))
        data = b""
        while size := int(self.rfile.readline(), 16):
            data += self.rfile.read(size)
            self.rfile.readline()
        self.rfile.readline()
        return data

    def do_GET(self):
        path, _, query = self.path.partition("?")
        CALLS.append("GET " + self.path)
        if path in ("/", "/v2", "/v2/"):
            link = {"rel": "self", "href": URL + "v2/"}
            self.answer(200, {"versions": [{"id": "v2.16", "status": "CURRENT", "links": [link]}]})
        elif path == "/v2/images":
            name = dict(pair.split("=") for pair in query.split("&") if pair).get("name")
            self.answer(200, {"images": [i for i in IMAGES.values() if name in (None, i["name"])]})
        elif (image := IMAGES.get(path.split("/")[3])) is not None:
            self.answer(200, image)
        else:
            self.answer(404, {})

    def do_POST(self):
        CALLS.append("POST " + self.path)
        image = dict(json.loads(self.read()), id=str(uuid.uuid4()), status="queued", size=None, checksum=None)
        IMAGES[image["id"]] = image
        self.answer(201, image)

    def do_PUT(self):
        CALLS.append("PUT " + self.path)
        data = self.read()
        digest = hashlib.md5(data).hexdigest()
        IMAGES[self.path.split("/")[3]].update(status="active", size=len(data), checksum=digest)
        self.answer(204)


server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Glance)
URL = f"http://127.0.0.1:{server.server_port}/"
threading.Thread(target=server.serve_forever, daemon=True).start()

import openstack

cloud = openstack.connect(
    auth_type="none", endpoint=URL, image_endpoint_override=URL, region_name="r", load_yaml_config=False, load_envvars=False
)
with open("disk.raw", "wb") as disk:
    disk.write(b"x" * 5000)

plain = cloud.image.create_image("a", filename="disk.raw", wait=True)
print("wait=True returns:", plain.status, plain.size, plain.checksum, "- stored:", IMAGES[plain.id]["status"], IMAGES[plain.id]["size"])
checked = cloud.image.create_image("b", filename="disk.raw", wait=True, validate_checksum=True)
print("with validate_checksum=True:", checked.status, checked.size, checked.checksum)
sys.exit(not ((plain.status, plain.size) == ("queued", None) and (checked.status, checked.size) == ("active", 5000)))
PY
