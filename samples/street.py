"""A street: a brick house with a bookshop, a rendered house with a door and bills on its wall, the ground."""

from __future__ import annotations

import numpy as np
from drawing import Canvas
from textures import Rng, bricks, leaves, paving, planks, plaster

WIDTH, HEIGHT = 1280, 470
GROUND, KERB = 384, 424
GREEN, CREAM, GOLD, INK = (31, 62, 48), (236, 228, 206), (224, 184, 92), (32, 30, 34)
#: Cloth of the books in the shop's window.
CLOTH = (
    (142, 44, 40), (38, 70, 104), (190, 160, 96), (52, 88, 60), (206, 196, 172), (96, 62, 44),
    (70, 66, 92), (168, 96, 48),
)  # fmt: skip


def street(seed: int) -> Canvas:
    """The whole street front, 1280 × 470 output pixels."""
    rng = np.random.default_rng(seed)
    canvas = Canvas(WIDTH, HEIGHT)
    canvas.surface(0, 0, bricks(rng, 706, GROUND, (148, 80, 62)))
    canvas.surface(706, 0, plaster(rng, WIDTH - 706, GROUND, (206, 190, 152)))
    canvas.surface(706, 318, bricks(rng, WIDTH - 706, GROUND - 318, (96, 90, 88), long_px=26, tall_px=10))
    canvas.surface(0, GROUND, paving(rng, WIDTH, KERB - GROUND, (158, 152, 144), horizon_px=110, setts=3.2))
    canvas.surface(0, KERB, paving(rng, WIDTH, HEIGHT - KERB, (98, 97, 100), horizon_px=150, setts=6.5))
    for x in range(0, WIDTH, 58):
        canvas.rect(x, KERB - 7, 57.2, 7, (186, 182, 172))
        canvas.rect(x, KERB - 1.4, 57.2, 3, (70, 68, 68))
    _drainpipe(canvas, 699)
    _bookshop(canvas, rng, 170, 150)
    for x in (40, 214, 330, 446, 600):
        _sash_window(canvas, rng, x, 12, 62, 88)
        _flower_box(canvas, rng, x - 3, 101, 68)
    _brick_side(canvas, rng)
    _rendered_house(canvas, rng)
    _weather(canvas, rng)
    return canvas


def _weather(canvas: Canvas, rng: Rng) -> None:
    """Light over the whole street: sun from the upper left, dirt at the foot of the walls, the roof's shadow."""
    canvas.shadow([(0, GROUND - 5), (WIDTH, GROUND - 5), (WIDTH, GROUND + 4), (0, GROUND + 4)], 4, 0.5)
    canvas.shadow([(706, 0), (WIDTH, 0), (WIDTH, 40), (980, 22), (706, 58)], 3, 0.42)
    canvas.shadow([(0, 150), (0, HEIGHT), (150, HEIGHT), (96, 300), (120, 240), (60, 190)], 12, 0.35)
    y, x = np.mgrid[0:HEIGHT, 0:WIDTH].astype(np.float32)
    light = 1.06 - 0.13 * y / HEIGHT + 0.05 * np.sin(x / 210) + 0.03 * np.sin(x / 57 + y / 83)
    tint = np.stack([light * 1.02, light, light * 0.97], -1).astype(np.float32)
    canvas.multiply(tint)


def _drainpipe(canvas: Canvas, x: float) -> None:
    canvas.rect(x - 5, 0, 12, GROUND + 3, (58, 60, 62))
    canvas.rect(x - 3, 0, 3, GROUND + 3, (108, 110, 112))
    for y in range(40, GROUND, 88):
        canvas.rect(x - 8, y, 18, 7, (46, 48, 50), 1)
        canvas.disc(x - 5, y + 3.5, 1, (130, 130, 130))


def _sash_window(canvas: Canvas, rng: Rng, x: float, y: float, width: float, height: float) -> None:
    """A window with white bars, a stone sill, curtains behind and the sky in the glass."""
    canvas.shadow([(x - 2, y), (x + width + 9, y), (x + width + 9, y + height + 9), (x, y + height + 9)], 3, 0.4)
    canvas.rect(x - 5, y - 13, width + 10, 11, (192, 180, 156))
    for i in range(7):
        canvas.line([(x - 5 + i * (width + 10) / 6, y - 13), (x - 2 + i * (width + 4) / 6, y - 2)], 0.6, (120, 110, 96))
    canvas.rect(x, y, width, height, (233, 229, 218))
    pane_width, pane_height = (width - 12) / 3, (height - 12) / 2
    skyline = y + height * rng.uniform(0.25, 0.7)
    for row in range(2):
        for column in range(3):
            left, top = x + 3 + column * (pane_width + 3), y + 3 + row * (pane_height + 6)
            _pane(canvas, rng, left, top, pane_width, pane_height, skyline)
    canvas.rect(x - 7, y + height, width + 14, 6, (204, 196, 178))
    canvas.rect(x - 7, y + height + 5, width + 14, 2, (104, 96, 86))


def _pane(canvas: Canvas, rng: Rng, x: float, y: float, width: float, height: float, skyline: float) -> None:
    """One pane: the folds of a curtain, and over them the sky above the roofs across the street."""
    canvas.rect(x, y, width, height, (46, 52, 60))
    for fold in np.sort(rng.uniform(0, width - 2, 5)):
        grey = int(rng.uniform(84, 150))
        canvas.rect(x + fold, y, 1.6, height, (grey, grey - 6, grey - 14))
    roofs = [(x, y), (x + width, y)]
    for across, step in ((1.0, 4.0), (0.62, -3.0), (0.6, 3.5), (0.25, -4.5), (0.22, 2.0), (0.0, 0.5)):
        roofs.append((x + width * across, float(np.clip(skyline + 2.2 * step, y, y + height))))
    canvas.polygon(roofs, (140, 164, 188))
    canvas.polygon([(x, y), (x + width, y), (x + width, min(y + height, y + 7))], (176, 194, 210))
    canvas.rect(x, y, width, 1.2, (40, 44, 48))
    canvas.rect(x, y, 0.9, height, (40, 44, 48))


def _flower_box(canvas: Canvas, rng: Rng, x: float, y: float, width: float) -> None:
    leaves(canvas, rng, (x + width / 2, y), (width / 2, 9), 420, 4)
    palette = [(206, 52, 60), (236, 120, 150), (246, 236, 228), (226, 76, 96)]
    for _ in range(46):
        place = (x + rng.uniform(2, width - 2), y + rng.normal(-2, 4))
        colour = palette[rng.integers(len(palette))]
        canvas.disc(*place, rng.uniform(0.9, 1.9), colour)
        canvas.disc(place[0] - 0.3, place[1] - 0.3, 0.4, (252, 244, 210))
    canvas.rect(x, y + 4, width, 11, (96, 66, 44), 1)
    canvas.rect(x, y + 4, width, 1.5, (148, 108, 76))


def _bookshop(canvas: Canvas, rng: Rng, x: float, y: float) -> None:
    """The shop: fascia, awning, display window and glazed door; 400 px wide."""
    canvas.rect(x - 6, y - 24, 412, GROUND - y + 24, GREEN)
    canvas.rect(x - 10, y - 30, 420, 8, (46, 84, 66))
    canvas.rect(x - 10, y - 23, 420, 1.5, (18, 36, 28))
    canvas.rect(x + 2, y - 18, 396, 33, (24, 50, 39))
    canvas.ring(x + 25, y - 2, 10, 1, GOLD)
    canvas.text(x + 25, y - 2, "&", 15, GOLD, bold=0.3)
    canvas.text(x + 210, y - 2, "HARBOUR BOOKS & COFFEE", 28, (14, 26, 20), bold=0.7, fit=330)
    canvas.text(x + 209, y - 3, "HARBOUR BOOKS & COFFEE", 28, GOLD, bold=0.5, fit=330)
    canvas.text(x + 388, y - 2, "12", 15, CREAM, bold=0.3)
    _display(canvas, rng, x + 6, y + 48, 262, 150)
    _shop_door(canvas, rng, x + 286, y + 48)
    _stallriser(canvas, x, y + 204)
    _awning(canvas, x - 2, y + 16)


def _display(canvas: Canvas, rng: Rng, x: float, y: float, width: float, height: float) -> None:
    """The window: books and price cards on three boards in warm light."""
    canvas.rect(x - 3, y - 3, width + 6, height + 6, (18, 36, 28))
    canvas.surface(x, y, planks(rng, width, height, (126, 84, 48), 18))
    for board in range(3):
        base = y + 52 + board * 46
        place = x + 3.0
        while place < x + width - 12:
            thick, tall = rng.uniform(5, 11), rng.uniform(26, 37)
            if rng.random() < 0.12:
                _card(canvas, rng, place + 2, base - 20)
                place += 30
                continue
            tint = CLOTH[rng.integers(len(CLOTH))]
            colour = _shade(tint, rng.uniform(0.6, 1.1))
            canvas.rect(place, base - tall, thick - 0.7, tall, _shade(colour, 1))
            canvas.rect(place, base - tall, 1.0, tall, _shade(colour, 1.4))
            for band in rng.uniform(4, tall - 4, 2):
                canvas.rect(place, base - band, thick - 0.7, 1.1, GOLD)
            place += thick
        canvas.rect(x, base, width, 4, (92, 58, 32))
        canvas.rect(x, base, width, 1, (190, 142, 90))
    for edge in (x + width / 3, x + 2 * width / 3):
        canvas.rect(edge - 2, y, 4, height, GREEN)
    for left in (x + 18, x + 118, x + 206):
        canvas.shadow([(left, y), (left + 26, y), (left - 26, y + height), (left - 44, y + height)], 5, 0.16)


def _shade(colour: tuple[int, int, int], gain: float) -> tuple[int, int, int]:
    red, green, blue = (int(min(255, value * gain)) for value in colour)
    return red, green, blue


def _card(canvas: Canvas, rng: Rng, x: float, y: float) -> None:
    canvas.rect(x, y, 24, 20, CREAM)
    canvas.text(x + 12, y + 6, rng.choice(["SALE", "50 %", "POEMS", "MAPS", "ART"]), 7, (176, 44, 40), bold=0.2)
    for row in range(3):
        canvas.rect(x + 3, y + 11 + row * 2.6, rng.uniform(10, 18), 0.7, (90, 86, 80))


def _shop_door(canvas: Canvas, rng: Rng, x: float, y: float) -> None:
    canvas.rect(x, y - 6, 104, GROUND - y + 6, (20, 42, 33))
    canvas.rect(x + 16, y, 72, GROUND - y, (44, 82, 64))
    for row in range(3):
        for column in range(2):
            _pane(canvas, rng, x + 23 + column * 30, y + 7 + row * 36, 28, 33, y + 50)
    canvas.rect(x + 23, y + 122, 58, 44, (34, 66, 51))
    canvas.rect(x + 26, y + 125, 52, 38, (50, 92, 72))
    canvas.disc(x + 82, y + 106, 2.6, GOLD)
    canvas.rect(x + 27, y + 14, 22, 15, (244, 240, 226))
    canvas.text(x + 38, y + 21.5, "OPEN", 7.4, (180, 36, 36), bold=0.25)
    canvas.rect(x + 54, y + 48, 24, 27, (244, 240, 226))
    for row, words in enumerate(("Mon-Fri 9-6", "Sat 9-5", "Sun 11-4", "tel. 41 27 88")):
        canvas.text(x + 66, y + 52 + row * 6, words, 4.6, INK, fit=21)


def _stallriser(canvas: Canvas, x: float, y: float) -> None:
    for column in range(4):
        left = x + 6 + column * 66
        canvas.rect(left, y + 3, 62, GROUND - y - 8, (20, 42, 33))
        canvas.rect(left + 3, y + 6, 56, GROUND - y - 14, (42, 78, 61))
        canvas.rect(left + 3, y + 6, 56, 1, (76, 118, 96))
        canvas.text(left + 31, y + 17, ("NEW", "USED", "RARE", "MAPS")[column], 12, GOLD, bold=0.2)


def _awning(canvas: Canvas, x: float, y: float) -> None:
    """A striped awning with a scalloped edge and its shadow."""
    canvas.shadow([(x, y + 20), (x + 404, y + 20), (x + 412, y + 58), (x + 8, y + 58)], 3, 0.5)
    for i in range(34):
        colour = (214, 208, 192) if i % 2 else (152, 44, 44)
        dark = _shade(colour, 0.8)
        left = x + i * 11.9
        canvas.polygon([(left, y), (left + 11.9, y), (left + 11.9, y + 22), (left, y + 22)], colour)
        canvas.rect(left, y + 22, 11.9, 6, dark)
        canvas.disc(left + 5.95, y + 28, 5.95, dark)
    canvas.rect(x, y + 21.4, 404, 1, (120, 110, 100))


def _brick_side(canvas: Canvas, rng: Rng) -> None:
    """The brick house left and right of the shop: ivy, a street name, a bicycle, bills."""
    canvas.rect(592, 142, 92, 25, (240, 238, 228), 2)
    canvas.rect(594, 144, 88, 21, (26, 50, 110), 2)
    canvas.text(638, 154, "MILL LANE", 15, (248, 248, 244), bold=0.3, fit=80)
    _bill(canvas, rng, 596, 182, 50, 70, ("JAZZ", "on the quay", "SAT 14 JUNE"), (222, 178, 62), 1.6)
    _bill(canvas, rng, 651, 188, 40, 56, ("LOST", "grey tabby", "answers to Pip"), (238, 236, 228), -2.2)
    _bicycle(canvas, 632, 352)
    for i in range(7):
        centre = (18 + 15 * i + rng.uniform(-8, 8), 374 - 42 * (i % 5) - 12 * rng.random())
        leaves(canvas, rng, centre, (44, 40), 900, 5)


def _bill(
    canvas: Canvas,
    rng: Rng,
    x: float,
    y: float,
    width: float,
    height: float,
    words: tuple[str, str, str],
    paper: tuple[int, int, int],
    degrees: float,
) -> None:
    """A paper bill: a headline, a picture, two lines and small print."""
    sheet = Canvas(round(width), round(height), (*paper, 255))
    ink = (40, 34, 40) if sum(paper) > 380 else (244, 238, 220)
    sheet.text(width / 2, height * 0.13, words[0], height * 0.22, ink, bold=0.5, fit=width * 0.86)
    sheet.rect(width * 0.12, height * 0.28, width * 0.76, height * 0.32, (186, 204, 206))
    sheet.disc(width * rng.uniform(0.3, 0.7), height * 0.39, height * 0.06, (246, 226, 150))
    for i, tone in enumerate(((120, 134, 128), (78, 96, 92), (44, 58, 60))):
        ridge = [
            (width * (0.12 + 0.76 * j / 9), height * (0.4 + 0.07 * i + rng.uniform(-0.04, 0.04))) for j in range(10)
        ]
        sheet.polygon([*ridge, (width * 0.88, height * 0.6), (width * 0.12, height * 0.6)], tone)
    sheet.text(width / 2, height * 0.67, words[1], height * 0.09, ink, fit=width * 0.86)
    sheet.text(width / 2, height * 0.77, words[2], height * 0.09, ink, bold=0.1, fit=width * 0.86)
    for row in range(3):
        sheet.rect(width * 0.12, height * (0.85 + 0.045 * row), width * rng.uniform(0.4, 0.76), 0.7, ink)
    corners = [(x + 1, y + 1), (x + width + 2, y + 1), (x + width + 2, y + height + 2), (x + 1, y + height + 2)]
    canvas.shadow(corners, 1.5, 0.45)
    canvas.paste(sheet, x, y, degrees=degrees)


def _bicycle(canvas: Canvas, x: float, y: float) -> None:
    """A bicycle against the wall: two wheels with spokes, a red frame, a basket."""
    back, front, hub = (x - 38, y), (x + 40, y), (x - 6, y + 2)
    seat, head = (x - 18, y - 40), (x + 26, y - 42)
    for wheel in (back, front):
        canvas.ring(*wheel, 25, 2.4, (26, 26, 28))
        canvas.ring(*wheel, 22.4, 0.8, (172, 172, 176))
        for spoke in np.arange(0, np.pi, np.pi / 9):
            dx, dy = 22 * np.cos(spoke), 22 * np.sin(spoke)
            canvas.line([(wheel[0] - dx, wheel[1] - dy), (wheel[0] + dx, wheel[1] + dy)], 0.25, (190, 190, 192))
        canvas.disc(*wheel, 2.2, (60, 60, 62))
    red = (188, 40, 38)
    for path in ([back, seat, hub, back], [seat, head, hub], [head, front], [(x - 20, y - 46), hub]):
        canvas.line(path, 2.1, red)
    canvas.line([head, (x + 24, y - 54), (x + 36, y - 58)], 1.6, (80, 80, 84))
    canvas.rect(x - 30, y - 50, 20, 4.5, (38, 28, 24), 2)
    canvas.ring(*hub, 6, 1.2, (64, 64, 66))
    for step in range(7):
        canvas.line([(x + 34, y - 50 + step * 3), (x + 58, y - 50 + step * 3)], 0.8, (168, 128, 78))
        canvas.line([(x + 34 + step * 4, y - 52), (x + 36 + step * 3.3, y - 30)], 0.8, (140, 102, 58))


def _rendered_house(canvas: Canvas, rng: Rng) -> None:
    """The house on the right: windows, a blue door, a timetable, bills, a hedge."""
    for x in (752, 908, 1064, 1190):
        _sash_window(canvas, rng, x, 58, 66, 96)
    _flower_box(canvas, rng, 905, 156, 72)
    _flower_box(canvas, rng, 1061, 156, 72)
    canvas.rect(740, 208, 82, GROUND - 208, (232, 226, 210))
    canvas.rect(748, 216, 66, GROUND - 216, (36, 74, 124))
    for row, tall in ((0, 34), (1, 58), (2, 40)):
        for column in range(2):
            top = 222 + (0, 40, 106)[row]
            canvas.rect(752 + column * 31, top, 27, tall, (24, 54, 96))
            canvas.rect(754 + column * 31, top + 2, 23, tall - 4, (48, 92, 148))
    canvas.disc(806, 318, 2.8, GOLD)
    canvas.rect(766, 314, 30, 5, (206, 166, 84))
    canvas.text(781, 200, "27", 13, INK, bold=0.5)
    _timetable(canvas, rng, 842, 196)
    bills = (
        ("CIRCUS", "in the old docks", "2-16 AUGUST", (196, 48, 42), 0.8),
        ("CHESS", "every Tuesday", "THE ANCHOR INN", (234, 230, 214), -1.4),
        ("BOAT RACE", "river & tide", "SUNDAY 3 PM", (40, 104, 138), 0.5),
        ("ROOF?", "slates, gutters", "ring 5530 217", (238, 214, 96), -0.6),
    )
    for i, (headline, line, day, paper, turn) in enumerate(bills):
        _bill(canvas, rng, 946 + 64 * i, 206 + (i % 2) * 7, 56, 80, (headline, line, day), paper, turn)
    for i in range(9):
        leaves(canvas, rng, (930 + 42 * i, 366 - 6 * (i % 3)), (34, 26), 620, 5)


def _timetable(canvas: Canvas, rng: Rng, x: float, y: float) -> None:
    """A board of departures in small print."""
    canvas.shadow([(x + 3, y + 3), (x + 88, y + 3), (x + 88, y + 112), (x + 3, y + 112)], 3, 0.4)
    canvas.rect(x, y, 86, 110, (64, 70, 76), 2)
    canvas.rect(x + 3, y + 3, 80, 104, (246, 244, 236))
    canvas.rect(x + 3, y + 3, 80, 16, (28, 58, 120))
    canvas.text(x + 43, y + 11, "FERRY · line 4", 9.5, (250, 250, 246), bold=0.2)
    for row in range(10):
        top = y + 25 + row * 8.2
        if row % 2:
            canvas.rect(x + 3, top - 4, 80, 8, (222, 226, 230))
        canvas.text(x + 7, top, f"{6 + row:02d}", 6.6, INK, bold=0.2, anchor="lm")
        minutes = "  ".join(f"{minute:02d}" for minute in np.sort(rng.choice(60, 5, replace=False)))
        canvas.text(x + 22, top, minutes, 6.2, INK, anchor="lm")


def lamp_post(height: int = HEIGHT) -> Canvas:
    """A cast-iron lamp post on a clear ground, for the layer nearest to the camera; 60 px wide."""
    canvas = Canvas(60, height, (0, 0, 0, 0))
    canvas.rect(25, 0, 10, height, (30, 34, 34, 255))
    canvas.rect(27, 0, 2.5, height, (92, 98, 98, 255))
    for y in (70, 236, 330):
        canvas.rect(21, y, 18, 8, (22, 26, 26, 255), 2)
        canvas.rect(21, y + 2, 18, 1.5, (84, 90, 90, 255))
    canvas.rect(6, 120, 48, 48, (24, 58, 122, 255), 4)
    canvas.rect(9, 123, 42, 42, (236, 238, 240, 255), 3)
    canvas.text(30, 138, "P", 22, (24, 58, 122, 255), bold=0.8)
    canvas.text(30, 156, "permit holders", 5.4, (24, 58, 122, 255))
    return canvas
