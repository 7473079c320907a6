"""Reading with finders that make no mistake: what belongs together, and in which order."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch
from PIL import Image

from conftest import ROOT
from experiments.scenes import side_by_side
from study import data, weights
from study.drawing import pages
from study.drawing.sprites import Writers
from study.reading import looks
from study.reading.choices import Choices
from study.reading.finds import Find, grouped
from study.reading.lines import lines_of, slope
from study.reading.looks import Look, look
from study.reading.reader import Reader, Reading, _turned_back, classifies
from study.reading.refining import Judged, halves, judged, refined


@pytest.fixture(scope="module")
def classify():
    return classifies(weights.load_model(ROOT / "models/robust.pt"))


@pytest.fixture(scope="module")
def writers(digits) -> Writers:
    people = data.writers()[1]["writer"].to_numpy()
    return Writers(digits[1].images.numpy(), digits[1].labels.numpy(), people, test=True)


def seen(scene: pages.Scene) -> Look:
    """A look at a page by a finder that makes no mistake."""
    core = scene.core.astype(np.float32)
    finds = grouped(scene.level, scene.ink, core)
    return Look(scene.level, scene.ink, core, finds, 1.0, (0, 0))


def refine(finds: list[Find], classify) -> list[Judged]:
    return refined(judged(finds, classify), classify)


def read(scene: pages.Scene, classify) -> str:
    found = seen(scene)
    reader = Reader(None, classify, Choices(doubted=0.5))
    return reader.reading(scene.level.shape, found, refine(found.finds, classify), 0).text


def test_pages_are_read_where_the_finder_makes_no_mistake(writers, classify):
    right = total = 0
    for seed in range(8):
        rng = np.random.default_rng(seed)
        scene = pages.draw(rng, writers, (360, 480), "photo", (2, 4), whole=True)
        lines = ["".join(map(str, line)) for line in scene.lines]
        text = read(scene, classify).split("\n")
        right, total = right + sum(line in text for line in lines), total + len(lines)
    assert right >= 0.75 * total


# --- Grouping ---


def strokes(*boxes: tuple[int, int, int, int], shape=(100, 160)) -> np.ndarray:
    """Filled rectangles: top, bottom, left, right."""
    ink = np.zeros(shape, np.float32)
    for top, bottom, left, right in boxes:
        ink[top:bottom, left:right] = 1
    return ink


def test_ink_goes_to_the_nearest_core_and_far_pieces_to_none():
    ink = strokes((20, 60, 20, 24), (20, 60, 60, 64), (15, 19, 20, 40), (90, 94, 140, 150))
    core = strokes((30, 50, 18, 26), (30, 50, 58, 66))
    one, other = sorted(grouped(255 - 200 * ink, ink, core), key=lambda find: find.left)
    assert (one.left, one.top, one.right, one.bottom) == (20, 15, 40, 60)
    assert (other.left, other.right) == (60, 64) and other.core == pytest.approx(1)


def test_digits_that_touch_share_a_piece():
    ink = strokes((20, 60, 20, 24), (20, 60, 60, 64), (38, 42, 20, 64))
    core = strokes((30, 50, 18, 26), (30, 50, 58, 66))
    one, other = sorted(grouped(255 - 200 * ink, ink, core), key=lambda find: find.left)
    assert one.right == pytest.approx(42, abs=1) and other.left == pytest.approx(42, abs=1)


def test_light_ink_is_ink_and_pale_ink_is_full():
    ink = strokes((20, 60, 20, 28))
    core = strokes((30, 50, 16, 32))
    for level in (200 - 30 * ink, 40 + 30 * ink):
        (find,) = grouped(level, ink, core)
        assert find.ink.max() > 0.9 and find.width == 8


def test_ink_partly_darker_and_partly_lighter_than_the_paper_is_found():
    dark, light = strokes((20, 45, 20, 28)), strokes((45, 60, 20, 28))
    (find,) = grouped(128 - 5 * dark + 100 * light, dark + light, strokes((30, 50, 16, 32)))
    assert find.width == 8 and find.contrast < 100


def test_weak_and_tiny_cores_are_none():
    ink = strokes((20, 60, 20, 28))
    assert grouped(255 - ink, ink, 0.65 * strokes((30, 50, 16, 32))) == []
    assert grouped(255 - ink, ink, strokes((30, 31, 20, 22))) == []
    assert grouped(255 - ink, ink, np.zeros_like(ink)) == []


def test_what_goes_around_a_digit_is_no_ink_of_it():
    frame = strokes((10, 90, 10, 90), shape=(100, 160)) - strokes((13, 87, 13, 87))
    digit, other = strokes((35, 65, 48, 52)), strokes((35, 65, 120, 124))
    ink = frame + digit + other
    core = strokes((42, 58, 46, 54), (42, 58, 118, 126))
    boxes = {(f.left, f.top, f.right, f.bottom) for f in grouped(255 - 200 * ink, ink, core)}
    assert boxes == {(48, 35, 52, 65), (120, 35, 124, 65)}


def test_a_piece_beside_digits_is_found_without_a_core():
    ink = strokes((20, 60, 20, 24), (20, 60, 60, 64), (20, 60, 130, 132), (50, 54, 100, 104))
    core = strokes((28, 52, 18, 26), (28, 52, 58, 66))
    finds = sorted(grouped(255 - 200 * ink, ink, core), key=lambda find: find.left)
    assert [(find.left, find.core) for find in finds] == [(20, 1), (60, 1), (130, 0)]


# --- Joining, cutting, freeing ---


def scoring(rule):
    """A classifier that sees a 1 where a rule holds of an image, bool (28, 28), else no digit."""

    def classify(images: np.ndarray) -> np.ndarray:
        scores = np.array([float(rule(image > 60)) for image in images])
        probabilities = np.zeros((len(images), 11), np.float32)
        probabilities[:, 1], probabilities[:, 10] = scores, 1 - scores
        return probabilities

    return classify


def is_narrow(image: np.ndarray) -> bool:
    return bool(image.any()) and np.ptp(np.flatnonzero(image.any(0))) < 15


def find_of(ink: np.ndarray, left: int = 0, top: int = 0) -> Find:
    return Find(ink, left, top, 0.9, 100.0).part(ink)


def test_what_is_no_digit_is_cut_into_two_that_are():
    ink = strokes((0, 80, 0, 10), (40, 46, 0, 100), (0, 80, 90, 100), shape=(80, 100))
    parts = refine([find_of(ink)], scoring(is_narrow))
    assert len(parts) == 2 and all(part.score == 1 for part in parts)
    assert sum(part.find.ink.sum() for part in parts) == pytest.approx(ink.sum())
    (whole,) = refine([find_of(ink)], scoring(lambda image: True))
    assert whole.find.width == 100


def test_halves_of_one_digit_are_joined_and_two_digits_are_not():
    half = strokes((0, 80, 0, 30), shape=(80, 30))
    finds = [find_of(half), find_of(half, left=48)]
    (whole,) = refine(finds, scoring(lambda image: not is_narrow(image)))
    assert (whole.find.left, whole.find.right) == (0, 78)
    assert len(refine(finds, scoring(is_narrow))) == 2
    apart = [find_of(half), find_of(half, left=90)]
    assert len(refine(apart, scoring(lambda image: not is_narrow(image)))) == 2


def test_a_digit_is_freed_of_the_ring_around_it():
    rows, columns = np.indices((100, 100))
    ring = (np.abs(np.hypot(rows - 50, columns - 50) - 45) < 3).astype(np.float32)
    bar = strokes((30, 70, 46, 54), shape=(100, 100))
    (freed,) = refine([find_of(np.maximum(ring, bar))], scoring(is_narrow))
    assert (freed.find.left, freed.find.top, freed.find.height) == (46, 30, 40)
    assert freed.score == 1


def test_two_digits_in_one_find_are_both_kept():
    (one, other) = refine(
        [find_of(strokes((0, 80, 0, 10), (0, 80, 60, 70), shape=(80, 70)))], scoring(is_narrow)
    )
    assert {one.find.left, other.find.left} == {0, 60}
    assert sorted([one.find.core, other.find.core]) == [0, 0.9]  # one core for both


def test_parts_below_each_other_are_one_digit():
    parts = [find_of(strokes((0, 30, 0, 8), shape=(30, 8)), top=31 * i) for i in range(3)]
    (whole,) = refine(parts, scoring(is_narrow))
    assert (whole.find.top, whole.find.bottom) == (0, 92)
    beside = [find_of(strokes((0, 30, 0, 8), shape=(30, 8)), left=31 * i) for i in range(3)]
    assert len(refine(beside, scoring(is_narrow))) == 3


def test_a_dot_and_a_zero_are_not_cut():
    assert halves(np.ones((3, 1), np.float32), 0.5) == []
    rows, columns = np.indices((100, 60))
    zero = (np.abs(np.hypot((rows - 50) / 45, (columns - 30) / 25) - 1) < 0.15).astype(np.float32)
    assert halves(zero, 0.5) == []


# --- Lines ---


def grid(rows: int, columns: int, degrees: float, rng, pitch=70.0, step=40.0) -> np.ndarray:
    """Boxes of digits, 40 high, in reading order; the page is turned clockwise."""
    y, x = np.divmod(np.arange(rows * columns), columns)
    places = np.stack([step * x, pitch * y], 1) + rng.normal(0, 2, (rows * columns, 2))
    angle = np.radians(degrees)
    turn = np.array([[np.cos(angle), np.sin(angle)], [-np.sin(angle), np.cos(angle)]])
    return np.concatenate([places @ turn - [12, 20], places @ turn + [12, 20]], axis=1)


@pytest.mark.parametrize("degrees", [-40, -25, -8, 0, 3, 15, 30, 40])
@pytest.mark.parametrize(("rows", "columns"), [(1, 6), (3, 5), (6, 8)])
def test_lines_in_reading_order_on_every_slope(rows, columns, degrees):
    rng = np.random.default_rng(0)
    boxes = grid(rows, columns, degrees, rng)
    order = rng.permutation(len(boxes))
    lines = [[int(order[i]) for i in line] for line in lines_of(boxes[order])]
    assert lines == np.arange(len(boxes)).reshape(rows, columns).tolist()


def test_bent_baselines_and_indents():
    x = np.arange(10) * 40.0
    boxes = []
    for row, start in enumerate([0, 130, 60]):
        y = row * 70 + 12 * np.sin(x / 130)
        boxes += [(start + a, b, start + a + 25, b + 40) for a, b in zip(x, y, strict=True)]
    lines = lines_of(np.array(boxes))
    assert lines == [list(range(first, first + 10)) for first in (0, 10, 20)]


def test_few_digits():
    assert lines_of(np.zeros((0, 4))) == []
    assert lines_of(np.array([[0.0, 0, 10, 20]])) == [[0]]
    assert lines_of(np.array([[30.0, 5, 40, 25], [0, 0, 10, 20]])) == [[1, 0]]
    assert lines_of(np.array([[0.0, 40, 10, 60], [0, 0, 10, 20]])) == [[1], [0]]
    assert slope(np.zeros(2), np.zeros(2), np.ones(2)) == 0


# --- Looks ---


class Stub:
    """A finder that takes dark pixels for ink, and the middle of each dark box for its core.

    It sees nothing that is lower than ``least`` pixels.
    """

    def __init__(self, least: int = 0):
        self.least, self.shapes = least, []

    def __call__(self, batch: torch.Tensor) -> torch.Tensor:
        self.shapes.append(tuple(batch.shape[2:]))
        ink = batch[:, 1] < -0.8
        rows = ink.any(2)[0].nonzero()
        core = torch.zeros_like(ink)
        if len(rows) and len(rows) >= self.least:
            columns = ink.any(1)[0].nonzero()
            middle = [int(side.float().mean()) for side in (rows, columns)]
            reach = max(2, len(rows) // 4)
            core[
                :,
                max(0, middle[0] - reach) : middle[0] + reach,
                max(0, middle[1] - reach) : middle[1] + reach,
            ] = True
        return 20 * torch.stack([ink, core], 1).float() - 10


def sheet(shape: tuple[int, int], box: tuple[int, int, int, int]) -> np.ndarray:
    level = np.full(shape, 240, np.uint8)
    top, bottom, left, right = box
    level[top:bottom, left:right] = 20
    return level


def test_small_digits_are_looked_at_again_from_the_original():
    level = sheet((1500, 2000), (700, 790, 900, 930))
    found = look(Stub(), level)
    (find,) = found.finds
    assert 40 <= find.height <= 50 and found.level.shape[0] < 450
    assert found.box(find) == pytest.approx((900, 700, 930, 790), abs=6)


def test_a_picture_in_which_nothing_is_seen_is_looked_at_more_closely():
    level = sheet((1500, 2000), (700, 740, 900, 915))
    stub = Stub(least=10)
    (find,) = look(stub, level).finds
    assert len(stub.shapes) > 2 and find.height > 30
    assert look(Stub(least=10**6), level).finds == []


def test_tiny_pictures_are_enlarged():
    found = look(Stub(), sheet((40, 40), (10, 30, 18, 23)))
    (find,) = found.finds
    assert found.factor > 1 and found.box(find) == pytest.approx((18, 10, 23, 30), abs=1)


def test_small_digits_of_small_pictures_are_enlarged():
    found = look(Stub(), sheet((160, 220), (60, 74, 100, 104)))
    (find,) = found.finds
    assert found.factor > 2 and 40 <= find.height <= 50
    assert found.box(find) == pytest.approx((100, 60, 104, 74), abs=1)


class Textured(Stub):
    """A finder that takes everything for digits as soon as it looks closer."""

    def __call__(self, batch: torch.Tensor) -> torch.Tensor:
        found = super().__call__(batch)
        if len(self.shapes) > 1:
            rows, columns = (torch.arange(side) % 16 < 8 for side in batch.shape[2:])
            found[:] = 20 * (rows[:, None] & columns).float() - 10
        return found


def test_a_closer_look_that_finds_only_texture_is_not_taken(monkeypatch):
    level = sheet((1500, 2000), (700, 790, 900, 930))
    assert len(look(Textured(), level).finds) == 1
    monkeypatch.setattr(looks, "MORE", 1000)
    assert len(look(Textured(), level).finds) > 100


# --- Reading ---


def test_short_way_for_a_clean_drawing(classify, digits):
    picture = Image.fromarray(255 - digits[1].images[0].numpy()).resize((280, 280))
    reading = Reader(None, classify).read(picture)  # no finder is asked
    assert reading.text == "7"
    ((seven,),) = reading.lines
    assert seven.core is None and seven.prepared.image.shape == (28, 28)
    assert list(reading.steps) == ["picture", "ink found", "cropped", "scaled", "centred"]


@pytest.mark.parametrize("level", [255, 0, 120])
def test_empty_sheets(classify, level):
    reading = Reader(Stub(), classify).read(np.full((200, 300), level, np.uint8))
    assert reading.lines == [] and reading.refused is None and reading.text == ""


def test_what_the_finder_does_not_see_is_refused(classify):
    level = np.full((300, 300), 255, np.uint8)
    level[50:250:40, 60:240] = level[50:250, 150:160] = 0  # a comb
    reading = Reader(Stub(least=10**6), classify).read(level)
    assert reading.lines == [] and reading.refused.digit is None


def judged_digits(scores: list[tuple[float, int, float, float]], *, per_line: int = 99):
    """Finds side by side: probability of a 1, height, probability of the core, contrast."""
    finds = [
        Find(
            np.ones((height, 10), np.float32),
            40 * (place % per_line),
            80 * (place // per_line),
            core,
            contrast,
        )
        for place, (_, height, core, contrast) in enumerate(scores)
    ]
    rows = np.zeros((len(scores), 11), np.float32)
    rows[:, 1] = [score for score, *_ in scores]
    rows[:, 10] = 1 - rows[:, 1]
    none = np.eye(11, dtype=np.float32)[[10] * 99]  # what is joined or cut

    def classify(images: np.ndarray) -> np.ndarray:
        return rows if len(images) == len(rows) else none[: len(images)]

    return refine(finds, classify)


@pytest.mark.parametrize(
    ("last", "text"),
    [
        ((0.9, 40, 0.9, 100), "1111"),
        ((0.1, 40, 0.95, 100), "111?"),
        ((0.1, 40, 0.5, 100), "111"),  # neither network believes in it
        ((0.9, 8, 0.9, 100), "111"),  # far too low
        ((0.9, 160, 0.9, 100), "111"),
        ((0.9, 40, 0.9, 30), "1111"),
        ((0.9, 40, 0.9, 10), "111"),  # print that shows through
        ((0.5, 40, 0.99, 100), "111?"),  # more likely none
        ((0.99, 40, 0.3, 100), "1111"),  # certainly a digit, though without a core
        ((0.9, 40, 0.3, 100), "111"),
    ],
)
def test_what_is_dropped_and_what_is_a_question_mark(classify, last, text):
    digits = judged_digits([(0.99, 40, 0.9, 100)] * 3 + [last])
    found = Look(np.zeros((200, 200), np.uint8), *np.zeros((2, 200, 200)), [], 1.0, (0, 0))
    choices = Choices(
        refused=0.5, doubted=0.5, weak=0.85, faint=0.98, low=0.4, high=2.5, most_refused=0.5
    )
    reader = Reader(None, classify, choices)
    assert reader.reading((200, 200), found, digits, 0).text == text


def test_what_is_mostly_refused_is_not_read(classify):
    digits = judged_digits([(0.99, 40, 0.9, 100)] + [(0.01, 40, 0.95, 100)] * 3)
    found = Look(np.zeros((200, 200), np.uint8), *np.zeros((2, 200, 200)), [], 1.0, (0, 0))
    reading = Reader(None, classify).reading((200, 200), found, digits, 0)
    assert reading.lines == [] and reading.refused is not None


@pytest.mark.parametrize(
    ("second", "height", "text"),
    [
        ((0.99, 0.99, 0.99), 40, "111\n111"),
        ((0.99, 0.1, 0.99), 20, "111\n1?1"),
        ((0.99, 0.0005, 0.99), 40, "111\n1?1"),  # as high as a digit
        ((0.99, 0.0005, 0.99), 20, "111\n11"),  # an operator
        ((0.01, 0.99, 0.01), 40, "111"),  # a word
        ((0.01, 0.01, 0.01), 40, "111"),
    ],
)
def test_operators_and_lines_of_words_are_left_out(classify, second, height, text):
    shares = (0.99, 0.99, 0.99, *second)
    heights = 40, 40, 40, 40, height, 40
    finds = [(share, high, 0.9, 100) for share, high in zip(shares, heights, strict=True)]
    digits = judged_digits(finds, per_line=3)
    found = Look(np.zeros((200, 200), np.uint8), *np.zeros((2, 200, 200)), [], 1.0, (0, 0))
    reader = Reader(None, classify, Choices(most_refused=0.5, impossible=0.999, least_known=0.5))
    assert reader.reading((200, 200), found, digits, 0).text == text
    strict = Reader(None, classify, Choices(most_refused=0.5, impossible=0.999, least_known=0.9))
    expected = text if text == "111\n111" else ""
    assert strict.reading((200, 200), found, digits, 0).text == expected


def test_a_line_through_the_whole_picture_is_a_fold(classify):
    fold, *digits = judged_digits([(0.99, 196, 0.9, 100)] + [(0.99, 40, 0.9, 100)] * 3)
    found = Look(np.zeros((200, 200), np.uint8), *np.zeros((2, 200, 200)), [], 1.0, (0, 0))
    reader = Reader(None, classify, Choices(high=99))
    assert reader.reading((200, 200), found, [fold, *digits], 0).text == "111"
    assert reader.reading((200, 200), found, [fold], 0).text == ""


@pytest.mark.parametrize(
    ("seen", "drawing", "photo"),
    [
        ("", "7", "7"),
        ("7", "7", "7"),
        ("?", "7", "7"),
        ("1", "7", ""),
        ("12", "12", "12"),
        ("1234", "1234", "1234"),
    ],
)
def test_rules_decide_on_drawings_and_are_a_second_opinion_on_photos(
    classify, digits, seen, drawing, photo, monkeypatch
):
    seven = Image.fromarray(255 - digits[1].images[0].numpy()).resize((280, 280))
    reader = Reader(None, classify)
    line = [reader._formed(np.zeros((9, 9)), np.ones((9, 9)))[0]] * len(seen)
    line = [
        replace(one, digit=None if name == "?" else int(name))
        for one, name in zip(line, seen, strict=True)
    ]
    finder = Reading([line] if line else [], {})
    monkeypatch.setattr("study.reading.reader._one_piece", lambda small: None)
    monkeypatch.setattr(reader, "seen", lambda level: ())
    monkeypatch.setattr(reader, "reading", lambda: finder)
    assert reader.read(seven).text == drawing
    dimmer = np.asarray(seven) * np.linspace(0.9, 1, 280)
    assert reader.read(dimmer.astype(np.uint8)).text == photo
    assert reader.read(Image.new("L", (280, 280), 255)).text == (seen if len(seen) > 3 else "")


@pytest.mark.parametrize(("seen", "text"), [("71", "7"), ("21", "21")])
def test_of_two_finds_one_is_a_digit_if_the_rules_say_so(classify, digits, seen, text, monkeypatch):
    seven = Image.fromarray(255 - digits[1].images[0].numpy()).resize((280, 280))
    reader = Reader(None, classify)
    one = reader._formed(np.zeros((9, 9)), np.ones((9, 9)))[0]
    line = [replace(one, digit=int(name)) for name in seen]
    assert reader._with_rules(np.asarray(seven), Reading([line], {})).text == text


@pytest.mark.parametrize("seed", [0, 1, 2])
def test_pages_are_turned_until_they_can_be_read(digits, seed):
    chosen = np.random.default_rng(seed).integers(len(digits[1].labels), size=(3, 5))
    lines = [side_by_side(digits[1].images[line].numpy(), 8) for line in chosen]
    width = max(line.shape[1] for line in lines)
    lines = [np.pad(line, [(6, 6), (9, 9 + width - line.shape[1])], "edge") for line in lines]
    page = np.asarray(Image.fromarray(np.concatenate(lines)).resize((600, 480)))
    texts = set()
    for turns in range(4):
        reading = Reader.saved(ROOT).read(np.rot90(page, -turns))
        assert reading.turns == turns
        texts.add(reading.text)
    assert len(texts) == 1


@pytest.mark.parametrize("index", [0, 1, 2, 3])
def test_one_digit_is_never_turned(digits, index):
    page = np.pad(255 - digits[1].images[index].numpy(), 40, constant_values=255)
    page = np.asarray(Image.fromarray(page).resize((400, 400)))
    assert all(Reader.saved(ROOT).read(np.rot90(page, turns)).turns == 0 for turns in range(4))


@pytest.mark.parametrize("turns", [0, 1, 2, 3])
def test_boxes_of_turned_pictures_are_where_the_digits_were(turns):
    level = sheet((120, 200), (20, 50, 30, 40))
    turned = np.rot90(level, turns)
    rows, columns = (np.flatnonzero((turned < 100).any(axis)) for axis in (1, 0))
    height, width = turned.shape
    box = np.array([columns[0], rows[0], columns[-1] + 1, rows[-1] + 1]) / [
        width,
        height,
        width,
        height,
    ]
    assert _turned_back(box, turns) == pytest.approx([30 / 200, 20 / 120, 40 / 200, 50 / 120])
