#!/usr/bin/env bash
# openstacksdk 4.22.0 (PyPI)
#
# Guess:   image.import_image(...) and image.deactivate_image(...) raise when Glance refuses, as image.update_image(...)
#          and nearly every other call do.
# Seen:    neither looks at the status of the answer. A refused import returns the response, 403 or 409 and all; a refused
#          deactivation returns None. update_image of the same image raises ForbiddenException.
# Matters: what waits for the image to become active waits for an import that was never begun, with the reason (the method is
#          not allowed, the address does not pass the filter, the image was not staged) thrown away; and an image that must
#          not be booted any more is believed to be off. Look at import_image(...).status_code, and at the image's own status.
# Needs:   python3 with pip. A small Image API on 127.0.0.1, written here, stands for Glance (seen on Glance 25, too).
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
IMAGE = {"id": "i", "name": "web", "status": "queued", "container_format": "bare", "disk_format": "qcow2"}


class Glance(http.server.BaseHTTPRequestHandler):
    """Shows one image, and forbids every change of it."""

    def log_message(self, *_):
        pass

    def answer(self, code, value):
        self.rfile.read(int(self.headers.get("Content-Length") or 0))
        body = json.dumps(value).encode()
        self.send_response(code)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def do_GET(self):
        link = {"rel": "self", "href": URL + "v2/"}
        versions = {"versions": [{"id": "v2.16", "status": "CURRENT", "links": [link]}]}
        self.answer(200, IMAGE if "/images/" in self.path else versions)

    def do_POST(self):
        self.answer(403, {"message": "You are not authorized to complete this action."})

    do_PATCH = do_POST


server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Glance)
URL = f"http://127.0.0.1:{server.server_port}/"
threading.Thread(target=server.serve_forever, daemon=True).start()

import openstack

cloud = openstack.connect(
    auth_type="none", endpoint=URL, image_endpoint_override=URL, region_name="r", load_yaml_config=False, load_envvars=False
)


def outcome(call):
    try:
        answer = call()
    except openstack.exceptions.SDKException as error:
        return type(error).__name__
    return f"returns {answer!r}"


image = cloud.image.get_image("i")
seen = {
    "import_image": outcome(lambda: cloud.image.import_image(image, method="web-download", uri="https://example.org/d")),
    "deactivate_image": outcome(lambda: cloud.image.deactivate_image(image)),
    "update_image": outcome(lambda: cloud.image.update_image(image, name="other")),
}
for call, how in seen.items():
    print(f"{call}, refused with 403: {how}")
sys.exit(list(seen.values()) != ["returns <Response [403]>", "returns None", "ForbiddenException"])
PY
