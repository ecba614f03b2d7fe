#!/usr/bin/env python3
"""Verifies a KruxOS audit log without KruxOS: frames, CRC-32C, deterministic CBOR and the hash chain.

    pip install cbor2
    verify_audit.py DIRECTORY        exit code 0: in order, 1: damaged, 2: cannot be read

The format is described in docs/audit-format.md. Needs the package cbor2 and nothing else.
"""
import hashlib
import re
import struct
import sys
from pathlib import Path

import cbor2

SEQ, KIND, PREVIOUS_HASH, ENTRY_HASH = 2, 7, 22, 23
MAX_ENTRY = 256 * 1024
TABLE = []
for byte in range(256):
    for _ in range(8):
        byte = byte >> 1 ^ (0x82F63B78 if byte & 1 else 0)
    TABLE.append(byte)


def crc32c(data):
    crc = 0xFFFFFFFF
    for byte in data:
        crc = TABLE[(crc ^ byte) & 0xFF] ^ crc >> 8
    return crc ^ 0xFFFFFFFF


class Damage(Exception):
    pass


def entries(path, newest):
    """Yields (offset, entry) for each frame. Only the newest file may end with a torn write."""
    data = path.read_bytes()
    end = len(data.rstrip(b"\0"))
    at = 0
    while at < end:
        length, crc = struct.unpack_from(">II", data, at) if at + 8 <= len(data) else (0, 0)
        payload = data[at + 8 : at + 8 + length]
        if not 0 < length <= MAX_ENTRY or len(payload) < length or crc32c(payload) != crc:
            if newest and at + 8 + length >= end and data[at + 8 + length - 1 : at + 8 + length] in (b"", b"\0"):
                print(f"{path.name}: offset {at}: torn write of {end - at} bytes, to be cut off by the next start")
                return
            raise Damage(f"offset {at}: frame or CRC-32C does not hold")
        try:
            entry = cbor2.loads(payload)
        except Exception as error:
            raise Damage(f"offset {at}: not CBOR: {error}") from error
        if cbor2.dumps(entry, canonical=True) != payload:
            raise Damage(f"offset {at}: not in deterministic form")
        yield at, entry
        at += 8 + length


def verify(directory):
    files = sorted(p for p in directory.iterdir() if re.fullmatch(r"audit-\d{4}-\d\d-\d\d\.\d{3,}\.log", p.name))
    files.sort(key=lambda p: (p.name[6:16], int(p.name[17:-4])))
    last, expected, count = None, 0, 0
    for path in files:
        for offset, entry in entries(path, path == files[-1]):
            where = f"{path.name}: offset {offset}: seq {entry[SEQ]}"
            previous, claimed = entry.pop(PREVIOUS_HASH), entry.pop(ENTRY_HASH)
            if entry[SEQ] != expected or (last is not None and previous != last):
                raise Damage(f"{where}: does not follow seq {expected - 1}" + f" ({entry[KIND]})")
            if hashlib.sha256(previous + cbor2.dumps(entry, canonical=True)).digest() != claimed:
                raise Damage(f"{where}: hash mismatch")
            last, expected, count = claimed, entry[SEQ] + 1, count + 1
    print(f"ok: {count} entries in {len(files)} files")


if __name__ == "__main__":
    if len(sys.argv) != 2 or not Path(sys.argv[1]).is_dir():
        print(__doc__, file=sys.stderr)
        sys.exit(2)
    try:
        verify(Path(sys.argv[1]))
    except (Damage, KeyError, TypeError, AttributeError) as damage:
        sys.exit(f"damaged: {damage}")
