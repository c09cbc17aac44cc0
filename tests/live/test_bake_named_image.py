"""A cloud image by name, baked as a user does: a server like Ubuntu's has the tests' tiny guest under its name."""

from __future__ import annotations

import hashlib
import os
import shutil
from pathlib import Path

import pytest

from bakery.drivers import Ubuntu
from bakery.state.project import cache_folder
from bakery.testing.aws.tiny import tiny_guest
from tests.live.baking import TINY, Project, clean, shared
from tests.live.publisher import SigningKey, serving

pytestmark = [pytest.mark.live, pytest.mark.all, pytest.mark.timeout(900)]
BASE = 'Ubuntu("noble", mirror=os.environ["MIRROR"], signed_by=os.environ["KEY"])'


def test_an_image_is_baked_from_what_a_publisher_has_signed(tmp_path: Path) -> None:
    cache = shared(cache_folder(os.environ), tmp_path / "cache")
    key = SigningKey(tmp_path / "publisher")
    (tmp_path / "server").mkdir()
    try:
        with serving(tmp_path / "server") as server:
            image = Ubuntu("noble", mirror=server.address, signed_by=str(key.public)).image
            file = server.folder / image.urls[0].removeprefix(server.address).lstrip("/")
            file.parent.mkdir(parents=True)
            shutil.copyfile(tiny_guest(cache / "tiny"), file)
            listing = f"{hashlib.sha256(file.read_bytes()).hexdigest()} *{file.name}\n".encode()
            server.put(image.checksum, listing)
            server.put(image.signature, key.detached(listing))
            certificate = str(tmp_path / "server" / "ca.pem")
            environ = {"MIRROR": server.address, "KEY": str(key.public), "SSL_CERT_FILE": certificate}
            place = Project(tmp_path / "project", cache, environ)
            head, _, rest = TINY.partition("    disk = str(")
            text = head + "    base = " + BASE + rest[rest.index("\n    return") :]
            place.write(text.replace("import Qemu\n", "import Qemu, Ubuntu\n"))
            clean(place.bake("build", timeout=600), 0)
            assert server.asked.count(file.name) == 1
            assert place.images()
            server.put(image.checksum, listing.replace(b"*", b" "))
            (copy,) = (place.cache / "downloads" / "lists").glob("*.json")
            copy.unlink()
            told = clean(place.bake("build", "--no-cache", timeout=300), 4)
            assert "is not signed as it must be" in told
    finally:
        key.end()
