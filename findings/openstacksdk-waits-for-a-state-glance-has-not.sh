#!/usr/bin/env bash
# openstacksdk 4.22.0 (PyPI)
#
# Guess:   image.wait_for_status(image, "active") ends with an error when the image ends in a state that is none.
# Seen:    the only failure that it knows is "error", which Nova and Cinder have and Glance has not: for Glance's own ends,
#          "killed" and "deleted", it asks on, and the time it waits is without bound unless one is given.
# Matters: an upload or import that failed leaves exactly such an image; the build stands until somebody looks. Give
#          failures=["killed", "deleted", "deactivated"] and wait=.
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

ends = {}
for status in ("error", "killed", "deleted"):
    IMAGES["i"] = {"id": "i", "name": "web", "status": status}
    image = cloud.image.get_image("i")
    try:
        cloud.image.wait_for_status(image, "active", interval=0.5, wait=3)
    except openstack.exceptions.SDKException as error:
        ends[status] = type(error).__name__
        print(f"{status}: {ends[status]}: {error}")
sys.exit(list(ends.values()) != ["ResourceFailure", "ResourceTimeout", "ResourceTimeout"])
PY
