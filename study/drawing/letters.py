"""Letters and signs, printed and handwritten: non-digits to train on and to test networks with.

Those that are written with a digit's strokes are left out of both training and testing: O o D Q
(0), I l i j (1), Z z (2), y (4), S s (5), G b (6), B (8), g q (9), Greek letters of those shapes,
and the signs | / ! ( ) [ ] { } ' , and the backslash (1), > (7) and $ (5).
"""

from string import ascii_lowercase

import numpy as np

from . import fonts, strokes

LETTERS = "ACEFHJKLMNPRTUVWXYacdefhkmnprtuvwx"
SIGNS = "&@#%?+=*"
FOREIGN_LETTERS = "πΩλΔΣΨΞЖЮЯДЛЩ"  # only DejaVu and STIX have them all

# Letters and signs that look like a digit in a font: a "d" that is a small "D", an "f" like an 8.
LEFT_OUT = {
    "font_amatic_sc": ascii_lowercase,
    "fontpkg_dancing_script": "fkrL",
    "fontpkg_pacifico": "Y",
    "fontpkg_permanent_marker": ascii_lowercase + "&",
    "fontpkg_satisfy": "fFL",
    "fontpkg_yellowtail": "fFLY",
    "fontpkg_zeyada": "f&",
}

# Skeletons as in `strokes`. What some people write like a digit is left out.
WRITTEN_LETTERS = {
    "A": "0,100 50,0! 100,100 | 20,65 80,62",
    "C": "95,15 55,0 10,20 0,60 25,97 65,98 100,82",
    "E": "95,0 50,0 0,0! 0,50 0,100! 50,100 100,99 | 0,50 80,48",
    "F": "0,0 0,50 0,100 | 0,0 50,1 100,0 | 0,48 75,46",
    "H": "0,0 0,50 0,100 | 100,0 100,50 100,100 | 0,52 100,48",
    "K": "0,0 0,50 0,100 | 90,0 10,55! 95,100",
    "L": "0,0 0,50 0,100! 50,100 90,99",
    "M": "0,100 8,0! 50,70! 92,0! 100,100",
    "N": "0,100 0,0! 100,100! 100,0",
    "P": "0,0 0,50 0,100 | 0,2 60,0 98,22 60,48 0,50",
    "R": "0,0 0,50 0,100 | 0,2 60,0 95,22 60,46 0,48! 50,70 100,100",
    "T": "0,0 50,1 100,0 | 50,0 50,50 48,100",
    "U": "0,0 2,60 30,98 70,98 98,60 100,0",
    "V": "0,0 50,100! 100,0",
    "W": "0,0 25,100! 50,30! 75,100! 100,0",
    "X": "0,0 100,100 | 100,0 0,100",
    "Y": "0,0 50,48 | 100,0 50,48! 50,100",
    "a": "95,15 55,0 10,25 2,65 25,97 65,85 92,40 | 96,0 94,60 100,98",
    "d": "85,50 45,40 5,60 10,95 50,98 85,75 | 92,0 90,50 92,100",
    "e": "8,52 60,50 98,35 70,2 25,10 0,55 25,95 65,100 100,82",
    "f": "95,8 65,0 42,20 40,60 38,100 | 0,40 45,38 85,37",
    "h": "0,0 0,50 0,100! 5,60 50,42 90,58 95,100",
    "k": "0,0 0,50 0,100 | 80,40 8,70! 85,100",
    "m": "0,10 0,50 0,100! 5,30 25,5 45,20 48,100! 52,30 75,5 95,20 100,100",
    "n": "0,5 0,50 0,100! 8,35 50,2 90,20 98,100",
    "p": "0,0 0,50 0,100 | 0,12 55,0 98,25 60,52 0,48",
    "r": "0,5 0,50 0,100! 10,35 50,5 95,10",
    "t": "50,0 48,60 60,95 95,92 | 0,28 50,26 100,27",
    "u": "0,0 2,60 30,95 70,85 95,50! 96,0! 96,60 100,98",
    "w": "0,0 15,90 35,95 50,30! 65,95 88,90 100,0",
    "x": "0,0 40,40 65,90 100,95 | 100,2 50,50 0,100",
}


def letter(rng: np.random.Generator, test: bool = False) -> np.ndarray:
    """Draw a letter in one of the fonts, slightly turned."""
    font = fonts.any_font(rng, test)
    has_more = font[1].startswith(("DejaVu", "STIX"))
    return _printed(LETTERS + FOREIGN_LETTERS if has_more else LETTERS, font, rng)


def sign(rng: np.random.Generator, test: bool = False) -> np.ndarray:
    """Draw a sign in one of the fonts, slightly turned."""
    return _printed(SIGNS, fonts.any_font(rng, test), rng)


def written_letter(rng: np.random.Generator, test: bool = False) -> np.ndarray:
    """Draw a handwritten letter."""
    return strokes.written(tuple(WRITTEN_LETTERS.values()), rng, test)


def _printed(signs: str, font: tuple[str, str], rng: np.random.Generator) -> np.ndarray:
    """One of several letters or signs, except those that look like a digit in the font."""
    return fonts.picture([s for s in signs if s not in LEFT_OUT.get(font[0], "")], font, rng)
