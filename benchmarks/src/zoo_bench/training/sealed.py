"""Files of torch.save with the sha256 of their own content: torch reads a damaged one without a word.

Such a file is a zip archive, and the digest is its comment, at the very end. So it cannot be parted from what it is of,
and torch.load, or any other reader of zip archives, reads the file as before.
"""

from __future__ import annotations

import hashlib
import io
from pathlib import Path
from typing import Literal

MARK, DIGEST = b"sha256 ", 64
COMMENT = len(MARK) + DIGEST
# The last record of an archive without a comment: 22 bytes, of which the last two are the comment's length.
# (APPNOTE.TXT, section 4.3.16, https://pkware.cachefly.net/webdocs/casestudies/APPNOTE.TXT)
END, END_MARK = 22, b"PK\x05\x06"


def seal(archive: io.BytesIO) -> None:
    """Add to an archive without a comment the digest of all that stands before it."""
    archive.seek(-2, io.SEEK_END)
    archive.write(COMMENT.to_bytes(2, "little") + MARK)
    with archive.getbuffer() as content:
        digest = hashlib.sha256(content).hexdigest()
    archive.write(digest.encode())


def state(path: Path) -> Literal["sound", "unsealed", "damaged"]:
    """Whether a file is what was written; "unsealed": a whole archive, written without a digest."""
    size = path.stat().st_size
    with path.open("rb") as file:
        file.seek(max(size - END, 0))
        last = file.read()
        if last.startswith(END_MARK) and last.endswith(b"\0\0"):
            return "unsealed"
        file.seek(0)
        digest, left = hashlib.sha256(), max(size - DIGEST, 0)
        while block := file.read(min(left, 2**20)):
            digest.update(block)
            left -= len(block)
        return "sound" if file.read() == digest.hexdigest().encode() else "damaged"
