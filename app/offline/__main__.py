"""Write docs/draw.html: `make page`, or `python -m app.offline`."""

from app.offline import MODEL, PAGE, page
from study.files import write_whole

if __name__ == "__main__":
    content = page().encode()
    write_whole(PAGE, content)
    print(f"docs/draw.html: {len(content) / 1000:.0f} kB, from models/{MODEL.name}")
