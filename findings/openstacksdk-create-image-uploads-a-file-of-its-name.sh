#!/usr/bin/env bash
# openstacksdk 4.22.0 (PyPI)
#
# Guess:   image.create_image("web", disk_format="raw") without filename and data makes an empty record, to be filled by
#          stage_image, import_image or an upload of one's own.
# Seen:    where the working folder has a file "web", or "web.qcow2", that file is uploaded: the image is active at once. In any
#          other folder the same call makes the empty record. (The name is also taken for a path: "/srv/disk" uploads that file,
#          and the image is called "disk".)
# Matters: what the image holds depends on where the program was started; a file that was never meant to leave the host may be
#          in an image, and an import into the image that is active already is refused. `Image.new(...).create(cloud.image)`
#          makes a record and nothing else.
# Needs:   python3 with pip. A small Image API on 127.0.0.1, written here, stands for Glance (seen on Glance 25, too).
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
python3 -m pip install -qq --disable-pip-version-check --no-compile --target "$work/lib" openstacksdk==4.22.0
mkdir "$work/here" "$work/there"
printf 'notes of mine' > "$work/here/web"
cd "$work"
PYTHONPATH="$work/lib" python3 - <<'PY'
import http.server
import json
import os
import sys
import threading
import warnings

warnings.simplefilter("ignore")
UPLOADS = []


class Glance(http.server.BaseHTTPRequestHandler):
    """Has no image, makes any, and takes any upload."""

    def log_message(self, *_):
        pass

    def read(self):
        if self.headers.get("Transfer-Encoding") != "chunked":
            return self.rfile.read(int(self.headers.get("Content-Length") or 0))
        data = b""
        while size := int(self.rfile.readline(), 16):
            data += self.rfile.read(size)
            self.rfile.readline()
        self.rfile.readline()
        return data

    def answer(self, code, value):
        body = b"" if value is None else json.dumps(value).encode()
        self.send_response(code)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def do_GET(self):
        path = self.path.partition("?")[0]
        link = {"rel": "self", "href": URL + "v2/"}
        if path == "/v2/images":
            self.answer(200, {"images": []})
        elif path.startswith("/v2/images/"):
            self.answer(404, {})
        else:
            self.answer(200, {"versions": [{"id": "v2.16", "status": "CURRENT", "links": [link]}]})

    def do_POST(self):
        self.answer(201, {**json.loads(self.read()), "id": "i", "status": "queued"})

    def do_PUT(self):
        UPLOADS.append(self.read())
        self.answer(204, None)


server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Glance)
URL = f"http://127.0.0.1:{server.server_port}/"
threading.Thread(target=server.serve_forever, daemon=True).start()

import openstack

cloud = openstack.connect(
    auth_type="none", endpoint=URL, image_endpoint_override=URL, region_name="r", load_yaml_config=False, load_envvars=False
)
seen = {}
for folder in ("there", "here"):
    os.chdir(folder)
    UPLOADS.clear()
    cloud.image.create_image("web", disk_format="raw")
    seen[folder] = list(UPLOADS)
    print(f"the same call in {folder}/ ({os.listdir() or 'empty'}): uploads {seen[folder]}")
    os.chdir("..")
sys.exit(seen != {"there": [], "here": [b"notes of mine"]})
PY
