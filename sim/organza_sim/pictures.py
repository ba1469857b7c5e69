"""Pictures of generated images: strips for the report, and one labelled picture of all of them."""

from __future__ import annotations

import base64
import io
from dataclasses import dataclass

import numpy as np
from PIL import Image, ImageDraw, ImageFont

from organza.brightness import screen_channels, to_bytes, unit_range
from organza.program import Program

__all__ = ["Row", "comparison", "data_url", "labelled", "strip"]

AMPLIFY = 16
GAP = 2
LABEL_WIDTH = 190


@dataclass(frozen=True)
class Row:
    """A row of pictures: title, what it shows, and pixels uint8 (N, height, width, 1 or 3)."""

    title: str
    about: str
    pixels: np.ndarray


def comparison(
    program: Program, *, real: np.ndarray | None, reference: np.ndarray, rtl: np.ndarray | None,
    maker: tuple[str, str] = ("RTL", "the simulated Verilog"),
) -> list[Row]:
    """Rows of the same images as float, integer reference and RTL, and their differences.

    `real` are float outputs, the others integers, all (N, channels, height, width). maker : what made `rtl`, and in words. Only outputs of 1 or 3 channels are
    pictures; of others the first channel is shown. Differences are drawn on middle grey, `AMPLIFY` times.
    """
    integer = _pixels(program, program.dequantize(reference))
    rows = []
    if real is not None:
        rows.append(Row("float", "the model in floating point", _pixels(program, real)))
    rows.append(Row("integer", "the integer reference", integer))
    if rtl is not None:
        rows.append(Row(*maker, _pixels(program, program.dequantize(rtl))))
    if real is not None:
        difference = unit_range(program, real) - unit_range(program, program.dequantize(reference))
        rows.append(
            Row(
                f"float − integer ×{AMPLIFY}",
                "what 8 bits cost; grey is zero",
                _difference(difference),
            )
        )
    if rtl is not None:
        steps = (reference - rtl).astype(np.float64)
        wrong = int((steps != 0).sum())
        about = "all zero: bit-exact" if not wrong else f"{wrong} values differ"
        rows.append(Row(f"integer − {maker[0]}", about, _difference(steps)))
    return rows


def _pixels(program: Program, values: np.ndarray) -> np.ndarray:
    return to_bytes(program, screen_channels(values))


def _difference(values: np.ndarray) -> np.ndarray:
    return np.clip(np.floor(128 + 128 * AMPLIFY * screen_channels(values)), 0, 255).astype(np.uint8)


def _picture(pixels: np.ndarray) -> Image.Image:
    return Image.fromarray(pixels[..., 0] if pixels.shape[-1] == 1 else pixels)


def strip(row: Row) -> list[str]:
    """The pictures of a row as PNG data URLs."""
    return [data_url(_picture(pixels)) for pixels in row.pixels]


def data_url(picture: Image.Image) -> str:
    """A picture as a PNG in a ``data:`` URL."""
    buffer = io.BytesIO()
    picture.save(buffer, "PNG", optimize=True)
    return "data:image/png;base64," + base64.b64encode(buffer.getvalue()).decode()


def labelled(rows: list[Row]) -> Image.Image:
    """All rows in one picture with their titles on the left, pixels enlarged to at least 64 a picture."""
    count, height, width = rows[0].pixels.shape[:3]
    zoom = max(1, 64 // max(height, width))
    cell_y, cell_x = height * zoom + GAP, width * zoom + GAP
    canvas = Image.new(
        "RGB", (LABEL_WIDTH + count * cell_x + GAP, len(rows) * cell_y + GAP), "white"
    )
    draw = ImageDraw.Draw(canvas)
    big, small = ImageFont.load_default(size=16), ImageFont.load_default(size=11)
    for k, row in enumerate(rows):
        top = GAP + k * cell_y
        draw.text((8, top + height * zoom // 2 - 18), _plain(row.title), fill="black", font=big)
        draw.text((8, top + height * zoom // 2 + 4), _plain(row.about), fill="#555555", font=small)
        for image, pixels in enumerate(row.pixels):
            picture = (
                _picture(pixels)
                .convert("RGB")
                .resize((width * zoom, height * zoom), Image.Resampling.NEAREST)
            )
            canvas.paste(picture, (LABEL_WIDTH + GAP + image * cell_x, top))
    return canvas


def _plain(text: str) -> str:
    """Pillow's own font has no signs beyond Latin letters."""
    return text.replace("−", "-").replace("×", "x")
