"""What the real VBoxManage answered, on a tape: recorded from it, and played to a driver that asks the same again.

As a program it is a VBoxManage: `python virtualbox_tape.py record|play DECK WORDS...`, where DECK is a folder with
`deck.json`. While it records, it hands each call on to the real one, and notes words, answer, and the files that came
and went. While it plays, each call must be the next one of the tape (or the last one again, as when a state is waited
for); whatever else is asked is refused with exit code 99. UUIDs, the port, and the folder differ from run to run: on
the tape they are placeholders. It imports nothing of ours, so that a call takes some hundredths of a second.
"""

from __future__ import annotations

import fcntl
import json
import re
import sys
from pathlib import Path
from typing import Any

UUID = re.compile(r"\b[0-9a-f]{8}-(?:[0-9a-f]{4}-){3}[0-9a-f]{12}\b")
PORT = re.compile(r"(?<=,tcp,127\.0\.0\.1,)\d+")
OURS = re.compile(r"--nat-pf1=bakery-ssh,tcp,127\.0\.0\.1,(\d+),")
"""The driver's own rule, whose port differs from run to run."""
PLACE = re.compile(r"@([UP]\d+|FOLDER)@")
CHANGING = re.compile(r"(?<=linux-headers-)\S+|(?<=VMStateChangeTime=\")[^\"]*")
"""What a host and a moment decide, and nobody reads."""
OFF_THE_TAPE = 99
Entry = dict[str, Any]


class Deck:
    """A tape in a folder, and how far it is.

    Args:
        folder: with `deck.json`: `folder` is where files come and go, `real` the words of the real VBoxManage and
            `instead` other names for paths of this host (both only to record), `tape` the entries, `at` how many of
            them are done, `names` what the placeholders stand for.
    """

    def __init__(self, folder: Path) -> None:
        self._file = folder / "deck.json"
        self.state: dict[str, Any] = json.loads(self._file.read_text(encoding="utf-8"))
        self.folder = Path(self.state["folder"])
        self.tape: list[Entry] = self.state["tape"]
        self.names: dict[str, str] = self.state["names"]

    def save(self) -> None:
        """Write down how far it is."""
        self._file.write_text(json.dumps(self.state), encoding="utf-8")

    # ---- recording ----------------------------------------------------------------------------------------------

    def record(self, words: list[str]) -> Entry:
        """Hand a call on to the real one, and note what came of it."""
        import subprocess  # not to play: every call of a test starts this file

        before = self._files()
        done = subprocess.run([*self.state["real"], *words], capture_output=True, text=True, check=False)
        after = self._files()
        for match in filter(None, map(OURS.match, words)):
            self._name_of(match[1], "P")
        asked = [self._hidden(word) for word in words]
        entry = {
            "words": asked,
            "exit": done.returncode,
            "stdout": self._hidden(done.stdout),
            "stderr": self._hidden(done.stderr),
            "came": sorted(self._hidden(name) for name in after - before),
            "went": sorted(self._hidden(name) for name in before - after),
        }
        if not self.tape or self.tape[-1] != entry:
            self.tape.append(entry)
        return {**entry, "stdout": done.stdout, "stderr": done.stderr}

    def _files(self) -> set[str]:
        return {str(path.relative_to(self.folder)) for path in self.folder.rglob("*")}

    def _hidden(self, text: str) -> str:
        """Put placeholders where this run differs from the next one."""
        text = CHANGING.sub("*", text.replace(str(self.folder), "@FOLDER@"))
        for path, instead in self.state["instead"].items():
            text = text.replace(path, instead)
        known = {value: name for name, value in self.names.items()}
        text = PORT.sub(lambda match: f"@{known[match[0]]}@" if match[0] in known else match[0], text)
        return UUID.sub(lambda match: f"@{self._name_of(match[0], 'U')}@", text)

    def _name_of(self, value: str, kind: str) -> str:
        """Return the placeholder of a UUID (U1, U2, ...) or a port (P1, ...), a new one where it has none."""
        name = next((name for name, known in self.names.items() if known == value), None)
        if name is None:
            name = f"{kind}{sum(known[0] == kind for known in self.names) + 1}"
            self.names[name] = value
        return name

    # ---- playing ------------------------------------------------------------------------------------------------

    def play(self, words: list[str]) -> Entry:
        """Answer a call from the tape."""
        at: int = self.state["at"]
        following = self.tape[at] if at < len(self.tape) else None
        if following is not None and self._fits(following, words):
            self.state["at"] = at + 1
            self._move_files(following)
            return self._shown(following)
        if at and self._fits(self.tape[at - 1], words):
            return self._shown(self.tape[at - 1])
        told = "nothing more" if following is None else " ".join(following["words"])
        return {"exit": OFF_THE_TAPE, "stdout": "", "stderr": f"VBoxManage: error: off the tape, which has: {told}\n"}

    def _fits(self, entry: Entry, words: list[str]) -> bool:
        """Say whether a call is that of an entry, and learn what its placeholders stand for."""
        if len(entry["words"]) != len(words):
            return False
        learnt: dict[str, str] = {}
        for pattern, word in zip(entry["words"], words, strict=True):
            match = re.fullmatch(self._pattern(pattern, learnt), word, re.DOTALL)
            if match is None:
                return False
            learnt.update(match.groupdict())
        self.names.update(learnt)
        return True

    def _pattern(self, text: str, learnt: dict[str, str]) -> str:
        parts, end = [], 0
        for match in PLACE.finditer(text):
            name = match[1]
            value = learnt.get(name) or self.names.get(name)
            parts.append(re.escape(text[end : match.start()]))
            parts.append(re.escape(value) if value else f"(?P<{name}>{'[0-9]+' if name[0] == 'P' else UUID.pattern})")
            end = match.end()
        return "".join((*parts, re.escape(text[end:])))

    def _move_files(self, entry: Entry) -> None:
        """Let files come and go as they did; what is in them is not played."""
        for name in sorted(entry["went"], reverse=True):
            path = self.folder / self._value(name)
            if path.is_dir() and not path.is_symlink():
                import shutil  # the same

                shutil.rmtree(path)
            else:
                path.unlink(missing_ok=True)
        came = [self._value(name) for name in entry["came"]]
        for name in came:
            path = self.folder / name
            if any(other.startswith(f"{name}/") for other in came) or not path.suffix:
                path.mkdir(parents=True, exist_ok=True)
            else:
                path.parent.mkdir(parents=True, exist_ok=True)
                path.write_text(f"a file of the tape: {name}\n", encoding="utf-8")

    def _shown(self, entry: Entry) -> Entry:
        return {**entry, "stdout": self._value(entry["stdout"]), "stderr": self._value(entry["stderr"])}

    def _value(self, text: str) -> str:
        """Put this run's values where the placeholders are; a UUID that VirtualBox chose is chosen here."""
        return PLACE.sub(lambda match: self.names.get(match[1]) or self._new(match[1]), text)

    def _new(self, name: str) -> str:
        import uuid  # the same

        return self.names.setdefault(name, str(uuid.uuid4()))


def main(mode: str, folder: Path, words: list[str]) -> int:
    """Be VBoxManage for one call; returns its exit code."""
    with (folder / "lock").open("w", encoding="utf-8") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        deck = Deck(folder)
        entry = deck.record(words) if mode == "record" else deck.play(words)
        deck.save()
    sys.stdout.write(entry["stdout"])
    sys.stderr.write(entry["stderr"])
    return int(entry["exit"])


if __name__ == "__main__":
    sys.exit(main(sys.argv[1], Path(sys.argv[2]), sys.argv[3:]))
