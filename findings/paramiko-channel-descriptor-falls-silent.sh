#!/usr/bin/env bash
# paramiko 5.1.0 (PyPI)
#
# Guess:   the descriptor of a channel (Channel.fileno) can be read from as long as something that came on the channel has
#          not been taken, as with any file: poll or select on it, read what is there, poll again.
# Seen:    both streams share it, each with a lock of its own, and nothing guards the two. What comes on standard error in
#          the moment in which a reader empties standard output sets no sign, and neither does anything that comes later:
#          the descriptor stays silent with both streams full.
# Matters: whoever waits for a command's output by poll waits until its own timeout, or for ever, now and then: seen once in
#          some hundred answers of a shell that writes on both streams. It looks like a machine that hangs.
# Needs:   python3 with pip. No server: a channel is filled as its transport's thread fills it. To meet the moment each
#          time, the other stream's data comes while the sign is being taken away.
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
python3 -m pip install -qq --disable-pip-version-check --no-compile --target "$work/lib" paramiko==5.1.0
PYTHONPATH="$work/lib" python3 - <<'PY'
import os
import select
import sys
import threading
from unittest import mock

import paramiko.pipe
from paramiko.channel import Channel


def is_silent(descriptor):
    poll = select.poll()
    poll.register(descriptor, select.POLLIN)
    return not poll.poll(500)


channel = Channel(1)
descriptor = channel.fileno()
read = os.read


def read_while_something_comes(number, size):
    """What a reader does last when it has emptied a stream; meanwhile the transport's thread brings the other one's."""
    other = threading.Thread(target=channel.in_stderr_buffer.feed, args=(b"on standard error",))
    other.start()
    other.join()
    return read(number, size)


channel.in_buffer.feed(b"on standard output")
heard = not is_silent(descriptor)
with mock.patch.object(paramiko.pipe.os, "read", read_while_something_comes):
    taken = channel.recv(100)
missed = is_silent(descriptor) and channel.recv_stderr_ready()
channel.in_buffer.feed(b"more on standard output")
still = is_silent(descriptor) and channel.recv_ready() and channel.recv_stderr_ready()
print(f"paramiko {paramiko.__version__}: {taken!r} was heard of: {heard}")
print(f"what came on standard error meanwhile was missed: {missed}; and all that came later: {still}")
sys.exit(not (heard and missed and still))
PY
