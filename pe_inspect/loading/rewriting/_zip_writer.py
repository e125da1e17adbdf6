"""A zip archive member by member: old ones copied as they lie in their archive, new ones stored.

Source: PKWARE's APPNOTE, 4.3 and 4.5.3. torch aligns the members of its archives to 64 bytes.
"""

from __future__ import annotations

import struct
import zlib
from dataclasses import dataclass, field
from typing import IO, TYPE_CHECKING, Final

from pe_inspect.loading.byte_source import ByteSource
from pe_inspect.loading.rewriting._streams import copy_range
from pe_inspect.loading.zip_archive import after_local_header

if TYPE_CHECKING:
    from zipfile import ZipInfo

__all__ = ["ZipWriter"]

LARGE: Final = 0xFFFFFFFF
MANY: Final = 0xFFFF
SIZES_FOLLOW: Final = 0x08
VERSION: Final = 45
PADDING: Final = 0x4246  # torch's own: "FB"
STORED: Final = 0
DEFLATED: Final = 8


@dataclass(frozen=True)
class _Member:
    name: bytes
    flags: int
    method: int
    crc: int
    packed: int
    size: int
    offset: int
    attributes: int
    stamp: bytes


@dataclass
class ZipWriter:
    """Writes an archive to a stream that it begins.

    Attributes:
        out: where to.
        alignment: of the contents of members that are not compressed, in bytes.
    """

    out: IO[bytes]
    alignment: int = 1
    members: list[_Member] = field(default_factory=list)
    position: int = 0

    def copy(self, info: ZipInfo, source: ByteSource) -> None:
        """Append a member as it is, packed or not."""
        with source.open() as stream:
            start = after_local_header(stream, info.header_offset)
        member = _Member(
            _name(info), info.flag_bits & ~SIZES_FOLLOW, info.compress_type, info.CRC,
            info.compress_size, info.file_size, self.position, info.external_attr, _stamp(info),
        )  # fmt: skip
        self._begin(member)
        copy_range(source, self.out, start, info.compress_size)
        self.position += info.compress_size

    def add(self, like: ZipInfo, content: bytes, name: str | None = None) -> None:
        """Append a member with other content, in all else like another one."""
        packed = content
        if like.compress_type == DEFLATED:
            packer = zlib.compressobj(wbits=-15)
            packed = packer.compress(content) + packer.flush()
        method = DEFLATED if like.compress_type == DEFLATED else STORED
        member = _Member(
            name.encode() if name else _name(like), like.flag_bits & ~SIZES_FOLLOW, method,
            zlib.crc32(content), len(packed), len(content), self.position, like.external_attr,
            _stamp(like),
        )  # fmt: skip
        self._begin(member)
        self.out.write(packed)
        self.position += len(packed)

    def close(self, comment: bytes = b"") -> None:
        """Write the directory."""
        start = self.position
        for member in self.members:
            self._write(_directory_entry(member))
        size, count = self.position - start, len(self.members)
        if start >= LARGE or count >= MANY:
            where = self.position
            self._write(
                struct.pack(
                    "<4sQHHIIQQQQ", b"PK\x06\x06", 44, VERSION, VERSION, 0, 0, count, count, size,
                    start,
                )
                + struct.pack("<4sIQI", b"PK\x06\x07", 0, where, 1)
            )  # fmt: skip
        count, start, size = min(count, MANY), min(start, LARGE), min(size, LARGE)
        self._write(
            struct.pack("<4s4H2IH", b"PK\x05\x06", 0, 0, count, count, size, start, len(comment))
            + comment
        )

    def _begin(self, member: _Member) -> None:
        self.members.append(member)
        large = _large_sizes(member)
        sizes = (LARGE, LARGE) if large else (member.packed, member.size)
        extra = large + self._padding(member, 30 + len(member.name) + len(large))
        self._write(
            struct.pack("<4sHHH", b"PK\x03\x04", VERSION, member.flags, member.method)
            + member.stamp
            + struct.pack("<IIIHH", member.crc, *sizes, len(member.name), len(extra))
            + member.name
            + extra
        )

    def _padding(self, member: _Member, header: int) -> bytes:
        if member.method != STORED or self.alignment == 1:
            return b""
        fill = -(self.position + header + 4) % self.alignment
        return struct.pack("<HH", PADDING, fill) + b"Z" * fill

    def _write(self, content: bytes) -> None:
        self.out.write(content)
        self.position += len(content)


def _large_sizes(member: _Member) -> bytes:
    if max(member.packed, member.size) < LARGE:
        return b""
    return struct.pack("<HHQQ", 1, 16, member.size, member.packed)


def _directory_entry(member: _Member) -> bytes:
    is_large = max(member.packed, member.size) >= LARGE
    wide = [member.size, member.packed] if is_large else []
    wide += [member.offset] if member.offset >= LARGE else []
    extra = struct.pack(f"<HH{len(wide)}Q", 1, 8 * len(wide), *wide) if wide else b""
    packed, size = (LARGE, LARGE) if is_large else (member.packed, member.size)
    return (
        struct.pack("<4sHHHH", b"PK\x01\x02", VERSION, VERSION, member.flags, member.method)
        + member.stamp
        + struct.pack("<IIIHHH", member.crc, packed, size, len(member.name), len(extra), 0)
        + struct.pack("<HHII", 0, 0, member.attributes, min(member.offset, LARGE))
        + member.name
        + extra
    )


def _name(info: ZipInfo) -> bytes:
    return info.orig_filename.encode("utf-8" if info.flag_bits & 0x800 else "cp437")


def _stamp(info: ZipInfo) -> bytes:
    """DOS's time and date."""
    year, month, day, hour, minute, second = info.date_time
    time = hour << 11 | minute << 5 | second // 2
    return struct.pack("<HH", time, max(year - 1980, 0) << 9 | month << 5 | day)
