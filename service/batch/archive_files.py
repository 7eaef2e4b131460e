"""Images in zip and tar archives, read one after another and never extracted to disk.

Readers yield (id, content), where content is the bytes of a file, or the error if it cannot be read. An id is `archive/member`.
The errors of damaged archives pass through the readers.
"""

import tarfile
import zipfile
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from stat import S_ISLNK
from typing import Self

from service.batch import files
from service.batch.tally import Losses
from service.errors import OddglyphError, SourceError

MAX_TAR_HEADER_BYTES = 2**20

Members = Iterator[tuple[str, bytes | OddglyphError]]


def read_zip(path: Path, losses: Losses) -> Members:
    """Yield the images of a zip archive, and count what is passed over."""
    with zipfile.ZipFile(path) as archive:
        stored = [member for member in archive.infolist() if not member.is_dir()]
        members = [
            file for file in stored if files.names_image(file.filename) and not S_ISLNK(file.external_attr >> 16)
        ]
        losses.skipped += len(stored) - len(members)
        if any(member.flag_bits & 1 for member in members):
            raise SourceError(f"{path}: is encrypted; unpack it first")
        for member in members:
            yield (
                f"{path.as_posix()}/{member.filename}",
                files.content(partial(archive.open, member), member.file_size),
            )


def read_tar(path: Path, losses: Losses) -> Members:
    """Yield the images of a tar archive, compressed or not, and count what is passed over."""
    with _TarArchive.open(path) as archive:
        for member in iter(archive.next, None):
            if member.isreg() and files.names_image(member.name):
                opened = partial(archive.extractfile, member)
                yield (f"{path.as_posix()}/{member.name}", files.content(opened, member.size))
            else:
                losses.skipped += not member.isdir()
            archive.members.clear()  # else the list would grow with the archive
        # At a damaged header tarfile stops as if the archive ended, but it does not move past that header.
        if archive.fileobj is not None:
            archive.fileobj.seek(archive.offset)
            if archive.fileobj.read(tarfile.BLOCKSIZE) != bytes(tarfile.BLOCKSIZE):
                raise EOFError("an archive that was cut short")


class _TarMember(tarfile.TarInfo):
    """A member of an archive. Its extended headers are bounded, since tarfile reads them whole."""

    @classmethod
    def frombuf(cls, buf: bytes | bytearray, encoding: str, errors: str) -> Self:
        member = super().frombuf(buf, encoding, errors)
        if not member.isreg() and member.size > MAX_TAR_HEADER_BYTES:
            raise SourceError(
                f"{member.name}: expected at most {MAX_TAR_HEADER_BYTES:,} bytes in a header of the archive, "
                f"got {member.size:,}; pack it again"
            )
        return member


class _TarArchive(tarfile.TarFile):
    tarinfo = _TarMember
    members: list[tarfile.TarInfo]  # missing from the type stubs
