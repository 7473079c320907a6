"""The draw-a-digit page, its API and its command line; they use the study, never the reverse.

Run them from the root of the repository: `python -m app serve`, `python -m app read PICTURE...`.
"""


def __getattr__(name: str):
    # Imported only when it is asked for: it takes seconds, and `python -m app --help` none of it.
    if name == "create_app":
        from app.routes import create_app

        return create_app
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
