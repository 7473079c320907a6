"""The draw-a-digit page, its API and its command line; they use the study, never the reverse.

Run them from the root of the repository: `python -m app serve`, `python -m app read PICTURE...`.
"""


def create_app(service=None):
    """Return the Flask app: see ``app.routes.create_app``.

    It is imported only now: that takes seconds, which `python -m app --help` should not.
    """
    from app import routes

    return routes.create_app(service)
