#!/usr/bin/env bash
# openstacksdk 4.22.0 (PyPI)
#
# Guess:   image.update_image(image, tags=[...]) sets the tags, whether it is given the image or its id.
# Seen:    given the image that get_image returned, it makes a JSON patch of the differences, inside the list too: "replace
#          /tags/0". The Image API has no such path: Glance answers 400 "Bad Request" (seen on Glance 25). Given the id it knows
#          no differences, sends "add /tags" with the whole list, and all is well.
# Matters: get, look, update is how one writes such a program. It works for name and visibility, also for the first tags of an
#          image that has none in its record, and fails without a reason on the first image that has one.
# Needs:   python3 with pip. A small Image API on 127.0.0.1, written here, stands for Glance: it prints what it is asked for.
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
python3 -m pip install -qq --disable-pip-version-check --no-compile --target "$work/lib" openstacksdk==4.22.0
PYTHONPATH="$work/lib" python3 - <<'PY'
import http.server
import json
import sys
import threading
import warnings

warnings.simplefilter("ignore")
IMAGE = {"id": "i", "name": "web", "status": "active", "tags": ["blue"]}
PATCHES = []


class Glance(http.server.BaseHTTPRequestHandler):
    """Shows one image, and notes the patches for it."""

    def log_message(self, *_):
        pass

    def answer(self, value):
        body = json.dumps(value).encode()
        self.send_response(200)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def do_GET(self):
        link = {"rel": "self", "href": URL + "v2/"}
        versions = {"versions": [{"id": "v2.16", "status": "CURRENT", "links": [link]}]}
        self.answer(IMAGE if "/images/" in self.path else versions)

    def do_PATCH(self):
        PATCHES.append(json.loads(self.rfile.read(int(self.headers["Content-Length"]))))
        self.answer(IMAGE)


server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Glance)
URL = f"http://127.0.0.1:{server.server_port}/"
threading.Thread(target=server.serve_forever, daemon=True).start()

import openstack

cloud = openstack.connect(
    auth_type="none", endpoint=URL, image_endpoint_override=URL, region_name="r", load_yaml_config=False, load_envvars=False
)
cloud.image.update_image(cloud.image.get_image("i"), tags=["green"])
cloud.image.update_image("i", tags=["green"])
fetched, by_id = PATCHES
print("given the image:", fetched)
print("given its id:   ", by_id)
sys.exit([step["path"] for step in fetched] != ["/tags/0"] or [step["path"] for step in by_id] != ["/tags"])
PY
