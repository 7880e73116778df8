"""The pictures of the guide get a palette, and show what they showed."""

import struct
import zlib

import pytest

from tests.browser.palette import with_palette

RED, INK, PAPER = (200, 30, 30), (20, 20, 20), (250, 250, 250)


def part(name: bytes, content: bytes) -> bytes:
    """Return a part of a PNG."""
    return struct.pack(">I", len(content)) + name + content + struct.pack(">I", zlib.crc32(name + content))


def png(lines: list[bytes], width: int, kind: int = 2) -> bytes:
    """Return a PNG of lines that are filtered already."""
    header = struct.pack(">IIBBBBB", width, len(lines), 8, kind, 0, 0, 0)
    data = zlib.compress(b"".join(lines))
    parts = (part(b"IHDR", header), part(b"IDAT", data[:9]), part(b"IDAT", data[9:]), part(b"IEND", b""))
    return b"\x89PNG\r\n\x1a\n" + b"".join(parts)


def shown(picture: bytes) -> list[list[tuple[int, ...]]]:
    """Return the colours of a PNG with a palette and without filters."""
    width, _ = struct.unpack_from(">II", picture, 16)
    palette = picture[picture.index(b"PLTE") + 4 :]
    place = picture.index(b"IDAT")
    (size,) = struct.unpack_from(">I", picture, place - 4)
    data = zlib.decompress(picture[place + 4 : place + 4 + size])
    lines = [data[start + 1 : start + 1 + width] for start in range(0, len(data), width + 1)]
    return [[tuple(palette[3 * dot : 3 * dot + 3]) for dot in line] for line in lines]


def flat(*colours: tuple[int, int, int]) -> bytes:
    return b"".join(map(bytes, colours))


def test_every_filter_of_a_png_is_understood() -> None:
    first, second = flat(RED, INK), flat(RED, PAPER)
    less = bytes((a - b) & 255 for a, b in zip(second, first, strict=True))
    left = second[:3] + bytes((b - a) & 255 for a, b in zip(second[:3], second[3:], strict=True))
    average = bytes(
        (second[place] - ((second[place - 3] if place > 2 else 0) + second[place]) // 2) & 255
        for place in range(6)
    )
    same = bytes(6)
    lines = [b"\0" + first, b"\2" + less, b"\1" + left, b"\3" + average, b"\4" + same]
    assert shown(with_palette(png(lines, 2))) == [[RED, INK], *[[RED, PAPER]] * 4]


def test_transparency_is_left_out_and_a_rare_colour_becomes_the_nearest() -> None:
    many = [flat((level, level, level)) for level in range(250)]
    dots = [*many, *many, flat((251, 0, 0)), *[flat((250, shade, 0)) * 2 for shade in range(6)]]
    line = b"".join(dots)
    width = len(line) // 3
    opaque = b"".join(line[place : place + 3] + b"\xff" for place in range(0, len(line), 3))
    for picture in (png([b"\0" + line], width), png([b"\0" + opaque], width, kind=6)):
        (colours,) = shown(with_palette(picture))
        assert colours[:250] == [(level,) * 3 for level in range(250)]
        assert colours[500] == (250, 0, 0)


@pytest.mark.parametrize("picture", [b"GIF89a", png([b"\0\0"], 1, kind=0)])
def test_another_picture_is_refused(picture: bytes) -> None:
    with pytest.raises(ValueError, match="PNG"):
        with_palette(picture)
