#!/usr/bin/env bash
# openstacksdk 4.22.0 (PyPI)
#
# Guess:   user data is handed over in one way in one SDK.
# Seen:    connection.create_server(userdata=text) sends it in base64, as Nova wants it;
#          connection.compute.create_server(user_data=text) sends the text as it is. Bytes in place of text raise
#          TypeError in the second one, out of the JSON encoder.
# Matters: moving from the cloud layer to the proxies, which know more of the service, is a change of one
#          name and one encoding; Nova answers 400 to plain text, and text that was encoded twice boots unconfigured.
# Needs:   python3 with pip. A small Compute API on 127.0.0.1, written here, stands for Nova.
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
python3 -m pip install -qq --disable-pip-version-check --no-compile --target "$work/lib" openstacksdk==4.22.0
PYTHONPATH="$work/lib" python3 - <<'PY'
import base64
import http.server
import json
import sys
import threading
import warnings

warnings.simplefilter("ignore")
SENT = []


class Nova(http.server.BaseHTTPRequestHandler):
    """As much of the Compute API as the two calls below need."""

    def log_message(self, *_):
        pass

    def answer(self, code, value):
        body = json.dumps(value).encode()
        self.send_response(code)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def do_GET(self):
        if self.path in ("/", "/v2.1/"):
            link = {"rel": "self", "href": URL + "v2.1/"}
            version = {"id": "v2.1", "status": "CURRENT", "version": "2.96", "min_version": "2.1", "links": [link]}
            self.answer(200, {"versions": [version]})
        elif "/servers/" in self.path:
            self.answer(200, {"server": {"id": "1", "name": "web", "status": "BUILD", "addresses": {}}})
        else:
            self.answer(404, {})

    def do_POST(self):
        SENT.append(json.loads(self.rfile.read(int(self.headers["Content-Length"])))["server"].get("user_data"))
        self.answer(202, {"server": {"id": "1"}})


server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Nova)
URL = f"http://127.0.0.1:{server.server_port}/"
threading.Thread(target=server.serve_forever, daemon=True).start()

import openstack

cloud = openstack.connect(
    auth_type="none", endpoint=URL, compute_endpoint_override=URL + "v2.1/", region_name="r", load_yaml_config=False,
    load_envvars=False,
)
text = "#cloud-config\n"
cloud.create_server("web", image={"id": "i"}, flavor={"id": "f"}, network=[], userdata=text, wait=False)
cloud.compute.create_server(name="web", image_id="i", flavor_id="f", networks="none", user_data=text)
print("connection.create_server(userdata=...):        ", repr(SENT[0]))
print("connection.compute.create_server(user_data=...):", repr(SENT[1]))
try:
    cloud.compute.create_server(name="web", image_id="i", flavor_id="f", networks="none", user_data=text.encode())
    refused = None
except TypeError as error:
    refused = str(error)
print("bytes in the second one:", refused)
sys.exit(not (SENT[:2] == [base64.b64encode(text.encode()).decode(), text] and refused))
PY
